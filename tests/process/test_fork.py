"""What belongs to one process is made anew in a forked child, whoever forked it."""

from __future__ import annotations

import os
import pickle
import threading
import time

import pytest

from sessionstore.process import fork
from sessionstore.process.fork import ForkGate, Mutex, PerProcess
from tests.support.forking import in_fork
from tests.support.processes import DEADLINE, needs_linux

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def test_a_value_is_made_once_in_each_process() -> None:
    values = PerProcess(object)
    mine = values.get()
    assert values.get() is mine
    assert values.made() is mine
    assert in_fork(lambda: values.made() is None and values.get() is not mine)
    assert values.drop() is mine
    assert values.made() is None


def make_slowly() -> object:
    time.sleep(0.01)
    return object()


def test_threads_that_ask_at_once_get_the_same_value() -> None:
    starts = threading.Barrier(8)
    values = PerProcess(make_slowly)
    found: list[object] = []

    def ask() -> None:
        starts.wait()
        found.append(values.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(map(id, found)) == {id(values.get())}


def test_a_value_that_was_pickled_is_made_anew() -> None:
    values: PerProcess[dict[str, str]] = PerProcess(dict)
    values.get()["key"] = "value"
    assert pickle.loads(pickle.dumps(values)).get() == {}


@needs_linux("it forks in C")
@pytest.mark.parametrize("by_python", [True, False], ids=["python", "c"])
def test_a_lock_that_another_thread_holds_is_free_in_a_child(by_python: bool) -> None:
    mutex, is_held, may_end = Mutex(), threading.Event(), threading.Event()

    def hold() -> None:
        with mutex:
            is_held.set()
            may_end.wait(DEADLINE)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_held.wait(DEADLINE)

        def enter() -> bool:
            with mutex, mutex:
                return True

        assert in_fork(enter, by_python=by_python)
    finally:
        may_end.set()
        holder.join()


def test_a_child_that_was_forked_within_a_block_leaves_it() -> None:
    mutex, gate = Mutex(), ForkGate()
    parent = os.getpid()
    with mutex, gate:
        pid = os.fork()
    if os.getpid() != parent:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_fork_waits_for_a_block_of_another_thread_and_blocks_do_not_wait() -> None:
    gate, inside, may_leave, left = ForkGate(), threading.Event(), threading.Event(), []

    def stay() -> None:
        with gate:
            inside.set()
            may_leave.wait(DEADLINE)
            left.append("left")

    threads = [threading.Thread(target=stay) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.wait(DEADLINE)
    with gate:  # nobody waits for those who are inside
        threading.Timer(0.05, may_leave.set).start()
    assert in_fork(lambda: left == ["left", "left"])
    for thread in threads:
        thread.join()


def test_a_fork_waits_a_bounded_time_for_a_block_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork, "_PATIENCE", 0.05)
    gate, inside, may_leave = ForkGate(), threading.Event(), threading.Event()

    def hang() -> None:
        with gate:
            inside.set()
            may_leave.wait(DEADLINE)

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        assert inside.wait(DEADLINE)

        def enter() -> bool:
            with gate:
                return True

        assert in_fork(enter)
        with gate:  # and the gate is open again in the parent
            pass
    finally:
        may_leave.set()
        thread.join()
