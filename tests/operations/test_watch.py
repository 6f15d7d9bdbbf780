"""A watch never misses the last state of a session, and never shows an earlier one after it."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import time
from collections.abc import Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    FilesBackend,
    InvalidQuery,
    InvalidSessionId,
    MemoryBackend,
    SessionChange,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionSummary,
    WatchTimedOut,
)
from sessionstore.storage.files.changes import FilesNotifier
from tests.support.processes import (
    DEADLINE,
    Child,
    edit_state,
    new_session,
    read_state,
    session_path,
    state_path,
    until,
)

Store = SessionStore[SessionState]
HAS_EVENTS = importlib.util.find_spec("watchfiles") is not None


@pytest.fixture(params=["events", "polling"])
def events(request: pytest.FixtureRequest) -> bool:
    if request.param == "events" and not HAS_EVENTS:
        pytest.skip("watchfiles is not installed (the extra watch)")
    return bool(request.param == "events")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


def told(changes: list[SessionChange]) -> list[tuple[str, str]]:
    return [(change.session_id, change.kind) for change in changes]


def following(
    store: Store, *steps: Callable[[], object], wanted: int, **options: Any
) -> list[SessionChange]:
    """Return the first changes, doing a step after each of them."""
    seen: list[SessionChange] = []
    todo = list(steps)
    with closing(store.watch(timeout=DEADLINE, poll=0.02, **options)) as changes:  # type: ignore[type-var]  # it is a generator
        for change in changes:
            seen.append(change)
            if len(seen) == wanted:
                break
            if todo:
                todo.pop(0)()
    return seen


# --- the last state -----------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_the_last_of_500_quick_saves_is_seen_and_none_after_a_later_one(
    tmp_path: Path, store: Store, events: bool, named: bool
) -> None:
    seen: list[SessionChange] = []
    ids = ["s1"] if named else None
    options: dict[str, Any] = {"until": "completed", "timeout": DEADLINE, "events": events}
    with (
        Child("save_many", tmp_path, "s1", 500) as writer,
        closing(store.watch(ids, poll=0.01, **options)) as changes,  # type: ignore[type-var]  # it is a generator
    ):
        for change in changes:
            if not seen:  # however slow the writer is, some saves come in one go
                until(lambda: read_state(tmp_path, "s1")["revision"] > 100, "a burst of saves")
            seen.append(change)
        last = writer.hear()["revision"]
    revisions = [change.summary.revision for change in seen]
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == last == 502
    assert seen[-1].summary.status is SessionStatus.COMPLETED
    assert seen[-1].summary.steps_executed == 500
    assert len(seen) < 502  # a burst is one change


def test_several_writers_are_all_seen_to_their_ends(
    tmp_path: Path, store: Store, events: bool
) -> None:
    ids = ["a", "b", "c"]
    with (
        Child("save_many", tmp_path, "a", 100) as one,
        Child("save_many", tmp_path, "b", 50) as two,
        Child("save_many", tmp_path, "c", 1) as three,
    ):
        seen = list(store.watch(ids, until="completed", timeout=DEADLINE, poll=0.01, events=events))
        last = {name: child.hear()["revision"] for name, child in zip(ids, (one, two, three))}  # noqa: B905
    ends: dict[str, int] = {}
    for change in seen:
        assert change.summary.revision > ends.get(change.session_id, 0)
        ends[change.session_id] = change.summary.revision
    assert ends == last


def test_a_save_between_the_look_and_the_wait_is_not_missed(
    tmp_path: Path, store: Store, events: bool
) -> None:
    new_session(tmp_path, "s1")

    def save() -> None:
        with store.resume("s1") as session:
            session.complete()

    seen = following(store, save, wanted=2, events=events, until="completed")
    assert seen[-1].summary.status is SessionStatus.COMPLETED


class Racing(MemoryBackend):
    """A place where somebody saves right after a state was read."""

    def __init__(self) -> None:
        super().__init__()
        self.then: list[Callable[[], object]] = []

    def summary(self, session_id: str) -> SessionSummary | None:
        item = super().summary(session_id)
        if self.then:
            self.then.pop()()
        return item


def test_a_save_right_after_the_read_is_not_missed() -> None:
    backend = Racing()
    store = SessionStore(backend)
    with store.create("g", session_id="s1") as session:
        session.pause()

    def complete() -> None:
        with store.claim("s1") as session:
            session.complete()

    backend.then.append(complete)
    seen = list(store.watch(["s1"], until="completed", timeout=DEADLINE, poll=0.02))
    assert [change.summary.status for change in seen] == ["paused", "completed"]


# --- what is told -------------------------------------------------------------------------------


def test_what_becomes_of_sessions_is_told(tmp_path: Path, store: Store, events: bool) -> None:
    new_session(tmp_path, "s1")
    seen = following(
        store,
        lambda: new_session(tmp_path, "s2"),
        lambda: store.delete("s1"),
        lambda: new_session(tmp_path, "s1"),
        lambda: edit_state(tmp_path, "s2", status="cancelled"),
        wanted=5,
        events=events,
    )
    assert told(seen[:1]) == [("s1", "found")]
    assert ("s1", "deleted") in told(seen)
    assert told(seen)[1][0] == "s2"


@pytest.mark.parametrize("named", [True, False])
def test_a_session_that_is_made_anew_is_watched_on(
    tmp_path: Path, store: Store, events: bool, named: bool
) -> None:
    new_session(tmp_path, "s1", checkpoint=False)
    chosen = ["s1"] if named else None
    first = store.load("s1").incarnation
    options: dict[str, Any] = {"timeout": DEADLINE, "poll": 0.02, "events": events}
    is_new = False
    for change in store.watch(chosen, **options):
        if change.kind == "found":
            store.delete("s1")
            new_session(tmp_path, "s1", checkpoint=False)
        elif change.kind == "created":
            assert change.summary.incarnation != first
            with store.claim("s1") as session:
                session.save()
            is_new = True
        elif change.kind == "changed":
            break
    assert is_new


def test_a_store_and_a_session_that_are_not_there_yet_are_waited_for(
    tmp_path: Path, events: bool
) -> None:
    store = SessionStore(tmp_path / "later")
    with Child("watch_until_told", tmp_path / "later", "events" if events else "polling") as child:
        child.hear()
        assert not (tmp_path / "later").exists()  # a watch makes nothing
        new_session(tmp_path / "later", "s1")
        assert child.hear()["id"] == "s1"
        store.delete("s1")
        for said in child.hear_all():
            if said["kind"] == "deleted":
                break


def test_damage_is_told_and_so_is_its_end(tmp_path: Path, store: Store, events: bool) -> None:
    new_session(tmp_path, "s1")
    sound = state_path(tmp_path, "s1").read_bytes()
    seen = following(
        store,
        lambda: state_path(tmp_path, "s1").write_bytes(b"{"),
        lambda: state_path(tmp_path, "s1").unlink(),
        lambda: state_path(tmp_path, "s1").write_bytes(sound),
        wanted=4,
        events=events,
    )
    assert [change.summary.damaged is None for change in seen] == [True, False, False, True]
    assert {change.session_id for change in seen} == {"s1"}


def test_an_application_s_files_are_no_change(tmp_path: Path, store: Store, events: bool) -> None:
    new_session(tmp_path, "s1")

    def work() -> None:
        (session_path(tmp_path, "s1") / "file").write_bytes(b"x")
        new_session(tmp_path, "s2")

    seen = following(store, work, wanted=2, events=events)
    assert told(seen)[-1][0] == "s2"


def test_filters_choose(tmp_path: Path, store: Store, events: bool) -> None:
    new_session(tmp_path, "paused")
    new_session(tmp_path, "failed", checkpoint=False)

    def fail() -> None:
        with store.resume("paused") as session:
            session.fail("x")

    seen = following(store, fail, wanted=2, events=events, status="failed")
    assert told(seen) == [("failed", "found"), ("paused", "created")]


def test_memory_is_watched_too() -> None:
    store = SessionStore(MemoryBackend())
    session = store.create("g", session_id="s1")
    seen = following(store, session.save, session.complete, wanted=3)
    assert [change.summary.revision for change in seen] == [1, 2, 3]


# --- the end ------------------------------------------------------------------------------------


def test_it_ends_when_all_have_ended(tmp_path: Path, store: Store) -> None:
    new_session(tmp_path, "s1", checkpoint=False)
    new_session(tmp_path, "s2")
    assert len(list(store.watch(["s1"], until=["failed"], timeout=DEADLINE))) == 1
    both = list(store.watch(until=["failed", "paused"], timeout=DEADLINE))
    assert told(both) == [("s1", "found"), ("s2", "found")]


def test_one_that_is_deleted_has_ended(tmp_path: Path, store: Store, events: bool) -> None:
    new_session(tmp_path, "s1")
    options: dict[str, Any] = {"until": "completed", "timeout": DEADLINE, "poll": 0.02}
    kinds = []
    for change in store.watch(["s1"], events=events, **options):
        kinds.append(change.kind)
        if change.kind == "found":
            store.delete("s1")
    assert kinds == ["found", "deleted"]


def test_time_that_is_up_is_an_error_only_if_something_was_waited_for(
    tmp_path: Path, store: Store, events: bool
) -> None:
    new_session(tmp_path, "s1")
    with pytest.raises(WatchTimedOut) as caught:
        list(store.watch(["s1", "s2"], until="completed", timeout=0.05, events=events))
    assert caught.value.waiting == ("s1", "s2")
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(WatchTimedOut):
        list(SessionStore(tmp_path / "none").watch(until="completed", timeout=0, events=events))
    assert told(list(store.watch(timeout=0.05, events=events))) == [("s1", "found")]


def test_what_makes_no_sense_is_refused(store: Store) -> None:
    wrong: list[dict[str, Any]] = [{"poll": 0}, {"timeout": -1}, {"until": "done"}]
    for options in wrong:
        with pytest.raises(ValueError):
            store.watch(**options)
    with pytest.raises(InvalidSessionId):
        store.watch(["../x"])
    with pytest.raises(InvalidQuery):
        store.watch(status="done")


def test_time_is_up_also_while_changes_keep_coming() -> None:
    backend = Racing()
    store = SessionStore(backend)
    session = store.create("g", session_id="s1")

    def save() -> None:
        session.save()
        backend.then.append(save)

    backend.then.append(save)
    with pytest.raises(WatchTimedOut):
        list(store.watch(until="completed", timeout=0.2, poll=0.001))
    backend.then.clear()
    session.complete()


def test_a_large_store_is_told_bit_by_bit(store: Store, tmp_path: Path) -> None:
    class Slow(MemoryBackend):
        def summary(self, session_id: str) -> SessionSummary | None:
            looked.append(session_id)
            time.sleep(0.02)
            return super().summary(session_id)

    looked: list[str] = []
    store = SessionStore(Slow())
    for number in range(30):
        with store.create("g", session_id=f"s{number:02}") as session:
            session.complete()
    changes = store.watch(until="completed")
    assert next(changes).session_id == "s00"
    assert len(looked) < 30
    assert len(list(changes)) == 29


# --- events -------------------------------------------------------------------------------------


def test_events_that_never_come_cost_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without watches left, as told by its own error, is looked at instead."""
    monkeypatch.setattr(FilesNotifier, "_listen", lambda self: False)
    test_the_last_of_500_quick_saves_is_seen_and_none_after_a_later_one(
        tmp_path, SessionStore(tmp_path), True, False
    )


@pytest.mark.skipif(not HAS_EVENTS, reason="watchfiles is not installed (the extra watch)")
def test_with_events_a_change_does_not_wait_for_the_next_look(tmp_path: Path) -> None:
    new_session(tmp_path, "s1")
    with FilesBackend(tmp_path).notifier(None) as notifier:
        assert notifier.wait(0) is None  # it listens from now on
        assert notifier.is_listening
        new_session(tmp_path, "s2")
        seen: set[str] = set()
        give_up = time.monotonic() + DEADLINE
        while "s2" not in seen and time.monotonic() < give_up:
            seen |= set(notifier.wait(1.0) or ())
        assert "s2" in seen


# --- awaited ------------------------------------------------------------------------------------


def test_it_can_be_awaited_and_cancelled(tmp_path: Path, events: bool) -> None:
    new_session(tmp_path, "s1")

    async def first(store: AsyncSessionStore[Any]) -> str:
        async with aclosing(store.watch(events=events)) as changes:  # type: ignore[type-var]
            async for change in changes:
                return change.session_id
        return ""

    async def forever(store: AsyncSessionStore[Any]) -> None:
        async for _ in store.watch(events=events):
            pass

    async def work() -> None:
        async with AsyncSessionStore(tmp_path) as store:
            assert await first(store) == "s1"
            task = asyncio.create_task(forever(store))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(WatchTimedOut):
                async for _ in store.watch(until="completed", timeout=0.01, events=events):
                    pass

    asyncio.run(work())


def test_an_interrupt_ends_it_at_once(tmp_path: Path, events: bool) -> None:
    new_session(tmp_path, "s1")
    with Child("watch_until_told", tmp_path, "events" if events else "x") as child:
        child.hear()
        child.hear()
        child.signal(signal.SIGINT)
        assert child.wait() == -signal.SIGINT


# --- filters that exclude the awaited status ----------------------------------------------------


def test_a_session_that_leaves_the_filter_by_the_awaited_status_ends_the_watch(
    store: Store, events: bool
) -> None:
    session = store.create("goal", session_id="s1")
    watching = store.watch(
        status="active", until="completed", timeout=DEADLINE, poll=0.05, events=events
    )
    seen = [next(watching)]
    session.complete()
    begin = time.monotonic()
    seen += watching
    assert time.monotonic() - begin < DEADLINE / 2
    assert told(seen) == [("s1", "found"), ("s1", "changed")]
    assert seen[-1].summary.status is SessionStatus.COMPLETED


@pytest.mark.parametrize("filters", [{"status": "active"}, {"goal_id": "another"}])
def test_a_named_session_that_has_the_awaited_status_ends_the_watch_whatever_the_filter(
    store: Store, filters: dict[str, Any]
) -> None:
    store.create("goal", session_id="s1").complete()
    assert list(store.watch("s1", until="completed", timeout=DEADLINE, **filters)) == []


def test_a_session_that_leaves_the_filter_by_another_status_is_still_waited_for(
    store: Store,
) -> None:
    session = store.create("goal", session_id="s1")
    watching = store.watch(status="active", until="completed", timeout=0.3, poll=0.02, events=False)
    assert told([next(watching)]) == [("s1", "found")]
    session.fail("down")
    with pytest.raises(WatchTimedOut, match="s1"):
        list(watching)


def test_a_session_that_is_resumed_after_the_awaited_status_is_waited_for_again(
    store: Store,
) -> None:
    first = store.create("goal", session_id="s1")
    second = store.create("goal", session_id="s2")
    first.checkpoint()
    watching = store.watch(
        status="active", until="completed", timeout=DEADLINE, poll=0.02, events=False
    )
    seen = [next(watching), next(watching)]
    first.complete()
    seen.append(next(watching))
    with store.resume("s1", again=True) as again:
        seen.append(next(watching))
        second.complete()
        seen.append(next(watching))
        assert seen[-2].summary.status is SessionStatus.ACTIVE
        again.complete()
    seen += watching
    assert [change.session_id for change in seen] == ["s1", "s2", "s1", "s1", "s2", "s1"]


def test_without_an_awaited_status_what_no_longer_matches_is_not_told(store: Store) -> None:
    session = store.create("goal", session_id="s1")
    watching = store.watch(status="active", timeout=0.3, poll=0.02, events=False)
    seen = [next(watching)]
    session.complete()
    seen += watching
    assert told(seen) == [("s1", "found")]
