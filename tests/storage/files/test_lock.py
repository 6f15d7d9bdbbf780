"""A refused lock: as our own error, at once where its holder is named, and never as a look."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

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
from sessionstore.storage.files import store_marker
from sessionstore.storage.files.layout import Layout
from tests.support.processes import Child, needs_root, new_session

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
    with pytest.raises(SessionClaimed, match="is held by pid") as refused:
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


# --- a holder whose process cannot be looked at -------------------------------------------------


@needs_root("makes a PID namespace")
def test_a_holder_in_another_pid_namespace_is_refused_at_once(tmp_path: Path) -> None:
    with Child("act", tmp_path, wrapper=NAMESPACE) as inside:
        inside.hear()
        inside.ask("create", session_id="s1")
        store = SessionStore(tmp_path)
        took = []
        for _ in range(5):
            begin = time.monotonic()
            with pytest.raises(SessionClaimed, match="is held by pid 1 "):
                store.claim("s1")
            took.append(time.monotonic() - begin)
            assert store.liveness("s1").is_alive
        assert min(took) < locks.PROBE_GRACE / 2


@pytest.mark.parametrize(
    ("verdict", "longest"),
    [(Verdict.ALIVE, locks.PROBE_GRACE / 2), (Verdict.UNKNOWN, locks.PROBE_GRACE / 2)],
)
def test_a_lock_that_names_its_holder_is_refused_before_a_look_would_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, longest: float
) -> None:
    monkeypatch.setattr(liveness, "look_up", lambda _: verdict)
    path = str(tmp_path / "s1.lock")
    held = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    held.confirm()
    took = []
    for _ in range(5):
        begin = time.monotonic()
        with pytest.raises(locks.Held) as refused:
            locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
        took.append(time.monotonic() - begin)
        assert refused.value.holder is not None
        assert refused.value.holder.token == held.holder.token
        assert locks.probe(path)[0]
    assert min(took) < longest
    held.close()


def test_a_look_at_a_lock_whose_last_holder_is_unknown_is_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is taken for an instant by somebody who looks: it is tried again."""
    monkeypatch.setattr(liveness, "look_up", lambda _: Verdict.UNKNOWN)
    path = str(tmp_path / "s1.lock")
    dead = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    dead.confirm()
    dead.close()  # as when it died: its record says that it holds the lock
    real, looks = locks._try, 0

    def once_busy(path: str, by: SessionOwner) -> tuple[locks.HeldLock | None, object]:
        nonlocal looks
        looks += 1
        if looks == 1:
            return None, locks.Record(dead.holder)
        return real(path, by)

    monkeypatch.setattr(locks, "_try", once_busy)
    lock = locks.acquire(path, identity.new_owner(utc_now()), timeout=0.0)
    lock.close()
    assert looks == 2
