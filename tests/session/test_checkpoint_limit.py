"""The limit counts the application's checkpoints, and the store's own apart from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.model.checkpoint import BEFORE_RESUME, STORE_OWN
from sessionstore.model.ids import LAST_SAVE, make_checkpoint_id, random_hex
from sessionstore.process import identity
from sessionstore.session.checkpoint_limit import AT_ONCE, CheckpointLimit
from sessionstore.storage.claim import Claim
from sessionstore.storage.files import FilesBackend
from tests.support.ages import NOW


@pytest.fixture
def backend(tmp_path: Path) -> FilesBackend:
    return FilesBackend(tmp_path, durability="process")


def claimed(backend: FilesBackend) -> Claim:
    SessionStore(backend).create("goal", session_id="s1").pause()
    claim = backend.claim("s1", identity.new_owner(backend.clock()), timeout=0.0)
    claim.confirm()
    claim.read()
    for checkpoint_id in claim.checkpoint_ids():
        claim.remove_checkpoint(checkpoint_id)
    return claim


def keep(claim: Claim, kind: str, revision: int) -> str:
    checkpoint_id = make_checkpoint_id(kind, None, revision, NOW)
    claim.keep_current(checkpoint_id)
    return checkpoint_id


@pytest.mark.parametrize("kind", sorted(STORE_OWN))
def test_what_the_store_keeps_takes_no_place_of_the_applications(
    backend: FilesBackend, kind: str
) -> None:
    claim = claimed(backend)
    made = [keep(claim, "node", revision) for revision in (1, 2)]
    own = [keep(claim, kind, revision) for revision in (3, 4, 5)]
    made.append(keep(claim, "node", 6))
    CheckpointLimit(2).enforce(claim, made[-1])
    assert sorted(claim.checkpoint_ids()) == sorted([*made[-2:], *own[-2:]])
    claim.release()


def test_the_stores_own_do_not_grow_without_bound(backend: FilesBackend) -> None:
    claim = claimed(backend)
    limit = CheckpointLimit(3)
    mine = keep(claim, "node", 1)
    for revision in range(2, 20):
        limit.enforce(claim, keep(claim, BEFORE_RESUME, revision), latest=mine)
    assert len(claim.checkpoint_ids()) == 4
    assert mine in claim.checkpoint_ids()
    claim.release()


@pytest.mark.parametrize("kind", ["node", BEFORE_RESUME, LAST_SAVE])
def test_the_latest_and_the_newest_stay_however_old_and_few(
    backend: FilesBackend, kind: str
) -> None:
    claim = claimed(backend)
    latest = keep(claim, kind, 1)
    for revision in range(2, 6):
        newest = keep(claim, kind, revision)
    CheckpointLimit(1).enforce(claim, newest, latest=latest)
    assert sorted(claim.checkpoint_ids()) == sorted([latest, newest])
    claim.release()


def test_what_somebody_removed_does_not_count_once_it_was_said(backend: FilesBackend) -> None:
    claim, limit = claimed(backend), CheckpointLimit(2)
    first, second = (keep(claim, "node", revision) for revision in (1, 2))
    limit.enforce(claim, second)
    claim.remove_checkpoint(second)
    limit.forget()
    third = keep(claim, "node", 3)
    limit.enforce(claim, third)
    assert sorted(claim.checkpoint_ids()) == sorted([first, third])
    claim.release()


def test_the_files_of_other_software_are_never_removed(
    backend: FilesBackend, tmp_path: Path
) -> None:
    claim = claimed(backend)
    foreign = tmp_path / "sessions" / "s1" / "checkpoints" / f"theirs_{random_hex(4)}.json"
    foreign.write_text("{}")
    for revision in range(1, 5):
        newest = keep(claim, "node", revision)
    CheckpointLimit(1).enforce(claim, newest)
    assert sorted(claim.checkpoint_ids()) == sorted([foreign.stem, newest])
    claim.release()


def test_sessions_that_are_resumed_again_and_again_keep_the_applications(
    backend: FilesBackend,
) -> None:
    store = SessionStore(backend, keep_checkpoints=2)
    session = store.create("goal", session_id="s1")
    made = [session.checkpoint("node").checkpoint_id for _ in range(2)]
    session.fail("down")
    for _ in range(5):  # each keeps the newer state that it goes back from
        store.resume("s1").fail("down")
    with store.resume("s1") as session:
        made.append(session.checkpoint("node").checkpoint_id)
        session.complete()
    left = store.checkpoints("s1")
    assert [item.checkpoint_id for item in left if item.checkpoint_type == "node"] == made[-2:]
    assert sum(item.checkpoint_type == BEFORE_RESUME for item in left) == 2


def test_a_program_that_only_pauses_keeps_no_more_than_the_limit(backend: FilesBackend) -> None:
    store = SessionStore(backend, keep_checkpoints=2)
    store.create("goal", session_id="s1").pause()
    for number in range(5):
        session = store.resume("s1")
        session.state.data_buffer["turn"] = number
        session.pause()
        names = store.checkpoint_names("s1")
        assert sum(name.startswith("cp_pause") for name in names) <= 2
        assert store.load("s1").latest_checkpoint_id in names


def test_a_session_that_is_only_resumed_keeps_no_more_than_the_limit(
    backend: FilesBackend,
) -> None:
    store = SessionStore(backend, keep_checkpoints=2)
    session = store.create("goal", session_id="s1")
    mine = session.checkpoint("node").checkpoint_id
    session.fail("down")
    for _ in range(5):
        store.resume("s1").fail("down")
        names = store.checkpoint_names("s1")
        assert mine in names
        assert len(names) <= 3


@pytest.mark.parametrize("write", ["resume", "checkpoint", "pause", "edit"])
def test_no_write_removes_more_than_a_few_of_many(backend: FilesBackend, write: str) -> None:
    with SessionStore(backend).create("goal", session_id="s1") as session:
        for _ in range(5 * AT_ONCE):
            session.checkpoint("node")
        session.fail("down")
    store = SessionStore(backend, keep_checkpoints=2)  # switched on in a new process
    names = store.checkpoint_names("s1")
    if write == "edit":
        with store.edit("s1") as session:
            session.state.data_buffer["edited"] = 1
    else:
        session = store.resume("s1")
        after_resume = store.checkpoint_names("s1")
        assert len(set(names) - set(after_resume)) <= AT_ONCE
        names = after_resume
        if write == "resume":
            session.complete()
        elif write == "pause":
            session.pause(node="ask")
        else:
            session.checkpoint("node")
            session.complete()
    removed = [name for name in names if name not in store.checkpoint_names("s1")]
    assert removed == names[: len(removed)]  # the oldest
    assert len(removed) <= AT_ONCE


def test_the_limit_is_reached_after_enough_writes(backend: FilesBackend) -> None:
    with SessionStore(backend).create("goal", session_id="s1") as session:
        for _ in range(3 * AT_ONCE):
            session.checkpoint("node")
        session.fail("down")
    with SessionStore(backend, keep_checkpoints=2).resume("s1") as session:
        for _ in range(5):
            session.checkpoint("node")
        session.complete()
    names = SessionStore(backend).checkpoint_names("s1")
    assert sum(name.startswith("cp_node") for name in names) == 2
