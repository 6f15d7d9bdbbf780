"""What somebody has cancelled runs no more, whoever died or was stopped meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import SessionEnded, SessionState, SessionStore
from tests.support.cli import leave_behind
from tests.support.processes import Child, read_state

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


def requests(root: Path) -> list[str]:
    return [path.name for path in (root / "locks").glob("*.cancel")]


@pytest.mark.parametrize("reason", [None, "enough"])
@pytest.mark.parametrize("how", ["stopped", "stale", "swept failed", "swept paused"])
def test_a_session_that_lost_its_process_is_cancelled_at_once(
    tmp_path: Path, store: Store, how: str, reason: str | None
) -> None:
    if how == "stopped":
        with pytest.raises(KeyboardInterrupt), store.create("goal", session_id="s1"):
            raise KeyboardInterrupt
    else:
        leave_behind(tmp_path, "s1")
    if how == "swept failed":
        store.recover()
    if how == "swept paused":
        store.recover(mark_as="paused")
    done = store.cancel("s1", reason=reason)
    assert (done.outcome, done.status) == ("cancelled", "cancelled")
    raw = read_state(tmp_path, "s1")
    assert raw["status"] == "cancelled"
    if reason:
        assert raw["result"]["error"] == reason
    assert not store.load("s1").is_interrupted
    assert list(store.resume_interrupted()) == []
    assert len(store.find(interrupted=True)) == 0
    with pytest.raises(SessionEnded):
        store.create_or_resume("s1")


@pytest.mark.parametrize("end", ["pause", "fail"])
def test_one_that_paused_or_failed_by_itself_is_left_as_it_is(
    tmp_path: Path, store: Store, end: str
) -> None:
    with store.create("goal", session_id="s1") as session:
        getattr(session, end)(*(["bad"] if end == "fail" else []))
    before = read_state(tmp_path, "s1")
    assert store.cancel("s1").outcome == "ended"
    assert read_state(tmp_path, "s1") == before


def test_an_interrupted_one_that_somebody_holds_is_refused_with_its_holder(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.create("goal", session_id="s1"):
        raise KeyboardInterrupt
    with store.claim("s1"), pytest.raises(BlockingIOError, match="held by this process: pid"):
        store.cancel("s1")


# --- a request that its process did not live to meet ---------------------------------------------


def asked_and_killed(root: Path, store: Store) -> None:
    with Child("act", root) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        assert store.cancel("s1", reason="wrong input").is_pending
        owner.crash()
    assert len(requests(root)) == 1


def refused(take: Callable[[Store], object]) -> Callable[[Store], None]:
    def try_it(store: Store) -> None:
        with pytest.raises(SessionEnded) as told:
            take(store)
        assert told.value.state.status == "cancelled"

    return try_it


def claimed(store: Store) -> None:
    with store.claim("s1") as session:
        assert session.state.status == "cancelled"


def edited(store: Store) -> None:
    with store.edit("s1") as session:
        assert session.state.status == "cancelled"


TAKES: dict[str, Callable[[Store], object]] = {
    "recover": lambda store: store.recover(),
    "recover as paused": lambda store: store.recover(mark_as="paused"),
    "the loop": lambda store: list(store.resume_interrupted()),
    "resume": refused(lambda store: store.resume("s1")),
    "create_or_resume": refused(lambda store: store.create_or_resume("s1", "goal")),
    "retry": refused(lambda store: store.retry("s1")),
    "claim": claimed,
    "edit": edited,
    "cancel": lambda store: store.cancel("s1"),
}


@pytest.mark.parametrize("how", TAKES)
def test_whoever_records_the_death_cancels_it_as_was_asked(
    tmp_path: Path, store: Store, how: str
) -> None:
    asked_and_killed(tmp_path, store)
    told = store.explain("s1")
    assert "wrong input" in told.summary
    assert 'store.resume("s1")' not in str(told)
    assert [item.reason for item in store.recover(dry_run=True).swept if "wrong" in item.reason]
    TAKES[how](store)
    raw = read_state(tmp_path, "s1")
    assert (raw["status"], raw["pid"], raw["recovery"]["count"]) == ("cancelled", None, 1)
    assert raw["result"]["error"].endswith(": wrong input")
    assert "died" in raw["recovery"]["reason"]
    assert requests(tmp_path) == []
    assert list(store.resume_interrupted()) == []
    assert not store.check().findings


def test_a_person_may_run_it_all_the_same(tmp_path: Path, store: Store) -> None:
    asked_and_killed(tmp_path, store)
    with store.resume("s1", again=True) as session:
        session.save()  # the request was for a claim that has ended
        session.complete()
    assert requests(tmp_path) == []


def test_a_repair_keeps_a_request_that_nobody_has_met(tmp_path: Path, store: Store) -> None:
    asked_and_killed(tmp_path, store)
    store.check(repair=True)
    assert len(requests(tmp_path)) == 1
    store.recover()
    assert store.load("s1").status == "cancelled"
