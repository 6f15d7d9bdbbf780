"""One value says whether a session can be resumed: from its state, a listing, or a look."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import Checkpoint, FilesBackend, SessionState, SessionStore
from sessionstore.model.summary import summarize
from sessionstore.session.inspect import MISSING_CHECKPOINT, Resumability


@pytest.fixture
def backend(tmp_path: Path) -> FilesBackend:
    return FilesBackend(tmp_path, durability="process")


@pytest.fixture
def state(backend: FilesBackend) -> SessionState:
    """A completed session that moved on after its latest checkpoint."""
    with SessionStore(backend) as store:
        with store.create("triage", session_id="s-1") as session:
            session.checkpoint("node_complete")
            session.complete()
        return store.load("s-1")


def kept_of(backend: FilesBackend) -> list[Checkpoint]:
    return SessionStore(backend).checkpoints("s-1")


def test_state_summary_listing_and_look_agree_on_a_sound_checkpoint(
    backend: FilesBackend, state: SessionState
) -> None:
    for found in (
        Resumability.named(state),
        Resumability.named(summarize(state)),
        Resumability.among(state, kept_of(backend)),
        Resumability.read(backend, state),
    ):
        assert found == Resumability(state.latest_checkpoint_id)
        assert found.is_resumable
        assert found.damage is None


@pytest.mark.parametrize("fields", [{"checkpoint_enabled": False}, {"latest_checkpoint_id": None}])
def test_a_session_that_names_no_checkpoint_goes_on_from_its_last_save(
    backend: FilesBackend, state: SessionState, fields: dict[str, object]
) -> None:
    bare = state.model_copy(update=fields)
    for found in (
        Resumability.named(bare),
        Resumability.among(bare, kept_of(backend)),
        Resumability.read(backend, bare),
    ):
        assert found == Resumability()
        assert found.is_resumable
        assert found.is_from_last_save


def test_an_id_that_leads_elsewhere_is_never_looked_at(
    backend: FilesBackend, state: SessionState
) -> None:
    state.latest_checkpoint_id = "../../other/checkpoints/cp"
    assert Resumability.read(backend, state).damage == "its checkpoint has no valid id"
    assert Resumability.among(state, kept_of(backend)).is_missing


def test_a_missing_checkpoint_is_told_by_a_listing_and_by_a_look(
    backend: FilesBackend, state: SessionState, tmp_path: Path
) -> None:
    (tmp_path / "sessions/s-1/checkpoints" / f"{state.latest_checkpoint_id}.json").unlink()
    assert Resumability.named(state).is_resumable  # nobody looked
    listed = Resumability.among(state, kept_of(backend))
    assert (listed.is_missing, listed.damage) == (True, MISSING_CHECKPOINT)
    assert not Resumability.read(backend, state).is_resumable


def test_a_damaged_checkpoint_is_told_by_a_listing_and_by_a_look(
    backend: FilesBackend, state: SessionState, tmp_path: Path
) -> None:
    (tmp_path / "sessions/s-1/checkpoints" / f"{state.latest_checkpoint_id}.json").write_text("{")
    listed = Resumability.among(state, kept_of(backend))
    assert not listed.is_missing
    assert listed.damage is not None
    assert listed.damage == Resumability.read(backend, state).damage


def test_what_a_stop_kept_is_not_needed_for_a_resume(
    backend: FilesBackend, state: SessionState, tmp_path: Path
) -> None:
    SessionStore(backend).create("triage", session_id="s-2").fail("at once")
    failed = SessionStore(backend).load("s-2")
    (tmp_path / "sessions/s-2/checkpoints" / f"{failed.latest_checkpoint_id}.json").unlink()
    for found in (Resumability.among(failed, ()), Resumability.read(backend, failed)):
        assert found == Resumability(failed.latest_checkpoint_id)
        assert found.is_from_last_save
