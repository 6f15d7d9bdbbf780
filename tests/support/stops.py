"""Every way for a session to stop, each in a process of its own, with real kills and signals."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from sessionstore import AsyncSessionStore, SessionState, SessionStore
from sessionstore.durable.replace import Staged

ID = "s-1"
PATIENCE = 120.0
"""Seconds after which a session that was to be stopped gives up, which fails the test."""


@dataclass
class Run:
    """One session that runs and is stopped."""

    root: Path
    session: Any
    """A Session, or an AsyncSession."""
    is_async: bool
    fire: Callable[[], object] = lambda: None
    """Lets what stands around the session stop it."""

    async def call(self, method: str, *args: Any, **kwargs: Any) -> None:
        done = getattr(self.session, method)(*args, **kwargs)
        if inspect.isawaitable(done):
            await done

    async def be_stopped(self, stop: Callable[[], object]) -> None:
        stop()
        if self.is_async:
            await asyncio.sleep(PATIENCE)
        else:
            time.sleep(PATIENCE)
        os._exit(99)

    @property
    def beside(self) -> SessionStore[SessionState]:
        return open_store(self.root)


def open_store(root: Path) -> SessionStore[SessionState]:
    return SessionStore(root, durability="process")


def send(number: signal.Signals) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), number)


# --- inside of the block -------------------------------------------------------------------------


def kills(number: signal.Signals = signal.SIGKILL) -> Callable[[Run], Awaitable[None]]:
    async def stop(run: Run) -> None:
        if number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        await run.be_stopped(send(number))

    return stop


async def killed_in_a_write(run: Run, method: str, *, is_late: bool = False) -> None:
    swap_in = Staged.swap_in

    def swap(*args: Any) -> None:
        if is_late:
            swap_in(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    Staged.swap_in = swap  # type: ignore[assignment, method-assign]  # this process ends with it
    await run.call(method)


async def killed_in_a_save(run: Run) -> None:
    await killed_in_a_write(run, "save")


async def killed_at_the_end_of_a_save(run: Run) -> None:
    await killed_in_a_write(run, "save", is_late=True)


async def killed_in_a_checkpoint(run: Run) -> None:
    await killed_in_a_write(run, "checkpoint")


async def killed_in_complete(run: Run) -> None:
    await killed_in_a_write(run, "complete")


async def killed_after_a_checkpoint(run: Run) -> None:
    await run.call("checkpoint")
    run.session.state.data_buffer["step"] = "later"
    await run.be_stopped(send(signal.SIGKILL))


async def leaves_at_once(run: Run) -> None:
    os._exit(3)


async def exits(run: Run) -> None:
    sys.exit(3)


async def exits_on_sigterm(run: Run) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    await run.be_stopped(send(signal.SIGTERM))


def raises(error: BaseException) -> Callable[[Run], Awaitable[None]]:
    async def stop(run: Run) -> None:
        raise error

    return stop


async def cannot_be_saved(run: Run) -> None:
    run.session.state.data_buffer["bad"] = float("nan")
    await run.call("save")


async def cannot_be_released(run: Run) -> None:
    run.session.state.data_buffer["bad"] = float("nan")
    await run.call("release")


async def is_fired(run: Run) -> None:
    await run.be_stopped(run.fire)


async def hears_a_cancel(run: Run) -> None:
    run.beside.cancel(ID, reason="too late")
    await run.call("save")


async def ends_with_a_cancel_unheard(run: Run) -> None:
    run.beside.cancel(ID)


async def just_ends(run: Run) -> None:
    return None


def calls(method: str, *args: Any) -> Callable[[Run], Awaitable[None]]:
    async def stop(run: Run) -> None:
        await run.call(method, *args)

    return stop


# --- around an asynchronous block ----------------------------------------------------------------

Body = Callable[[Callable[[], object]], Awaitable[None]]
"""Runs a session; it is given what lets the surroundings stop it."""
Around = Callable[[Body], Awaitable[None]]


async def timed_out(body: Body) -> None:
    async with asyncio.timeout(None) as scope:
        await body(lambda: scope.reschedule(asyncio.get_running_loop().time()))


async def in_a_scope(body: Body) -> None:
    with anyio.CancelScope() as scope:
        await body(scope.cancel)


async def beside_a_sibling(body: Body) -> None:
    now = asyncio.Event()

    async def fail() -> None:
        await now.wait()
        raise ValueError("the sibling failed")

    async with asyncio.TaskGroup() as group:
        group.create_task(body(now.set))  # type: ignore[arg-type]  # it is a coroutine
        group.create_task(fail())


async def cancelled_by_sigterm(body: Body) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await body(send(signal.SIGTERM))


# --- after its process has died ------------------------------------------------------------------


def edit(store: SessionStore[SessionState], home: Path) -> None:
    with store.edit(ID) as session:
        session.state.data_buffer["step"] = "edited"


def claim(store: SessionStore[SessionState], home: Path) -> None:
    with store.claim(ID):
        pass


def export_and_import(store: SessionStore[SessionState], home: Path) -> None:
    store.export_sessions(home / "export.tar", [ID])
    store.recover()
    store.delete(ID)
    store.import_sessions(home / "export.tar")


def marks(status: Any) -> Callable[[SessionStore[SessionState], Path], object]:
    return lambda store, _: store.mark(ID, status, reason="a person said so")


def sweeps(status: Any) -> Callable[[SessionStore[SessionState], Path], object]:
    return lambda store, _: store.recover(mark_as=status)


# --- all of them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to stop; its name is how the table calls it."""

    name: str
    stop: Callable[[Run], Awaitable[None]] = field(default_factory=kills)
    around: Around | None = None
    """What stands around an asynchronous session; such a way is not for the other kind."""
    after: Callable[[SessionStore[SessionState], Path], object] | None = None
    """What somebody else does once the process is gone."""
    saves: bool = True
    """Whether the state was saved before."""
    closes: bool = False
    """Whether the block stands in a generator that is closed."""

    @property
    def kinds(self) -> tuple[bool, ...]:
        """Whether a session of this way is asynchronous: False, True, or each in turn."""
        if self.after is not None:
            return (False,)
        return (False, True) if self.around is None else (True,)


WAYS = (
    Way("`kill -9` before the first save", saves=False),
    Way("`kill -9` after a save"),
    Way("`kill -9` in the middle of a save", killed_in_a_save),
    Way("`kill -9` as a save returns", killed_at_the_end_of_a_save),
    Way("`kill -9` in the middle of a checkpoint", killed_in_a_checkpoint),
    Way("`kill -9` after a checkpoint", killed_after_a_checkpoint),
    Way("`kill -9` in the middle of `complete()`", killed_in_complete),
    Way("`os._exit()`", leaves_at_once),
    Way("SIGTERM that nobody handles", kills(signal.SIGTERM)),
    Way("SIGHUP that nobody handles", kills(signal.SIGHUP)),
    Way("SIGTERM whose handler calls `sys.exit()`", exits_on_sigterm),
    Way("SIGTERM whose handler cancels the task", is_fired, cancelled_by_sigterm),
    Way("Ctrl-C (SIGINT)", kills(signal.SIGINT)),
    Way("`sys.exit()`", exits),
    Way("`asyncio.timeout()`", is_fired, timed_out),
    Way("a sibling in the `TaskGroup` fails", is_fired, beside_a_sibling),
    Way("a cancel scope of anyio", is_fired, in_a_scope),
    Way("its generator is closed", just_ends, closes=True),
    Way("an exception", raises(ValueError("no such city"))),
    Way("`MemoryError`", raises(MemoryError())),
    Way("`save()` of what cannot be stored", cannot_be_saved),
    Way("`release()` of what cannot be stored", cannot_be_released),
    Way("end of the block, or `return`", just_ends),
    Way("`release()`", calls("release")),
    Way("`pause()`", calls("pause")),
    Way("`fail()`", calls("fail", "no such city")),
    Way("`complete()`", calls("complete")),
    Way("`cancel()`", calls("cancel")),
    Way("`store.cancel()`, heard by a save", hears_a_cancel),
    Way("`store.cancel()`, met at the end of the block", ends_with_a_cancel_unheard),
    Way("`kill -9`, then `store.cancel()`", after=lambda store, _: store.cancel(ID)),
    Way('`kill -9`, then `recover(mark_as="paused")`', after=sweeps("paused")),
    Way('`kill -9`, then `recover(mark_as="cancelled")`', after=sweeps("cancelled")),
    Way('`kill -9`, then `mark(…, "failed")`', after=marks("failed")),
    Way('`kill -9`, then `mark(…, "paused")`', after=marks("paused")),
    Way('`kill -9`, then `mark(…, "cancelled")`', after=marks("cancelled")),
    Way("`kill -9`, then `claim()` and the end of its block", after=claim),
    Way("`kill -9`, then `edit()`", after=edit),
    Way("`kill -9`, then export and import", after=export_and_import),
)


def home_of(place: Path, number: int, is_async: bool, keeps: bool) -> Path:
    """Return the store of one session."""
    return place / f"{number}-{'async' if is_async else 'sync'}-{'kept' if keeps else 'bare'}"


# --- the processes -------------------------------------------------------------------------------


def main(place: str) -> None:
    """Stop a session in every way, each in a process of its own; they run side by side."""
    pids = {}
    for number, way in enumerate(WAYS):
        for is_async in way.kinds:
            for keeps in (False, True):
                root = home_of(Path(place), number, is_async, keeps)
                pid = os.fork()
                if pid == 0:
                    _run_alone(root, way, is_async, keeps)
                pids[pid] = way.name
                if len(pids) == 4:
                    _reap(pids)
    while pids:
        _reap(pids)


def _reap(pids: dict[int, str]) -> None:
    pid, status = os.wait()
    name = pids.pop(pid)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in (99, 100):
        sys.exit(f"{name}: it was not stopped")


def _run_alone(root: Path, way: Way, is_async: bool, keeps: bool) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if is_async:
            asyncio.run(_run_async(root, way, keeps))
        else:
            running = _body(root, way, keeps)
            with suppress(StopIteration):
                next(running)
            running.close()
    except BaseException:  # what leaves the block is the business of the table
        os._exit(1)
    os._exit(0)


def _body(root: Path, way: Way, keeps: bool) -> Generator[None, None, None]:
    with open_store(root).create("goal", session_id=ID) as session:
        run = Run(root, session, is_async=False)
        _drive(_prepare(run, way, keeps))
        _drive(way.stop(run))
        if way.closes:
            yield


def _drive(work: Any) -> None:
    """Run a coroutine that never waits for a loop."""
    with suppress(StopIteration):
        work.send(None)
        os._exit(100)


async def _run_async(root: Path, way: Way, keeps: bool) -> None:
    async with AsyncSessionStore(root, durability="process") as store:

        async def body(fire: Callable[[], object]) -> None:
            running = _async_body(store, root, way, keeps, fire)
            async for _ in running:
                break
            await running.aclose()

        await (way.around or _plainly)(body)


async def _plainly(body: Body) -> None:
    await body(lambda: None)


async def _async_body(
    store: Any, root: Path, way: Way, keeps: bool, fire: Callable[[], object]
) -> AsyncGenerator[None, None]:
    async with store.create("goal", session_id=ID) as session:
        run = Run(root, session, is_async=True, fire=fire)
        await _prepare(run, way, keeps)
        await way.stop(run)
        if way.closes:
            yield


async def _prepare(run: Run, way: Way, keeps: bool) -> None:
    """Leave the session at work: kept, then saved, then changed once more."""
    data = run.session.state.data_buffer
    if keeps:
        data["step"] = "kept"
        await run.call("checkpoint")
    if way.saves:
        data["step"] = "saved"
        await run.call("save")
    data["step"] = "changed"
