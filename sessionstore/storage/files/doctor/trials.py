"""Try what saves and claims need, in a directory of its own that is removed afterwards.

The trials are a flush, an exchange, a hard link, a whole session, a database, and a lock: a second
process must see it, and the kernel must free it when its holder is killed. What a killed trial left
behind is removed after an hour.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from sessionstore import clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import read_regular
from sessionstore.process import identity
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.doctor.session_trial import try_session
from sessionstore.storage.report import Diagnosis, Fitness

OK, WARN, FAIL = Fitness.OK, Fitness.WARN, Fitness.FAIL

_PREFIX = ".doctor-"
_ABANDONED = 3600.0  # seconds
_PATIENCE = 30.0  # seconds for a child that starts on a busy machine
_SKEW = 60.0  # seconds
_FLUSHES = 5


def run(root: str, now: clock.Clock) -> list[Diagnosis]:
    """Return the results of the trials in ``root``."""
    _remove_abandoned(root)
    try:
        with _scratch(root) as path:
            return [
                Diagnosis("writing", OK, "files can be made here"),
                _tried("flush", _flush, path),
                _tried("exchange", _exchange, path),
                _tried("hard links", _link, path),
                _tried("locks", lambda where: _locks(where, now), path),
                _tried("sessions", lambda where: try_session(where, now), path),
                _tried("its clock", _stamps, path),
                _tried("database", _database, path),
            ]
    except OSError as error:
        return [
            Diagnosis(
                "writing",
                FAIL,
                f"nothing can be written here: {error.strerror or error}; the rest was not tried",
                "check owner, mode and mount; reading sessions works all the same",
            )
        ]


@contextmanager
def _scratch(root: str) -> Iterator[str]:
    path = os.path.join(root, _PREFIX + secrets.token_hex(8))
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(root: str) -> None:
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _ABANDONED:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _tried(check: str, trial: Callable[[str], Diagnosis], path: str) -> Diagnosis:
    try:
        return trial(path)
    except OSError as error:
        return Diagnosis(
            check, FAIL, f"the system refused: {error.strerror or error}", "choose another root"
        )


def _flush(path: str) -> Diagnosis:
    took = []
    flushes_directories = True
    with Directory(path) as directory:
        for number in range(_FLUSHES):
            started = time.perf_counter()
            replace.write_file(directory, f"flushed-{number}", b"{}\n", flush_file=True)
            flushes_directories = directory.flush() or os.name != "posix"
            took.append(time.perf_counter() - started)
    typical = sorted(took)[_FLUSHES // 2] * 1000
    if not flushes_directories:
        return Diagnosis(
            "flush",
            WARN,
            f"files are flushed, in {typical:.1f} ms, but directories cannot be: a loss of power"
            " may take the newest names, and so the last saves, checkpoints and sessions",
            "none is needed if only processes die; else choose a local file system",
        )
    return Diagnosis("flush", OK, f"files and directories are flushed, in {typical:.1f} ms")


def _exchange(path: str) -> Diagnosis:
    with Directory(path) as directory:
        for name in ("one", "two"):
            replace.write_file(directory, name, name.encode(), flush_file=False)
        done = replace.exchange(directory, "one", "two")
        with open(os.path.join(path, "one"), "rb") as file:
            swapped = file.read() == b"two"
    if done and swapped:
        return Diagnosis("exchange", OK, "two files are swapped in one step")
    if done:
        return Diagnosis("exchange", FAIL, "a swap did not take place", "choose another root")
    return Diagnosis(
        "exchange",
        WARN,
        "no such call here: a save is a rename, under which a change that other software makes"
        " in the same instant would be lost",
        "let nothing else write to the store",
    )


def _link(path: str) -> Diagnosis:
    with Directory(path) as directory:
        replace.write_file(directory, "first", b"{}", flush_file=False)
        try:
            directory.link("first", directory, "second")
        except OSError as error:
            if error.errno not in replace.NO_LINKS:
                raise
            return Diagnosis(
                "hard links",
                WARN,
                f"there are none here ({error.strerror}): each checkpoint is a copy",
                "none is needed; another file system takes less space and time",
            )
        with suppress(FileNotFoundError):
            if read_regular(directory, "second", 2)[0] == b"{}":
                same = directory.status("first").st_ino == directory.status("second").st_ino
                return _linked(is_same=same)
    return Diagnosis("hard links", FAIL, "a link is another file", "choose another root")


def _linked(*, is_same: bool) -> Diagnosis:
    if is_same:
        return Diagnosis("hard links", OK, "a checkpoint shares the bytes of the state")
    return Diagnosis(
        "hard links",
        WARN,
        "two names of one file have two inode numbers here: sizes count what they share twice",
        "none is needed",
    )


# --- locks ----------------------------------------------------------------------------------------

_CHILD = """
import json, sys
path, sys.path[:] = sys.argv[1], json.loads(sys.argv[2])
from datetime import UTC, datetime
from sessionstore.process import identity
from sessionstore.storage.files import lock
print("held" if lock.probe(path)[0] else "free", flush=True)
sys.stdin.readline()
try:
    mine = lock.acquire(path, identity.new_owner(datetime.now(UTC)), timeout=10)
    print("taken", flush=True)
except lock.Held:
    print("refused", flush=True)
sys.stdin.readline()
"""


def _locks(path: str, now: clock.Clock) -> Diagnosis:
    """Hold a lock while another process looks; let it take the lock, kill it, look again."""
    file = os.path.join(path, "trial.lock")
    mine = locks.acquire(file, identity.new_owner(now()), timeout=0.0)
    try:
        python = _interpreter()
        if python is None:
            return _not_tried("no Python interpreter was found to start a second process")
        child = subprocess.Popen(  # noqa: S603 - this very Python, and a constant
            [python, "-c", _CHILD, file, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            return _judge(file, mine, child)
        finally:
            child.kill()
            child.communicate()
    finally:
        mine.close()


_PYTHON = re.compile(r"(python|pypy|graalpy)w?[0-9.]*[td]*(\.exe)?", re.ASCII | re.IGNORECASE)


def _interpreter() -> str | None:
    """Return the Python that runs this, or None where the program that runs it is another.

    In a frozen program, under uWSGI, and where Python is embedded, ``sys.executable`` may be the
    program itself: it would run, and diagnose, again.
    """
    path = sys.executable or ""
    is_python = _PYTHON.fullmatch(os.path.basename(path)) and os.access(path, os.X_OK)
    return path if is_python and not hasattr(sys, "frozen") else None


def _not_tried(reason: str) -> Diagnosis:
    return Diagnosis(
        "locks",
        WARN,
        f"not tried with a second process: {reason}",
        "try it there from a shell: python -m sessionstore --root <root> doctor",
    )


def _judge(file: str, mine: locks.HeldLock, child: subprocess.Popen[bytes]) -> Diagnosis:
    unsafe = "locks do not work here: choose another root, on a local file system"
    seen = _answer(child)
    if seen is None:
        return _not_tried("it did not answer")
    if seen != "held":
        return Diagnosis("locks", FAIL, "a second process does not see a lock as held", unsafe)
    mine.close()
    if _answer(child, b"take it\n") != "taken":
        return Diagnosis(
            "locks", FAIL, "a second process cannot take a lock that was given back", unsafe
        )
    if not locks.probe(file)[0]:
        return Diagnosis("locks", FAIL, "the lock of another process is not seen as held", unsafe)
    child.kill()
    child.wait()
    if locks.probe(file)[0]:
        return Diagnosis(
            "locks", FAIL, "the lock of a process that was killed was not given back", unsafe
        )
    return Diagnosis("locks", OK, "other processes see them, and a killed one loses them")


def _answer(child: subprocess.Popen[bytes], order: bytes | None = None) -> str | None:
    """Return the next line of the child, or None if it says nothing."""
    from threading import Timer

    assert child.stdin is not None
    assert child.stdout is not None
    overdue = Timer(_PATIENCE, child.kill)  # ends the read below
    overdue.start()
    try:
        if order is not None:
            child.stdin.write(order)
            child.stdin.flush()
        return child.stdout.readline().decode("ascii", "replace").strip() or None
    except OSError:  # it is gone
        return None
    finally:
        overdue.cancel()


# --- others ---------------------------------------------------------------------------------------


def _stamps(path: str) -> Diagnosis:
    """Compare the times that the file system gives to files with the clock."""
    file = os.path.join(path, "stamped")
    with open(file, "wb") as stamped:
        stamped.write(b"now")
    skew = os.stat(file).st_mtime - time.time()
    if abs(skew) <= _SKEW:
        return Diagnosis("its clock", OK, "the file system's times agree with the clock")
    moment = datetime.fromtimestamp(os.stat(file).st_mtime, UTC)
    return Diagnosis(
        "its clock",
        WARN,
        f"the file system's times are {abs(skew):,.0f} s {'ahead' if skew > 0 else 'behind'}"
        f" ({clock.to_text(moment)})",
        "set the clock of the file server",
    )


def _database(path: str) -> Diagnosis:
    without = "listings read every state"
    try:
        from sessionstore.storage.files.index import database
    except ImportError:
        return Diagnosis("database", WARN, "Python was built without SQLite", without)
    try:
        version = database.try_out(path)
    except database.Unusable as error:
        return Diagnosis("database", WARN, str(error), without)
    return Diagnosis("database", OK, f"SQLite {version} works here")
