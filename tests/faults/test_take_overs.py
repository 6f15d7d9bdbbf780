"""How a session stops and who goes on with it: nothing saved is out of reach, no death hidden."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from sessionstore import (
    ClaimLost,
    DurabilityUncertain,
    NotResumable,
    Session,
    SessionClaimed,
    SessionEnded,
    SessionExists,
    SessionState,
    SessionStore,
)
from sessionstore.storage.files.claim import FilesClaim
from sessionstore.testing.harness import leave
from tests.faults.support.operations import is_free
from tests.faults.support.tally import tally
from tests.support.children import say
from tests.support.processes import Child, left_active, read_state, session_path, state_path

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


def killed(root: Path, times: int = 1) -> None:
    """Leave the session ``s1`` as a process does that is killed in it, ``times`` times."""
    with Child("act", root) as owner:
        owner.hear()
        owner.ask("create", session_id="s1")
        owner.crash()
    for _ in range(times - 1):
        with Child("faults.test_take_overs.resume_and_say", root) as owner:
            owner.hear()
            owner.crash()


def resume_and_say(root: str) -> None:
    session = SessionStore(root).resume("s1")
    say(revision=session.revision)
    input()  # until it is killed


def crashes(root: Path) -> int:
    return int((read_state(root, "s1")["recovery"] or {}).get("count", 0))


def last_saves(root: Path) -> list[str]:
    names = os.listdir(session_path(root, "s1") / "checkpoints")
    return [name for name in names if name.startswith("cp_last_save")]


# --- stops ---------------------------------------------------------------------------------------


def stop(session: Session[SessionState], error: BaseException) -> None:
    session.state.data_buffer["n"] = 1
    session.save()
    session.state.data_buffer["n"] = 2
    with pytest.raises(type(error)):
        leave(session, error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), ValueError("no")])
def test_each_stop_keeps_the_last_save_once_without_a_copy(
    store: Store, tmp_path: Path, error: BaseException
) -> None:
    stop(store.create("goal", session_id="s1"), error)
    for _ in range(2):
        (kept,) = last_saves(tmp_path)
        assert read_state(tmp_path, "s1")["latest_checkpoint_id"] == kept.removesuffix(".json")
        path = session_path(tmp_path, "s1") / "checkpoints" / kept
        assert path.stat().st_ino == state_path(tmp_path, "s1").stat().st_ino
        stop(store.resume("s1"), error)
    tally("races", promise=12, cases=3)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_a_stop_is_counted_as_a_stop_and_not_as_a_crash(
    store: Store, tmp_path: Path, error: BaseException
) -> None:
    session = store.create("goal", session_id="s1")
    for number in range(1, 4):
        stop(session, error)
        state = store.load("s1")
        assert state.status == "paused"
        assert state.is_interrupted
        assert state.recovery is not None
        assert (state.recovery.count, state.recovery.stops) == (0, number)
        session = store.resume("s1")
    session.release()


def test_an_interrupt_while_a_block_is_left_says_so_once_more(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = store.create("goal", session_id="s1")
    real, stopped = FilesClaim.write, list[int]()

    def write(self: FilesClaim, payload: bytes, revision: int, **options: object) -> None:
        if not stopped:
            stopped.append(revision)
            raise KeyboardInterrupt
        real(self, payload, revision, **options)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(FilesClaim, "write", write)
    with pytest.raises(KeyboardInterrupt):
        session.release()
    assert session.is_released
    stored = store.load("s1")
    assert (str(stored.status), stored.revision) == ("paused", 2)
    assert stored.is_interrupted


# --- deaths --------------------------------------------------------------------------------------

TAKERS: dict[str, Callable[[Store], object]] = {
    "claim": lambda store: store.claim("s1").release(),
    "resume": lambda store: store.resume("s1").release(),
    "create_or_resume": lambda store: store.create_or_resume("s1").release(),
    "cancel": lambda store: store.cancel("s1"),
    "mark": lambda store: store.mark("s1", "failed", reason="seen by a person"),
    "recover": lambda store: store.recover(),
    "resume_interrupted": lambda store: release_all(store.resume_interrupted(max_recoveries=9)),
}


def release_all(sessions: Iterable[Session[SessionState]]) -> None:
    for session in sessions:
        session.release()


@pytest.mark.parametrize("taker", TAKERS)
def test_whoever_takes_over_a_dead_processs_session_records_the_death(
    store: Store, tmp_path: Path, taker: str
) -> None:
    killed(tmp_path)
    TAKERS[taker](store)
    assert crashes(tmp_path) == 1
    assert "died" in read_state(tmp_path, "s1")["recovery"]["reason"]


def test_an_edit_that_changes_nothing_records_the_death(store: Store, tmp_path: Path) -> None:
    killed(tmp_path)
    with store.edit("s1"):
        pass
    assert crashes(tmp_path) == 1
    assert read_state(tmp_path, "s1")["status"] == "failed"


def test_five_kills_with_a_resume_in_between_count_five(store: Store, tmp_path: Path) -> None:
    killed(tmp_path, times=5)
    store.recover()
    assert crashes(tmp_path) == 5
    with pytest.raises(NotResumable, match="retry"):
        store.create_or_resume("s1", max_recoveries=4)
    loop = store.resume_interrupted(max_recoveries=4)
    assert list(loop) == []
    (skipped,) = loop.skipped
    assert "5 processes died" in skipped.reason


@pytest.mark.parametrize("why", ["too many crashes", "another goal"])
def test_a_refused_start_counts_the_death_all_the_same(
    store: Store, tmp_path: Path, why: str
) -> None:
    killed(tmp_path)
    error = NotResumable if why == "too many crashes" else SessionExists
    goal, limit = ("goal", 0) if why == "too many crashes" else ("another goal", 3)
    with pytest.raises(error):
        store.create_or_resume("s1", goal, max_recoveries=limit)
    assert crashes(tmp_path) == 1
    assert read_state(tmp_path, "s1")["status"] == "failed"
    assert is_free(tmp_path, "s1")


def test_after_a_resume_of_the_last_save_the_next_one_goes_on_from_there(
    store: Store, tmp_path: Path
) -> None:
    session = store.create("goal", session_id="s1")
    session.checkpoint()
    stop(session, SystemExit(1))
    assert last_saves(tmp_path) == [], "the application keeps checkpoints of its own"
    session = store.resume("s1")
    assert session.state.data_buffer == {}
    session.state.data_buffer["n"] = 3
    session.fail("after its checkpoint")
    session = store.resume("s1", from_last_save=True)
    assert session.state.data_buffer == {"n": 3}
    session._writer.free()  # as if its process had died
    with store.resume("s1") as resumed:
        assert resumed.state.data_buffer == {"n": 3}


# --- a take-over that fails ----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["claim", "resume", "create_or_resume", "from_last_save"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DurabilityUncertain])
def test_a_take_over_that_fails_once_it_is_stored_leaves_the_session_to_others(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    error: type[BaseException],
) -> None:
    left_active(tmp_path, pid=2**22 + 1, owner=None)
    real, failed = FilesClaim.write, list[int]()

    def write(self: FilesClaim, payload: bytes, revision: int, **options: object) -> None:
        real(self, payload, revision, **options)  # type: ignore[arg-type]  # handed on
        if not failed:
            failed.append(revision)
            if error is DurabilityUncertain:
                raise DurabilityUncertain("s1", revision, OSError(5, "made for a test"))
            raise error

    monkeypatch.setattr(FilesClaim, "write", write)
    ways: dict[str, Callable[[], object]] = {
        "claim": lambda: store.claim("s1"),
        "resume": lambda: store.resume("s1"),
        "create_or_resume": lambda: store.create_or_resume("s1"),
        "from_last_save": lambda: store.resume("s1", from_last_save=True),
    }
    with pytest.raises(error):
        ways[way]()
    assert failed, "nothing was interrupted"
    assert is_free(tmp_path, "s1")
    state = store.load("s1")
    assert (str(state.status), state.owner) == ("paused", None)
    assert state.is_interrupted
    assert crashes(tmp_path) == 1
    store.resume("s1").release()
    tally("races", promise=12, cases=1)


# --- edits ---------------------------------------------------------------------------------------


def test_an_edit_replaces_the_edit_that_nobody_resumed(store: Store, tmp_path: Path) -> None:
    for number in range(3):
        with store.edit("s1", create="goal") as session:
            session.state.data_buffer["n"] = number
    names = os.listdir(session_path(tmp_path, "s1") / "checkpoints")
    assert len(names) == 1
    with store.resume("s1") as resumed:
        assert resumed.state.data_buffer == {"n": 2}


def test_a_session_of_an_edit_that_raised_was_never_there(store: Store, tmp_path: Path) -> None:
    with suppress(ValueError), store.edit("s1", create="goal") as session:
        session.state.data_buffer["n"] = 1
        assert store.exists("s1")
        raise ValueError("no")
    assert not store.exists("s1")
    assert not session_path(tmp_path, "s1").exists()
    with pytest.raises(ClaimLost):
        session.save()


@pytest.mark.parametrize("error", [KeyboardInterrupt, DurabilityUncertain])
def test_a_session_of_an_edit_that_was_stored_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    real = FilesClaim.write

    def write(self: FilesClaim, payload: bytes, revision: int, **options: object) -> None:
        real(self, payload, revision, **options)  # type: ignore[arg-type]  # handed on
        if error is DurabilityUncertain:
            raise DurabilityUncertain("s1", revision, OSError(5, "made for a test"))
        raise error

    monkeypatch.setattr(FilesClaim, "write", write)
    with pytest.raises(error), store.edit("s1", create="goal") as session:
        session.state.data_buffer["n"] = 1
    assert store.load("s1").data_buffer == {"n": 1}


def edit_and_say(root: str) -> None:
    with SessionStore(root).edit("s1", create="goal") as session:
        session.state.data_buffer["n"] = 1
        say(revision=session.revision)
        input()  # until it is killed


def test_a_kill_in_an_edit_that_creates_leaves_a_session_to_be_edited(
    store: Store, tmp_path: Path
) -> None:
    with Child("faults.test_take_overs.edit_and_say", tmp_path) as editor:
        editor.hear()
        editor.crash()
    assert (str(store.load("s1").status), store.load("s1").data_buffer) == ("paused", {})
    assert crashes(tmp_path) == 0, "nobody ran it"
    with store.edit("s1", create="goal") as session:
        session.state.data_buffer["n"] = 2
    with store.resume("s1") as resumed:
        assert resumed.state.data_buffer == {"n": 2}


# --- the loop ------------------------------------------------------------------------------------


def test_the_loop_leaves_out_what_others_took_or_ended_since_it_was_listed(store: Store) -> None:
    for name in ("a", "b", "c", "d"):
        stop(store.create("goal", session_id=name), SystemExit(1))
    loop = store.resume_interrupted()
    first = next(loop)
    assert first.session_id == "a"
    held = store.resume("b")
    store.resume("c").complete()
    store.resume("d").pause()
    assert list(loop) == []
    reasons = {item.session_id: (item.is_taken, type(item.error)) for item in loop.skipped}
    assert set(reasons) == {"b", "c", "d"}
    assert all(taken for taken, _ in reasons.values()), "each of these is well looked after"
    assert reasons["b"] == (True, SessionClaimed)
    assert [str(store.load(name).status) for name in "cd"] == ["completed", "paused"]
    for session in (first, held):
        session.release()


def test_the_loop_leaves_out_what_was_stopped_too_often(store: Store) -> None:
    stop(store.create("goal", session_id="s1"), SystemExit(1))
    for _ in range(3):
        stop(store.resume("s1"), SystemExit(1))
    loop = store.resume_interrupted(max_stops=3)
    assert list(loop) == []
    assert "stopped 4 times" in loop.skipped[0].reason
    store.resume("s1").cancel()
    with pytest.raises(SessionEnded):
        store.create_or_resume("s1")
