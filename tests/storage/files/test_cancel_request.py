"""Requests to cancel between real processes: they reach the claim they name, or nobody."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSession,
    AsyncSessionStore,
    CancellationRequested,
    CancelOutcome,
    FindingKind,
    SessionClaimed,
    SessionState,
    SessionStore,
    StorageError,
)
from sessionstore.operations import cancel
from sessionstore.storage.files import cancel_request
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.values import CancelRequest
from tests.support.aio import run
from tests.support.processes import (
    DEADLINE,
    Child,
    edit_state,
    left_active,
    needs_linux,
    read_state,
    rounds,
    until,
)


def strays(root: Path) -> list[str]:
    """Return what lies among the lock files, and is none."""
    return sorted(path.name for path in (root / "locks").iterdir() if path.suffix != ".lock")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> SessionStore[SessionState]:
    return SessionStore(root)


# --- one process asks another --------------------------------------------------------------------


def test_a_process_that_is_asked_ends_its_session_as_cancelled(
    root: Path, store: SessionStore[SessionState]
) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert owner.ask("save") == {"revision": 3}
        asked = store.cancel("s1", reason="wrong input")
        assert asked.outcome is CancelOutcome.REQUESTED
        assert asked.owner is not None
        assert asked.owner.pid == owner.pid
        owner.tell("save")
        assert list(owner.hear_all()) == []  # the error left the block and ended the process
        assert owner.wait() == 1
    state = read_state(root, "s1")
    assert (state["status"], state["revision"], state["owner"]) == ("cancelled", 4, None)
    assert state["recovery"] is None
    assert f"pid {os.getpid()}" in state["result"]["error"]
    assert state["result"]["error"].endswith(": wrong input")
    assert strays(root) == []


def test_who_waits_learns_of_the_end(root: Path, store: SessionStore[SessionState]) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert store.cancel("s1").is_pending  # so that the next save meets it
        owner.tell("save")
        done = store.cancel("s1", timeout=DEADLINE)
    assert done.outcome is CancelOutcome.CANCELLED


def test_a_session_that_completes_first_wins(root: Path, store: SessionStore[SessionState]) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert store.cancel("s1").is_pending
        assert owner.ask("complete") == {"left": True}
        assert store.cancel("s1", timeout=DEADLINE).outcome is CancelOutcome.ENDED
    assert read_state(root, "s1")["status"] == "completed"
    assert strays(root) == []


def test_a_process_that_dies_before_it_meets_the_request_is_cancelled_for(
    root: Path, store: SessionStore[SessionState]
) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert store.cancel("s1", reason="too slow").is_pending
        owner.crash()
        done = store.cancel("s1", reason="too slow", timeout=DEADLINE)
    assert done.outcome is CancelOutcome.CANCELLED
    state = read_state(root, "s1")
    assert (state["status"], state["recovery"]["count"]) == ("cancelled", 1)
    assert state["result"]["error"] == "too slow"
    assert strays(root) == []


@needs_linux("stops a process")
def test_a_stopped_process_keeps_the_request_until_it_goes_on(
    root: Path, store: SessionStore[SessionState]
) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        owner.signal(signal.SIGSTOP)
        assert store.cancel("s1").is_pending
        assert read_state(root, "s1")["status"] == "active"
        owner.tell("save")
        owner.signal(signal.SIGCONT)
        assert owner.wait() == 1
    assert read_state(root, "s1")["status"] == "cancelled"


def test_whoever_holds_the_session_next_is_not_the_one_who_was_asked(
    root: Path, store: SessionStore[SessionState]
) -> None:
    """The waiting requester sees that the session moved on, and leaves the next holder alone."""
    first = store.create("goal", session_id="s1")
    second: list[Any] = []

    def move_on(seconds: float) -> None:
        if not second:
            first.pause()
            second.append(store.resume("s1"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessionstore.operations.cancel.time.sleep", move_on)
        seen = store.cancel("s1", timeout=DEADLINE)
    assert seen.outcome is CancelOutcome.MOVED_ON
    assert second[0].save() == 4
    second[0].complete()
    assert strays(root) == []


def test_a_session_that_was_resumed_and_left_again_is_not_cancelled_for_the_one_who_was_asked(
    root: Path, store: SessionStore[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the dead one and the claim somebody resumes it, and dies in turn."""
    backend = store._backend
    canceller = cancel.CancelRequester(backend, "s1", "only the first")
    with Child("act", root) as other, Child("support.cancel_children.work", root) as owner:
        other.hear()
        owner.hear()
        assert canceller.look().is_pending
        owner.crash()
        claim = backend.claim

        def resume_before(*args: Any, **options: Any) -> Any:
            monkeypatch.undo()
            other.ask("leave_dead", session_id="s1")
            return claim(*args, **options)

        monkeypatch.setattr(backend, "claim", resume_before)
        assert canceller.look().outcome is CancelOutcome.MOVED_ON
    assert read_state(root, "s1")["status"] == "active"
    assert strays(root) == []


def test_a_process_without_a_lock_cannot_be_asked(
    root: Path, store: SessionStore[SessionState]
) -> None:
    """A process of the original framework records nothing but its pid."""
    left_active(root, "s1", owner=None, pid=os.getppid())
    with pytest.raises(SessionClaimed, match="cannot be asked"):
        store.cancel("s1")
    assert read_state(root, "s1")["status"] == "active"
    assert strays(root) == []


def test_requests_race_with_ends_and_with_the_next_holders(root: Path) -> None:
    """Whatever the interleaving: who meets a request is the claim that was asked."""
    with SessionStore(root).create("goal", session_id="s1") as session:
        session.pause()
    asked: dict[str, dict[str, Any]] = {}
    claims: list[dict[str, Any]] = []
    for turn in rounds("requests that were met, and requests that came to an end"):
        heard = asked_and_worked(root, turn)
        asked |= {line["reason"]: line for name in ("ask1", "ask2") for line in heard[name][1:]}
        claims += [line for name in ("work0", "work1") for line in heard[name]]
        met = [line for line in claims if line["met"] is not None]
        assert len(claims) == 80 * (turn + 1)
        if met and {"requested", "ended"} <= {line.get("outcome") for line in asked.values()}:
            break
    assert len({line["met"] for line in met}) == len(met)  # no request met two claims
    assert {line["met"]: asked[line["met"]]["token"] for line in met} == {
        line["met"]: line["token"] for line in met
    }
    refused = [line for line in asked.values() if "error" in line]
    assert {line["error"] for line in refused} <= {"SessionClaimed"}, refused
    assert strays(root) == []


def asked_and_worked(root: Path, turn: int) -> dict[str, list[dict[str, Any]]]:
    """Let two processes resume s1, 40 times each, while two ask to cancel; return what they say."""
    heard: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:

        def start(name: str, work: str, *arguments: object) -> tuple[Child, threading.Thread]:
            child = stack.enter_context(
                Child(f"support.cancel_children.{work}", root, "s1", *arguments)
            )
            listener = threading.Thread(target=lambda: heard.update({name: [*child.hear_all()]}))
            listener.start()
            return child, listener

        askers = [start(name, "ask_for_ever", f"{name}-{turn}") for name in ("ask1", "ask2")]
        seeds = [2 * turn, 2 * turn + 1]
        workers = [start(f"work{n}", "resume_for_ever", 40, seeds[n]) for n in range(2)]
        for _, listener in workers:
            listener.join()
        for asker, listener in askers:
            asker.hang_up()
            listener.join()
    return heard


# --- what it costs, and where it could get lost ------------------------------------------------


def test_a_save_that_nobody_asked_to_cancel_reads_nothing(
    store: SessionStore[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = cancel_request._read

    def reading(layout: Layout, session_id: str, token: str) -> CancelRequest:
        read.append(session_id)
        return real(layout, session_id, token)

    with store.create("goal", session_id="s1") as session:
        monkeypatch.setattr(cancel_request, "_read", reading)
        session.save()
        session.checkpoint()
        assert read == []
        assert store.cancel("s1", reason="x").is_pending
        with pytest.raises(CancellationRequested):
            session.save()
        assert read == ["s1"]
        session.complete()  # an end does not look either
    assert read == ["s1"]


def test_a_request_that_cannot_be_read_now_is_met_later(
    root: Path, store: SessionStore[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> tuple[bytes, Any]:
        raise OSError(errno.EMFILE, "Too many open files")

    with store.create("goal", session_id="s1") as session:
        store.cancel("s1")
        with monkeypatch.context() as patch:
            patch.setattr(cancel_request, "read_regular", refuse)
            assert session.save() == 2
        with pytest.raises(CancellationRequested):
            session.save()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"by": 1, "reason": []}', b"\xff", b"{" * 9000])
def test_a_request_of_any_content_is_a_request(
    root: Path, store: SessionStore[SessionState], content: bytes
) -> None:
    with store.create("g", session_id="s1") as session:
        store.cancel("s1", reason="x")
        next((root / "locks").glob("*.cancel")).write_bytes(content)
        with pytest.raises(CancellationRequested) as met:
            session.save()
    assert (met.value.reason, met.value.by) == (None, None)
    assert read_state(root, "s1")["result"]["error"] == "cancellation was requested"


@pytest.mark.parametrize("place", ["_put", "_stands"])
def test_an_asker_that_is_killed_or_fails_leaves_nothing_that_stops_anybody(
    root: Path, store: SessionStore[SessionState], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with store.create("goal", session_id="s1") as session:
        real: Callable[..., object] = getattr(cancel_request, place)

        def fail(*args: Any) -> object:
            if place == "_put":
                real(*args)
            raise OSError(errno.EACCES, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(cancel_request, place, fail)
            with pytest.raises(StorageError, match="ask the holder"):
                store.cancel("s1")
        assert strays(root) == []
        assert session.save() == 2
        token = str(session.owner.token)
        if place == "_put":  # one that is killed has left a whole request
            cancel_request._put(store._backend._layout, "s1", CancelRequest(token))  # type: ignore[attr-defined]
            assert strays(root) == [f"s1.{token}.cancel"]
            with pytest.raises(CancellationRequested):
                session.save()
        session.complete()
    assert strays(root) == []


def test_a_link_in_the_place_of_a_request_is_not_followed(
    root: Path, store: SessionStore[SessionState], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"reason": "leaked"}')
    with store.create("goal", session_id="s1") as session:
        place = root / "locks" / f"s1.{session.owner.token}.cancel"
        place.symlink_to(secret)
        assert session.save() == 2
        store.cancel("s1", reason="mine")  # replaces the link, and not what it leads to
        assert not place.is_symlink()
        with pytest.raises(CancellationRequested, match="mine"):
            session.save()
    assert secret.read_text() == '{"reason": "leaked"}'


# --- the check-up --------------------------------------------------------------------------------


def test_the_check_up_leaves_a_request_that_stands_and_removes_one_that_does_not(
    root: Path, store: SessionStore[SessionState]
) -> None:
    with Child("support.cancel_children.work", root) as owner:
        token = owner.hear()["token"]
        assert store.cancel("s1").is_pending
        dead = root / "locks" / f"s1.{'0' * 16}.cancel"
        dead.write_text("{}")
        half = root / "locks" / f".new-{'1' * 16}"
        half.write_text("{")
        os.utime(half, (0, 0))
        found = store.check().findings
        assert [(item.kind, Path(item.file)) for item in found] == [
            (FindingKind.LEFTOVER, half),
            (FindingKind.LEFTOVER, dead),
        ]
        assert not any(item.is_damage for item in found)
        assert all(item.is_repaired for item in store.check(repair=True).findings)
        assert strays(root) == [f"s1.{token}.cancel"]
        owner.crash()
        store.check(repair=True)  # whoever records the death still has to see it
        assert strays(root) == [f"s1.{token}.cancel"]
        edit_state(root, "s1", owner=None, pid=None)
        (left,) = (
            item for item in store.check(repair=True).findings if item.file.endswith(".cancel")
        )
        assert left.is_repaired
    assert strays(root) == []


def test_a_claim_removes_what_was_asked_of_the_one_before(
    root: Path, store: SessionStore[SessionState]
) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert store.cancel("s1").is_pending
        owner.crash()
    assert len(strays(root)) == 1
    with store.resume("s1", again=True) as session:
        session.save()
        session.complete()
    assert strays(root) == []


# --- awaited --------------------------------------------------------------------------------------


async def save_for_ever(session: AsyncSession[SessionState]) -> None:
    while True:
        await session.save()
        await asyncio.sleep(0)


def test_an_awaited_save_raises_it_and_a_task_group_passes_it_on(tmp_path: Path) -> None:
    async def work(store: AsyncSessionStore[SessionState]) -> None:
        async def run_tasks() -> None:
            async with (
                store.create("goal", session_id="s1") as session,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(save_for_ever(session))
                tasks.create_task(asyncio.sleep(3600))
                assert (await store.cancel("s1", reason="stop")).is_pending

        with pytest.raises(ExceptionGroup) as raised:
            await run_tasks()
        assert raised.group_contains(CancellationRequested, match="stop")

    run(work, tmp_path)
    assert read_state(tmp_path, "s1")["status"] == "cancelled"


def test_an_awaited_cancel_waits_for_the_end_without_blocking_the_loop(tmp_path: Path) -> None:
    async def work(store: AsyncSessionStore[SessionState]) -> None:
        session = await store.create("goal", session_id="s1")
        waiting = asyncio.create_task(store.cancel("s1", timeout=DEADLINE))
        with pytest.raises(CancellationRequested):
            await save_for_ever(session)
        await session.release()
        assert (await waiting).outcome is CancelOutcome.CANCELLED
        assert await store.mark("s1", "failed", reason="after all") > 2

    run(work, tmp_path)
    assert read_state(tmp_path, "s1")["result"]["error"] == "after all"


def test_a_wait_that_is_over_leaves_the_request(root: Path) -> None:
    with Child("support.cancel_children.work", root) as owner:
        owner.hear()
        assert SessionStore(root).cancel("s1", timeout=0.05).is_pending
        owner.tell("save")
        until(lambda: read_state(root, "s1")["status"] == "cancelled", "the end of the session")
