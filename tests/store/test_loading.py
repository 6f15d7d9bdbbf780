"""What a store can do after it was made needs no import that was not done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.cli import environment
from tests.support.processes import DEADLINE

LATE = """
import pkgutil, sys
from sessionstore import SessionStore
SessionStore(sys.argv[1])
there = set(sys.modules)
from sessionstore import operations, session, storage
for package in (operations, session, storage):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name not in there:
            print(module.name)
"""
USE = """
import builtins, os, sys
import sessionstore
from sessionstore import SessionStore, SessionStoreError
store = SessionStore(sys.argv[1])
real = builtins.__import__
def refuse(name, globals=None, locals=None, fromlist=(), level=0):
    whole = name if not level else (globals or {}).get("__package__", "") + "." + name
    if whole.startswith(("sessionstore", "filelock", "sqlite3")) and whole not in sys.modules:
        raise OSError(24, "Too many open files: " + whole)
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = refuse
with store.create("goal", session_id="s1") as session:
    session.checkpoint("node")
    session.step("plan", int, "7")
    session.pause()
with store.resume("s1") as session:
    session.step("plan", int, "7")
    session.complete()
with store.edit("new", create="goal") as session:
    session.state.data_buffer["x"] = 1
for call in (
    store.find, store.count, store.recover, store.stats, store.check,
    lambda: store.check(repair=True), lambda: store.find(verify=True),
    lambda: list(store.resume_interrupted()),
    lambda: store.create_or_resume("s2", "goal").release(),
):
    call()
for call in (
    store.liveness, store.load, store.explain, store.history, store.checkpoints, store.usage,
    store.raw, store.steps, store.fork, store.delete,
):
    call("s1")
print("done")
"""
WITHOUT = """
import os, resource, sys
from sessionstore import SessionStore, StorageError
from sessionstore.store import store
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    pass
try:
    SessionStore(sys.argv[1])
except StorageError as error:
    os.write(1, type(error.__cause__).__name__.encode())
"""


def output(code: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, root],
        check=True, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    return done.stdout.strip()


def test_no_method_of_a_store_imports_a_module_of_the_package(tmp_path: Path) -> None:
    assert output(USE, tmp_path / "store") == "done"


def test_a_store_of_files_loads_every_module_that_its_methods_may_need(tmp_path: Path) -> None:
    late = output(LATE, tmp_path / "store").split()
    assert late == [
        "sessionstore.storage.memory",
        "sessionstore.storage.memory_importer",
        "sessionstore.storage.memory_session",
        "sessionstore.storage.memory_turn",
    ]


def test_a_store_that_cannot_be_loaded_without_descriptors_says_so(tmp_path: Path) -> None:
    assert output(WITHOUT, tmp_path / "store") == "OSError"
