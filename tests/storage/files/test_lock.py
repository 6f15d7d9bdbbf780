"""A refused lock: as our own error, at once where its holder is named, and never as a look."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from sessionstore import (
    Session,
    SessionClaimed,
    SessionOwner,
    SessionState,
    SessionStore,
    StorageError,
)
from sessionstore.clock import utc_now
from sessionstore.model.liveness import Verdict
from sessionstore.process import identity, liveness
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files import os_lock, store_marker, waiting
from sessionstore.storage.files.layout import Layout
from tests.support.processes import Child, needs_linux, needs_root, new_session, until

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]

Store = SessionStore[SessionState]


# --- locks/ was removed, and another is faster to make it anew ----------------------------------


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], list[Session]]:
    """What removes locks/ and has another store hold ``s1`` once the directory is there again."""

    def remove(store: Store) -> list[Session]:
        store.exists("s1")
        shutil.rmtree(tmp_path / "locks")
        real, held = store_marker.prepare, list[Session]()

        def prepare(layout: Layout, *, foreign: bool) -> None:
            real(layout, foreign=foreign)
            monkeypatch.setattr(store_marker, "prepare", real)
            held.append(SessionStore(tmp_path).claim("s1"))

        monkeypatch.setattr(store_marker, "prepare", prepare)
        return held

    return remove


@pytest.mark.parametrize(
    "attempt",
    [
        lambda store: store.claim("s1"),
        lambda store: store.resume("s1"),
        lambda store: store.delete("s1"),
        lambda store: store.mark("s1", "failed", reason="x"),
        lambda store: store.claim("s1", timeout=0.05),
    ],
    ids=["claim", "resume", "delete", "mark", "wait"],
)
def test_whoever_comes_second_after_locks_were_removed_learns_who_was_first(
    tmp_path: Path,
    removed: Callable[[Store], list[Session]],
    attempt: Callable[[Store], object],
) -> None:
    new_session(tmp_path, "s1")
    store = SessionStore(tmp_path)
    store.claim("s1").release()  # it has made the store, so it looks for locks/ no more
    held = removed(store)
    with pytest.raises(SessionClaimed, match="is held by this process: pid") as refused:
        attempt(store)
    assert refused.value.__cause__ is None
    held[0].release()


def test_a_repair_that_finds_a_lock_held_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path, "s1")
    (tmp_path / "sessions" / "link").symlink_to(tmp_path)
    shutil.rmtree(tmp_path / "locks")

    def held(path: str, by: SessionOwner, *, timeout: float) -> locks.HeldLock:
        raise locks.Held(by)

    with monkeypatch.context() as patch:
        patch.setattr(locks, "acquire", held)
        report = SessionStore(tmp_path).check(repair=True)
    (finding,) = (item for item in report.findings if item.session_id == "link")
    assert "a live process holds its lock" in finding.repair
    assert (tmp_path / "sessions" / "link").is_symlink()


def test_locks_that_became_a_file_are_a_typed_error_everywhere(tmp_path: Path) -> None:
    new_session(tmp_path, "s1")
    store = SessionStore(tmp_path)
    session = store.claim("s1")
    shutil.rmtree(tmp_path / "locks")
    (tmp_path / "locks").write_text("no directory")
    for attempt in (
        session.save,
        session.complete,
        lambda: store.claim("s1"),
        lambda: store.create("goal", session_id="s2"),
        lambda: store.delete("s1"),
    ):
        with pytest.raises((StorageError, SessionClaimed, RuntimeError)):
            attempt()
    session.release()
    assert not store.exists("s2")


# --- who looks, and who holds -------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is waited for a lock: each pause in seconds, in its order."""
    made = list[float]()

    def pause(seconds: float) -> None:
        made.append(seconds)
        time.sleep(seconds)

    # Of this module alone: others wait for other things.
    clock = SimpleNamespace(sleep=pause, monotonic=time.monotonic)
    monkeypatch.setattr(locks, "time", clock)
    monkeypatch.setattr(waiting, "time", clock)
    return made


@needs_root("makes a PID namespace")
def test_a_holder_in_another_pid_namespace_is_refused_without_a_pause(
    tmp_path: Path, pauses: list[float]
) -> None:
    with Child("act", tmp_path, wrapper=NAMESPACE) as inside:
        inside.hear()
        inside.ask("create", session_id="s1")
        store = SessionStore(tmp_path)
        for _ in range(5):
            with pytest.raises(SessionClaimed, match="is held by pid 1 "):
                store.claim("s1")
            assert store.liveness("s1").is_alive
            assert len(store.find(stale=True)) == 0
    assert pauses == []


@pytest.mark.parametrize("verdict", [Verdict.ALIVE, Verdict.UNKNOWN])
def test_a_lock_that_names_its_holder_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float], verdict: Verdict
) -> None:
    """As of a holder of another user whose process is hidden, or one in a container."""
    monkeypatch.setattr(liveness, "look_up", lambda _: verdict)
    path = str(tmp_path / "s1.lock")
    held = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    held.confirm()
    for _ in range(5):
        with pytest.raises(locks.Held) as refused:
            locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
        assert refused.value.holder is not None
        assert refused.value.holder.token == held.holder.token
        assert locks.probe(path)[0]
    assert pauses == []
    held.close()


@needs_linux("locks that are shared")
def test_any_number_of_looks_at_once_see_a_free_lock_as_free(
    tmp_path: Path, pauses: list[float]
) -> None:
    path = str(tmp_path / "s1.lock")
    dead = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    dead.confirm()
    dead.close()  # as when it died: its record says that it holds the lock
    with ExitStack() as looks:
        for _ in range(3):
            file = looks.enter_context(open(path, "rb"))
            assert not os_lock.is_claimed(file.fileno())
            assert not locks.probe(path)[0]
    assert pauses == []


@needs_linux("locks that are shared")
@pytest.mark.parametrize("verdict", Verdict)
def test_a_look_never_refuses_a_claim_whoever_the_lock_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    monkeypatch.setattr(liveness, "look_up", lambda _: verdict)
    path = str(tmp_path / "s1.lock")
    dead = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    dead.confirm()
    dead.close()
    looking = open(path, "rb")  # noqa: SIM115 - closed in the middle of the claim
    assert not os_lock.is_claimed(looking.fileno())

    def pause(seconds: float) -> None:
        looking.close()
        time.sleep(seconds)

    monkeypatch.setattr(waiting, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0).close()
    assert looking.closed


# --- a lock that outlives the process which took it ---------------------------------------------

HOLD = """
import os, signal, subprocess, sys
from sessionstore import SessionStore
session = SessionStore(sys.argv[1]).create("goal", session_id="s1")
session.checkpoint("node")
{hand_on}
print(heir, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
FORK_IN_C = """
import ctypes
heir = ctypes.PyDLL(None).fork()
if heir == 0:
    signal.pause()
"""
PASS_ON = """
fd = session._writer.claim._lock._file.fileno()
sleep = [sys.executable, "-c", "import signal; signal.pause()"]
heir = subprocess.Popen(sleep, pass_fds=[fd], stdout=subprocess.DEVNULL).pid
"""


@needs_linux("a descriptor that is passed on")
@pytest.mark.parametrize("hand_on", [FORK_IN_C, PASS_ON], ids=["fork in C", "passed on"])
def test_a_lock_whose_taker_is_gone_is_named_as_such_and_kept(tmp_path: Path, hand_on: str) -> None:
    code = HOLD.format(hand_on=hand_on)
    took = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "--token", "swordfish"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert took.stdout is not None
    with took:
        heir = int(took.stdout.readline())
    try:
        store = SessionStore(tmp_path)
        seen = store.liveness("s1")
        assert seen.is_alive
        assert seen.is_orphaned
        assert f"pid {took.pid} (" in seen.reason
        assert ", which took it, is gone: " in seen.reason
        assert f"lsof {tmp_path}/locks/s1.lock" in seen.reason
        assert "held by" not in seen.reason
        assert "swordfish" not in seen.reason
        assert [item.reason for item in store.recover().alive] == [seen.reason]
        (listed,) = store.find(status="active").items
        assert listed.liveness == seen
        attempts: list[Callable[[], object]] = [
            lambda: store.claim("s1"),
            lambda: store.resume("s1", force=True),
            lambda: store.delete("s1", force=True),
        ]
        for attempt in attempts:
            with pytest.raises(SessionClaimed, match="is claimed: its lock is held") as refused:
                attempt()
            assert refused.value.is_orphaned
            assert refused.value.owner.pid == took.pid
            assert refused.value.reason.endswith(f"still has it: pid {heir}")
        told = store.explain("s1")
        assert f"still has it: pid {heir}" in told.ended
        assert "only its lock has outlived" in told.summary
        assert told.next[0].text.startswith("end the process that has the lock")
    finally:
        os.kill(heir, signal.SIGKILL)
    until(lambda: store.liveness("s1").is_dead, "the kernel to free the lock")
    assert [item.session_id for item in store.recover().swept] == ["s1"]
