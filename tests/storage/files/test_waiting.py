"""Who waits for a session gets it in the order of arrival, whoever is killed or gives up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from sessionstore import AsyncSessionStore, Session, SessionClaimed, SessionState, SessionStore
from sessionstore.durable import making
from sessionstore.storage.files import os_lock, waiting
from sessionstore.storage.files.waiting import FilesTurn
from tests.support.processes import DEADLINE, needs_linux, new_session, until


def has_places(root: Path, count: int) -> bool:
    return len(line(root)) == count


WAIT = """
import sys
from sessionstore import SessionStore
from sessionstore.storage.files import waiting
waiting.LIES_FREE = float(sys.argv[4])
with SessionStore(sys.argv[1]).claim("s1", timeout=300.0):
    with open(sys.argv[2], "a") as file:
        file.write(sys.argv[3] + "\\n")
"""


def line(root: Path) -> list[int]:
    path = root / "locks" / "s1.waiting"
    return sorted(map(int, os.listdir(path))) if path.exists() else []


@contextmanager
def waiter(
    root: Path, name: str, *, passes_after: float = DEADLINE
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that waits for the session; give it once it has its place.

    On a starved machine those ahead may seem to be stopped: ``passes_after`` says how soon.
    """
    before = len(line(root))
    given = [str(root), str(root / "order"), name, str(passes_after)]
    command = [sys.executable, "-c", WAIT, *given]
    process = subprocess.Popen(command)
    try:
        until(lambda: len(line(root)) > before, "the place of a waiter")
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE)


@pytest.fixture
def held(tmp_path: Path) -> Session[SessionState]:
    new_session(tmp_path)
    return SessionStore(tmp_path).claim("s1")


def order(root: Path) -> list[str]:
    path = root / "order"
    return path.read_text().split() if path.exists() else []


# --- the order ----------------------------------------------------------------------------------


def test_processes_get_a_session_in_the_order_in_which_they_came(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    names = [f"p{number}" for number in range(6)]
    with ExitStack() as stack:
        processes = [stack.enter_context(waiter(tmp_path, name)) for name in names]
        held.release()
        assert [process.wait(DEADLINE) for process in processes] == [0] * 6
    assert order(tmp_path) == names
    assert not (tmp_path / "locks" / "s1.waiting").exists()


def test_a_thread_and_a_task_and_a_process_stand_in_one_line(
    tmp_path: Path, held: Session[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LIES_FREE", DEADLINE)

    def in_a_thread() -> None:
        with (
            SessionStore(tmp_path).claim("s1", timeout=DEADLINE),
            open(tmp_path / "order", "a") as file,
        ):
            file.write("thread\n")

    async def in_a_task() -> None:
        async with (
            AsyncSessionStore(tmp_path) as store,
            store.claim("s1", timeout=DEADLINE),
        ):
            with open(tmp_path / "order", "a") as file:
                file.write("task\n")

    with ExitStack() as stack:
        first = stack.enter_context(waiter(tmp_path, "process"))
        threads = [
            threading.Thread(target=in_a_thread),
            threading.Thread(target=lambda: asyncio.run(in_a_task())),
        ]
        for number, thread in enumerate(threads, 2):
            thread.start()
            until(partial(has_places, tmp_path, number), "a place")
        last = stack.enter_context(waiter(tmp_path, "last"))
        held.release()
        for thread in threads:
            thread.join(DEADLINE)
        assert (first.wait(DEADLINE), last.wait(DEADLINE)) == (0, 0)
    assert order(tmp_path) == ["process", "thread", "task", "last"]


def test_a_claim_without_a_timeout_does_not_overtake_those_who_wait(
    tmp_path: Path, held: Session[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LIES_FREE", DEADLINE)
    store = SessionStore(tmp_path)
    turn = FilesTurn(str(tmp_path / "locks" / "s1.lock"))
    turn.join()
    taken = threading.Event()

    def take() -> None:
        time.sleep(0.05)  # in the middle of the claim below
        claimed = store._opener.claim("s1", expected_revision=None, force=False, turn=turn)
        taken.set()
        threading.Timer(0.5, claimed.free).start()

    held.release()
    taking = threading.Thread(target=take)
    taking.start()
    with pytest.raises(SessionClaimed):
        store.claim("s1")
    assert taken.is_set()
    taking.join(DEADLINE)
    turn.close()
    store.claim("s1", timeout=DEADLINE).release()


# --- who leaves the line ------------------------------------------------------------------------


def test_a_waiter_that_was_killed_costs_the_others_nothing(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    with waiter(tmp_path, "killed") as killed, waiter(tmp_path, "next") as after:
        killed.send_signal(signal.SIGKILL)
        killed.wait(DEADLINE)
        held.release()
        assert after.wait(DEADLINE) == 0
    assert order(tmp_path) == ["next"]
    assert line(tmp_path) == []


@needs_linux("SIGSTOP")
def test_a_waiter_that_is_stopped_is_passed_over_and_gets_its_turn_later(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    with (
        waiter(tmp_path, "stopped") as stopped,
        waiter(tmp_path, "next", passes_after=0.1) as after,
    ):
        stopped.send_signal(signal.SIGSTOP)
        held.release()
        assert after.wait(DEADLINE) == 0
        SessionStore(tmp_path).claim("s1").release()
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(DEADLINE) == 0
    assert order(tmp_path) == ["next", "stopped"]


def test_a_wait_ends_at_its_timeout_and_leaves_no_place(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    store = SessionStore(tmp_path)
    with waiter(tmp_path, "first") as first:
        begin = time.monotonic()
        with pytest.raises(SessionClaimed) as refused:
            store.claim("s1", timeout=0.2)
        assert time.monotonic() - begin >= 0.2
        assert refused.value.owner is not None
        assert refused.value.owner.token == held.owner.token
        assert len(line(tmp_path)) == 1
        held.release()
        assert first.wait(DEADLINE) == 0
    assert line(tmp_path) == []


@needs_linux("SIGINT")
def test_ctrl_c_ends_a_wait_and_leaves_no_place(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    with waiter(tmp_path, "interrupted") as waiting_one:
        waiting_one.send_signal(signal.SIGINT)
        assert waiting_one.wait(DEADLINE) != 0
        assert line(tmp_path) == []
    held.release()
    assert order(tmp_path) == []


def test_a_task_that_is_cancelled_leaves_the_line(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    async def cancel() -> None:
        async with AsyncSessionStore(tmp_path) as store:

            async def wait() -> None:
                async with store.claim("s1", timeout=DEADLINE):
                    raise AssertionError("it was held")

            task = asyncio.create_task(wait())
            while not line(tmp_path):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert line(tmp_path) == []
    held.release()


# --- the place ----------------------------------------------------------------------------------


def test_a_place_that_was_taken_for_deserted_is_taken_again(
    tmp_path: Path, held: Session[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "locks" / "s1.lock")
    first, second = FilesTurn(path), FilesTurn(path)
    real = os_lock.lock_descriptor

    def looked_at_first() -> object:
        monkeypatch.setattr(os_lock, "lock_descriptor", real)
        assert second.is_next()  # it removes the file that is not locked yet
        return real()

    monkeypatch.setattr(os_lock, "lock_descriptor", looked_at_first)
    first.join()
    assert line(tmp_path) == [1]
    assert not second.is_next()
    first.close()
    held.release()


def test_a_wait_goes_on_where_no_place_can_be_made(
    tmp_path: Path, held: Session[SessionState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(making, "make_directory", refuse)
    threading.Timer(0.1, held.release).start()
    SessionStore(tmp_path).claim("s1", timeout=DEADLINE).release()


def test_a_waiter_that_gets_the_number_of_one_it_saw_ahead_is_next(tmp_path: Path) -> None:
    lock = str(tmp_path / "s.lock")
    first, second = FilesTurn(lock), FilesTurn(lock)
    first.join()
    assert not second.is_next()
    first.close()
    second.join()
    assert second.is_next()
    second.close()
