"""What every test of this project has to leave behind: nothing."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from sessionstore.storage.files.index.database import Database
from tests.support.processes import DEADLINE

NO_SKIPS = "SESSIONSTORE_NO_SKIPS"

_FAILED = pytest.StashKey[bool]()

# A failure prints the blob that repeats it: no database in the checkout. Other work on the same
# machine makes examples slow, which says nothing about the code.
settings.register_profile(
    "ci",
    database=None,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this run a temporary directory of its own: others use the machine's, too."""
    directory = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", str(directory))
        set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
        yield directory


@pytest.fixture(scope="session", autouse=True)
def _children_heed_signals() -> Iterator[None]:
    """Let signals reach children: a shell has what runs in the background ignore SIGINT, nohup
    has it ignore SIGHUP.

    Each would inherit that from us, and none that waits to be interrupted would end.
    """
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    ignored = [number for number in usual if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest, _temporary_directory: Path) -> Iterator[None]:
    """Fail a test that leaves a descriptor, a thread, a child process or a temporary file.

    The children of a test that failed are ended: no other test shall meet them.
    """
    looks: dict[str, Callable[[], set[str]]] = {
        "descriptors": _descriptors,
        "threads": _threads,
        "child processes": _children,
        "temporary files": lambda: set(os.listdir(_temporary_directory)),
    }
    before = {what: look() for what, look in looks.items()}
    yield
    _close_indexes()
    if request.node.stash.get(_FAILED, False):
        _end_children(before["child processes"])
        return
    deadline = time.monotonic() + DEADLINE
    while left := {what: more for what, look in looks.items() if (more := look() - before[what])}:
        if time.monotonic() > deadline:
            _end_children(before["child processes"])
            pytest.fail(f"this test left behind: {left}")
        gc.collect()
        time.sleep(0.01)


def _close_indexes() -> None:
    """Close what a store keeps open once it has listed: pytest refers to fixtures until later."""
    for database in list(_databases):
        database.close()


_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_open_database = Database.__init__


def _remember(database: Database, *arguments: Any) -> None:
    _open_database(database, *arguments)
    _databases.add(database)


Database.__init__ = _remember  # type: ignore[method-assign, assignment]


def _descriptors() -> set[str]:
    """Return the open descriptors with what they refer to; {} where /proc does not tell."""
    found: set[str] = set()
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the one that listed the others
            continue
        found.add(f"{number} → {target}")
    return found


def _threads() -> set[str]:
    return {f"{thread.name} ({thread.ident})" for thread in threading.enumerate()}


def _children() -> set[str]:
    if _kernel_lists_no_child():
        return set()  # psutil would look at every process of the machine, around each test
    found: set[str] = set()
    for child in psutil.Process().children():
        try:
            command = " ".join(child.cmdline())
            if "multiprocessing.resource_tracker" in command:
                continue  # multiprocessing keeps one until its own process ends
            # Not its status, which changes as it lives; a new process with its pid is another one.
            found.add(f"{child.pid} since {child.create_time()}")
        except psutil.NoSuchProcess:
            continue
    return found


def _end_children(others: set[str]) -> None:
    """Kill and reap our children, and theirs, except for ``others``."""
    ended = [
        child
        for child in psutil.Process().children(recursive=True)
        if f"{child.pid} since {child.create_time()}" not in others
    ]
    for child in ended:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(ended, timeout=DEADLINE)


def _kernel_lists_no_child() -> bool:
    """Return whether Linux says that no thread of ours has a child (proc(5))."""
    try:
        return not any(
            Path(f"/proc/self/task/{thread}/children").read_text()
            for thread in os.listdir("/proc/self/task")
        )
    except OSError:  # another system, or a thread that has just ended
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a skipped test as failed where the machine is said to be able to run them all."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(NO_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped, though {NO_SKIPS} is set: {report.longrepr}"
    return report


@pytest.fixture
def two_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each save takes two flushes, whatever the file system of the tests needs."""
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "two")
