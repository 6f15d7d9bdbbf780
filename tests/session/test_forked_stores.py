"""A store is usable in a forked child, whoever forked, also while another thread uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.forking import in_fork
from tests.support.processes import CHECKOUT, DEADLINE, needs_linux


@needs_linux("it forks in C, too")
@pytest.mark.parametrize("how", ["python", "c"])
def test_a_child_uses_the_store_that_threads_of_its_parent_were_using(
    tmp_path: Path, how: str
) -> None:
    code = "import sys; from tests.support.forking import busy; busy(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store"), how],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@needs_linux("it forks in C, too")
@pytest.mark.parametrize("by_python", [True, False], ids=["python", "c"])
def test_a_child_leaves_the_database_connection_of_its_parent_alone(
    tmp_path: Path, by_python: bool
) -> None:
    store = SessionStore(tmp_path / "store")
    store.create("goal").complete()
    assert len(store.find()) == 1
    database = store._backend._own_index._database  # type: ignore[attr-defined]
    inherited = database._connection

    def list_in_child() -> bool:
        return len(store.find()) == 1 and database._connection is not inherited

    assert in_fork(list_in_child, by_python=by_python)
    assert len(store.find()) == 1
    store.close()


@needs_linux("it forks in C, too")
@pytest.mark.parametrize("how", ["python", "c"])
def test_what_a_daemon_creates_after_its_parent_ended_is_listed_by_others(
    tmp_path: Path, how: str
) -> None:
    """SQLite's account of its locks is copied by a fork, and the locks are not."""
    root = str(tmp_path / "store")

    def listed() -> str:
        code = (
            "import sys\nfrom sessionstore import SessionStore\n"
            "with SessionStore(sys.argv[1]) as store:\n"
            "    print(sorted(one.session_id for one in store.find()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, root],
            capture_output=True, text=True, timeout=DEADLINE, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    code = "import sys; from tests.support.forking import daemon; daemon(*sys.argv[1:])"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, root, how],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        assert parent.wait(DEADLINE) == 0
        assert listed() == "['before']"
        for session_id in ("one", "two"):
            parent.stdin.write(f"{session_id}\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == f"created {session_id}\n"
            listed()
        assert listed() == "['before', 'one', 'two']"
        parent.stdin.close()
        assert parent.stdout.read() == ""  # the daemon has ended
