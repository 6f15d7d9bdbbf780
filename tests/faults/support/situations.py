"""Situations of processes, rather than places: other users, forks in C, no space, no writing."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sessionstore import SessionStore, SessionStoreError
from tests.faults.support.identity import HIDDEN
from tests.faults.support.images import memory, read_only
from tests.faults.support.place_life import WORKS, Inhabitant, give_to_nobody
from tests.faults.support.places import on_gocryptfs
from tests.support.children import serve
from tests.support.processes import Child, until


class Forker(Inhabitant):
    """An actor whose processes are forked as a C program forks: no Python hook runs."""

    session_id = ""

    def use_forked(self, session_id: str) -> dict[str, Any]:
        """Lead a session through its life in a child, while the store is in use here."""
        self.store.find()
        return {"text": WORKS if in_child(lambda: self.live(session_id)) else "the child failed"}

    def use_preloaded(self, session_id: str) -> dict[str, Any]:
        """Do the same in two children of ``os.fork``, as a server that loads before it forks."""
        self.store.find()
        workers = []
        for number in range(2):
            pid = os.fork()
            if pid == 0:
                self.session_id = f"{session_id}-{number}"
                finish(self.work)
            workers.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in workers]
        return {"text": WORKS if codes == [0, 0] else f"the children ended with {codes}"}

    def work(self) -> None:
        """Do what a worker of a server does, beside the others."""
        self.write(self.session_id, 20)
        (found,) = self.store.find(id_prefix=self.session_id).items
        assert found.status == "completed"

    def leave_orphan(self, session_id: str) -> dict[str, Any]:
        """Hold a session, and leave a child behind that lives on with its lock."""
        self.create(session_id, checkpoint=True)
        pid = c_fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        return {"orphan": pid}


def c_fork() -> int:
    return int(ctypes.PyDLL(None).fork())


def in_child(work: Callable[[], object]) -> bool:
    """Return whether ``work`` succeeds in a child that C forked."""
    pid = c_fork()
    if pid == 0:
        finish(work)
    return os.waitpid(pid, 0)[1] == 0


def finish(work: Callable[[], object]) -> None:
    """End the process with what became of ``work``."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def act(root: str) -> None:
    """Do as told over stdin; answer on stdout."""
    serve(Forker(root))


def actor(root: Path, *wrapper: str) -> Child:
    return Child("faults.support.situations.act", root, wrapper=wrapper)


def seen_by_all(root: Path) -> Child:
    """Start an actor that reaches the store where every user may: not below what is root's."""
    script = HIDDEN.replace("-o hidepid=2", "")
    return actor(Path("/mnt"), "unshare", "--mount", "sh", "-c", script, "sh", str(root))


# --- the situations -----------------------------------------------------------------------------


def root_over_a_user() -> str:
    """Let root sweep, and save into, what a user's process left; the user goes on."""
    with memory(size="64m") as path, ExitStack() as stack:
        root = path / "store"
        root.mkdir(0o700)
        give_to_nobody(root)
        user, other, after = (
            stack.enter_context(start(root)) for start in (seen_by_all, actor, seen_by_all)
        )
        for child in (user, other, after):
            child.hear()
        for child in (user, after):
            child.ask("become_nobody")
        user.ask("create", session_id="held", checkpoint=True)
        user.kill()
        assert other.ask("recover")["swept"] == ["held"]
        other.ask("resume", session_id="held")
        other.ask("save", by="root")
        other.ask("release")
        answer = after.ask("resume", session_id="held")
        if "error" in answer:
            return f"{answer['error']}: {answer['text']}".replace("/mnt", "<root>")
        return WORKS if "revision" in after.ask("save", by="user") else "no save"


def forked_in_c() -> str:
    with memory(size="64m") as path, actor(path / "store") as one:
        one.hear()
        return str(one.ask("use_forked", session_id="s1")["text"])


def preloaded() -> str:
    with memory(size="64m") as path, actor(path / "store") as one:
        one.hear()
        return str(one.ask("use_preloaded", session_id="s1")["text"])


def orphaned_lock() -> str:
    """Let a holder die whose child has its lock: it is named, and is no death."""
    with memory(size="64m") as path, actor(path / "store") as one, actor(path / "store") as two:
        one.hear()
        two.hear()
        orphan = one.ask("leave_orphan", session_id="held")["orphan"]
        one.kill()
        try:
            said = two.ask("liveness", session_id="held")
            assert said["verdict"] != "dead", said
            assert "held" not in two.ask("recover")["swept"]
            refused = two.ask("resume", session_id="held")["error"]
        finally:
            os.kill(orphan, signal.SIGKILL)
        until(lambda: two.ask("recover")["swept"] == ["held"], "the death of the last one")
        two.ask("resume", session_id="held")
        named = "gone" in said["reason"]
        return f"{refused} while the child lives, its holder {'named as gone' if named else said}"


def read_only_place() -> str:
    with memory(size="64m") as path:
        with SessionStore(path / "store") as store:
            store.create("goal", session_id="s1").pause()
        with read_only(path), SessionStore(path / "store") as store:
            assert [one.session_id for one in store.find().items] == ["s1"]
            assert store.load("s1").status == "paused"
            return refusal(lambda: store.resume("s1"), path)


def full_place() -> str:
    with memory(size="256k") as path, SessionStore(path / "store") as store:
        with store.create("goal", session_id="s1") as session:
            session.pause()
        filler = path / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        except OSError:
            assert store.load("s1").status == "paused"
        said = refusal(lambda: store.create("goal", input_data={"text": "x" * 9000}), path)
        filler.unlink()
        store.resume("s1").complete()
        return said


def on_gocryptfs_itself() -> str:
    """Ask the doctor where a reader beside a writer may get half a state."""
    with on_gocryptfs() as place, SessionStore(place.root) as store:
        with Child("faults.support.place_life.inhabit", place.root) as alone:
            alone.hear()
            assert alone.ask("live", session_id="life") == {"text": WORKS}
        (found,) = (one for one in store.diagnose() if one.fitness == "fail")
        return f"doctor: {found.check}: {found.detail}; {found.advice}"


def refusal(attempt: Callable[[], object], path: Path) -> str:
    """Return the error with which a store refuses."""
    try:
        attempt()
    except SessionStoreError as error:
        said = str(error).replace(str(path / "store"), "<root>")
        return f"{type(error).__name__}: {re.sub(r'session_[0-9a-f_]+', '<id>', said)}"
    raise AssertionError("nothing was refused")


SITUATIONS: dict[str, Callable[[], str]] = {
    "root over a user's store": root_over_a_user,
    "a child that C forked (uWSGI)": forked_in_c,
    "two children of a store in use (gunicorn --preload)": preloaded,
    "a lock that a child in C inherited": orphaned_lock,
    "mounted read-only": read_only_place,
    "full": full_place,
    "gocryptfs": on_gocryptfs_itself,
}
