"""A Python that was built without SQLite lists by reading every state, and breaks no index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import environment
from tests.support.processes import CHECKOUT, DEADLINE

BROKEN = """
class Broken:
    def find_spec(self, name, *_):
        if name == "_sqlite3":
            raise ImportError("libsqlite3.so.0: cannot open shared object file", name=name)
sys.meta_path.insert(0, Broken())
"""
WITHOUT = """
import sys
{missing}
from sessionstore import RetentionPolicy, SessionStore
from datetime import timedelta
store = SessionStore(sys.argv[1])
with store.create("goal", session_id="new") as session:
    session.checkpoint("node_complete")
    session.complete()
store.resume("old", again=True).fail("changed without SQLite")
store.delete("gone")
ids = {{one.session_id for one in store.find()}}
assert ids == {{"old", "new"}}, ids
assert store.count() == 2 and [one.session_id for one in store.find(status="failed")] == ["old"]
assert {{one.session_id for one in store.iter_find()}} == ids
assert not store.recover().swept
assert store.stats().sessions == 2
assert not store.prune(RetentionPolicy(older_than=timedelta(days=1)), apply=False).sessions
assert store.check().checked == 2
assert store.history("new") and store.explain("old")
(database,) = [one for one in store.diagnose() if one.check == "database"]
assert database.detail == "Python was built without SQLite", database
"""


@pytest.mark.parametrize(
    "missing",
    ["sys.modules['_sqlite3'] = None", "sys.modules['sqlite3'] = None", BROKEN],
    ids=["_sqlite3", "sqlite3", "a library that does not load"],
)
@pytest.mark.parametrize("has_index", [False, True], ids=["no index", "an index from elsewhere"])
def test_all_that_lists_works_and_an_index_from_elsewhere_stays_true(
    tmp_path: Path, missing: str, has_index: bool
) -> None:
    root = tmp_path / "store"
    store = SessionStore(root)
    for session_id in ("old", "gone"):
        store.create("goal", session_id=session_id).complete()
    if has_index:
        assert len(store.find()) == 2
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(missing=missing), root],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {one.session_id: one.status for one in store.find()} == {
        "old": "failed",
        "new": "completed",
    }
    assert [one.session_id for one in store.find(status="failed")] == ["old"]


def test_the_command_line_lists_without_it(tmp_path: Path) -> None:
    root = tmp_path / "store"
    SessionStore(root).create("goal", session_id="one").complete()
    code = "import sys; sys.modules['_sqlite3'] = None; from sessionstore.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--root", root, "ls", "-o", "ids"],
        capture_output=True, text=True, timeout=DEADLINE, check=True, env=environment(),
    )  # fmt: skip
    assert done.stdout == "one\n"
