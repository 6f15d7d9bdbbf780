"""Fill a store with very many sessions, as files in its layout, and remove them again, quickly."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.harness import say
from sessionstore import SessionOwner, SessionState, SessionStatus, SessionStore, SessionTimestamps

Made = TypeVar("Made")

STALE = 100
"""ACTIVE sessions of a process that died; all others are paused, completed or failed."""
ROOM_FOR_EACH = 17 * 1024
"""Bytes: on ext4 a session is two directories, a state and a lock file, of a block each."""
_CHUNK = 2_000
_OTHERS = (SessionStatus.PAUSED, SessionStatus.COMPLETED, SessionStatus.FAILED)
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_OWNER = """
from datetime import UTC, datetime
from sessionstore.process.identity import new_owner
print(new_owner(datetime.now(UTC)).model_dump_json())
"""


@dataclass(frozen=True)
class Population:
    """What is in a store, so that a listing can be checked: quick and wrong is worth nothing."""

    sessions: int
    statuses: dict[str, int]
    resumable: int
    stale: int


def populate(root: Path, count: int, *, stale: int = STALE) -> Population:
    """Write ``count`` sessions of 1 to 2 KiB; a third of them has a checkpoint.

    The others can be resumed, too: from the state that was saved last.
    """
    with SessionStore(root, durability="process") as store:
        with store.create("the first one makes the store") as session:
            session.complete()
            first = session.session_id
        store.delete(first)
    dead = dead_owner()
    statuses: Counter[str] = Counter()
    write = partial(_write_some, str(root), stale, dead)
    for done, some_statuses in _in_chunks(write, count):
        statuses.update(some_statuses)
        _tell("made", done, count)
    if hasattr(os, "sync"):
        os.sync()  # else whoever flushes first pays for all this
    return Population(count, dict(statuses), count, min(stale, count))


def remove(root: Path, count: int) -> None:
    """Remove what ``populate`` made, in as many processes, and then whatever else is there."""
    for done, _ in _in_chunks(partial(_remove_some, str(root)), count):
        _tell("removed", done, count)
    shutil.rmtree(root, ignore_errors=True)


@contextmanager
def populated(root: Path, count: int, *, stale: int = STALE) -> Iterator[Population]:
    """Give a store of ``count`` sessions, and remove it afterwards."""
    try:
        yield populate(root, count, stale=stale)
    finally:
        remove(root, count)


@contextmanager
def standing(root: Path) -> Iterator[Population]:
    """Give a store that ``python -m benchmarks.fixtures`` made before, and leave it."""
    yield Population(**json.loads(_described(root).read_text(encoding="utf-8")))


def _described(root: Path) -> Path:
    return root.with_name(f"{root.name}.json")


def lacks_room(directory: Path, count: int) -> str:
    """Return why ``count`` sessions do not fit there, or nothing."""
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < count * ROOM_FOR_EACH * 1.2:
        return f"{count:,} sessions need {count * ROOM_FOR_EACH * 1.2 / 1e9:,.1f} GB of disk"
    if status.f_files and status.f_favail < count * 4.5:
        return f"{count:,} sessions need {int(count * 4.5):,} inodes"
    return ""


def dead_owner() -> SessionOwner:
    """Return the owner record of a process that has ended."""
    child = subprocess.run([sys.executable, "-c", _OWNER], capture_output=True, check=True)
    return SessionOwner.model_validate_json(child.stdout)


def session_id_of(number: int) -> str:
    """Return the id of a session of the population."""
    return f"session_20260101_000000_{number:08x}"


def _in_chunks(work: Callable[[int, int], Made], count: int) -> Iterator[tuple[int, Made]]:
    """Call ``work(begin, end)`` for all sessions; yield how many are done, with each answer."""
    chunks = [(begin, min(begin + _CHUNK, count)) for begin in range(0, count, _CHUNK)]
    if len(chunks) < 4:
        for begin, end in chunks:
            yield end, work(begin, end)
        return
    # Spawned: a fork would copy the threads' locks. Ctrl-C ends the parent, which ends them.
    with ProcessPoolExecutor(
        os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        try:
            running = [pool.submit(work, begin, end) for begin, end in chunks]
            for (_, end), one in zip(chunks, running, strict=True):
                yield end, one.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _tell(what: str, done: int, count: int) -> None:
    if done == count or (done // _CHUNK) % 25 == 0:
        say(f"listing, {count:,} sessions: {what} {done:,}")


def _write_some(root: str, stale: int, dead: SessionOwner, begin: int, end: int) -> dict[str, int]:
    """Write the sessions from ``begin`` to ``end``; count those of each status."""
    templates = {status: _template(status, dead) for status in SessionStatus}
    held = b" " + json.dumps({"owner": dead.model_dump()}).encode() + b"\n"
    record = {"owner": dead.model_dump(), "released_at": _BEGIN.isoformat()}
    released = b" " + json.dumps(record).encode() + b"\n"
    statuses: Counter[str] = Counter()
    for number in range(begin, end):
        active = number < stale
        # Knuth's multiplicative hash: spread over the times, and the same in every run.
        moment = _BEGIN + timedelta(seconds=number * 2654435761 % 10_000_000)
        status = SessionStatus.ACTIVE if active else _OTHERS[number % 3]
        checkpoint = f"cp_pause.r2.{number:08x}" if number % 9 in (0, 4, 8) else None
        _write(root, number, templates[status], moment, checkpoint)
        lock = os.path.join(root, "locks", f"{session_id_of(number)}.lock")
        _write_new(lock, held if active else released)
        statuses[str(status)] += 1
    return dict(statuses)


def _template(status: SessionStatus, dead: SessionOwner) -> str:
    """Return a state as JSON, with marks where the sessions differ."""
    active = status is SessionStatus.ACTIVE
    state = SessionState(
        session_id="@ID@",
        status=status,
        goal_id="@GOAL@",
        agent_id="support",
        timestamps=SessionTimestamps(
            started_at="@TIME@",
            updated_at="@TIME@",
            completed_at="@TIME@" if status in _OTHERS[1:] else None,
        ),
        incarnation="@INCARNATION@",
        revision=2,
        checkpoint_enabled=True,
        latest_checkpoint_id="@CHECKPOINT@",
        owner=dead if active else None,
        pid=dead.pid if active else None,
    )
    state.progress.path = ["plan", "fetch", "answer"]
    state.data_buffer["notes"] = "What the agent has found so far: café → Zürich. " * 8
    return state.model_dump_json()


def _write(root: str, number: int, template: str, moment: datetime, checkpoint: str | None) -> None:
    session_id = session_id_of(number)
    text = (
        template.replace("@ID@", session_id)
        .replace("@TIME@", moment.isoformat())
        .replace("@GOAL@", f"goal-{number % 20}")
        .replace("@INCARNATION@", f"{number:016x}")
    )
    if checkpoint:
        text = text.replace("@CHECKPOINT@", checkpoint)
    else:
        text = text.replace('"@CHECKPOINT@"', "null").replace(
            '"checkpoint_enabled":true', '"checkpoint_enabled":false'
        )
    directory = os.path.join(root, "sessions", session_id)
    os.mkdir(directory, 0o700)
    os.mkdir(os.path.join(directory, "checkpoints"), 0o700)
    file = os.path.join(directory, "state.json")
    _write_new(file, text.encode())
    if checkpoint:
        os.link(file, os.path.join(directory, "checkpoints", f"{checkpoint}.json"))


def _write_new(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data)
    os.close(fd)


def _remove_some(root: str, begin: int, end: int) -> None:
    for number in range(begin, end):
        session_id = session_id_of(number)
        _remove_session(os.path.join(root, "sessions", session_id))
        with suppress(OSError):
            os.unlink(os.path.join(root, "locks", f"{session_id}.lock"))


def _remove_session(path: str) -> None:
    try:  # what is known to be there, without looking around
        checkpoints = os.path.join(path, "checkpoints")
        for name in os.listdir(checkpoints):
            os.unlink(os.path.join(checkpoints, name))
        os.rmdir(checkpoints)
        os.unlink(os.path.join(path, "state.json"))
        os.rmdir(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def main(arguments: list[str] | None = None) -> None:
    """Make a population that stays, for ``python -m benchmarks --million-in DIR``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fixtures", description=main.__doc__)
    parser.add_argument("dir", type=Path, help="a directory that is not there yet")
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    given = parser.parse_args(arguments)
    there = populate(given.dir, given.count)
    _described(given.dir).write_text(json.dumps(asdict(there)), encoding="utf-8")
    say("")


if __name__ == "__main__":
    main()
