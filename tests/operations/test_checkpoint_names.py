"""A checkpoint is named by its id, its revision, or a beginning or end that no other has."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import (
    CheckpointNotFound,
    InvalidQuery,
    MemoryBackend,
    SessionState,
    SessionStore,
)
from tests.support.cli import put

Store = SessionStore[SessionState]


@pytest.fixture(params=["files", "memory"])
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Store, list[str]]:
    """A store, and the ids of two checkpoints of its session ``s1``."""
    store = SessionStore(tmp_path if request.param == "files" else MemoryBackend())
    with store.create("goal", session_id="s1") as session:
        made = [session.checkpoint("step", node=node).checkpoint_id for node in ("plan", "act")]
        session.fail("by itself")
    return store, made


def test_the_end_of_an_id_is_enough(kept: tuple[Store, list[str]]) -> None:
    store, (plan, act) = kept
    for one in (plan, act):
        assert store.find_checkpoint("s1", one[-8:]) == one
        assert store.find_checkpoint("s1", one[1:]) == one
        assert store.find_checkpoint("s1", one) == one
    assert store.find_checkpoint("s1", "r2") == plan
    assert store.load(store.fork("s1", act[-8:])).forked_from is not None


def test_a_beginning_is_meant_before_an_end_and_what_several_have_is_refused(
    tmp_path: Path,
) -> None:
    kept = put(tmp_path, "s1").parent / "checkpoints"
    kept.mkdir()
    for name in ("plan_1", "act_1", "1_plan", "2_plan_again"):
        (kept / f"{name}.json").write_text("{}")
    store = SessionStore(tmp_path)
    for given, meant in (
        ("plan", "plan_1"),
        ("1_plan", "1_plan"),
        ("1", "1_plan"),
        ("t_1", "act_1"),
    ):
        assert store.find_checkpoint("s1", given) == meant
    with pytest.raises(InvalidQuery, match="'_1' is a suffix of 2 checkpoint ids: act_1, plan_1"):
        store.find_checkpoint("s1", "_1")


def test_a_name_that_none_has_is_not_found(kept: tuple[Store, list[str]]) -> None:
    store, _ = kept
    for name in ("nothing", "", "r99"):
        with pytest.raises(CheckpointNotFound):
            store.find_checkpoint("s1", name)
    with pytest.raises(InvalidQuery, match="is a prefix of 2 checkpoint ids: "):
        store.find_checkpoint("s1", "cp_step")
