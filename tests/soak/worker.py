"""What the processes of a soak do, and how they put on record what the store told them.

Each has a journal of its own outside the store. A line is written before an attempt and after it
returned, by one os.write: what a line says outlives SIGKILL, and is never half there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from sessionstore import (
    NotResumable,
    RevisionConflict,
    Session,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionState,
    SessionStore,
    SessionStoreError,
    SessionTimestamps,
)
from sessionstore.clock import to_text, utc_now

REFUSED = (SessionClaimed, RevisionConflict, SessionNotFound, SessionExists, NotResumable)
"""What an attempt on a session that others want too may meet."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class Journal:
    """The journal of one process, in which only this process writes."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)

    def note(self, event: str, **facts: Any) -> None:
        """Write one line, with the time of CLOCK_MONOTONIC, which all processes share."""
        line = {"e": event, "t": time.monotonic(), "p": os.getpid(), **facts}
        os.write(self._fd, json.dumps(line).encode() + b"\n")


def seal(token: str, filler: str) -> dict[str, Any]:
    """Return data that tells whether it is whole."""
    digest = hashlib.sha256(f"{token}:{filler}".encode()).hexdigest()
    return {"token": token, "filler": filler, "digest": digest}


def broken_seal(data: dict[str, Any]) -> bool:
    """Return whether ``data`` is something else than what :func:`seal` made."""
    try:
        return seal(data["token"], data["filler"]) != data
    except KeyError:
        return True


class Worker:
    """A process of the soak: ``run()`` until SIGTERM, or until the parent is gone."""

    def __init__(self, home: Path, number: int, seed: str, sessions: int) -> None:
        self.ids = [f"soak-{index}" for index in range(sessions)]
        # Opened before the store opens anything, and POSIX locks: when a process dies, the
        # kernel gives these back while it closes descriptors in their order, and the store's
        # lock (flock) later. So a witness that is still held means two owners, never a death.
        self.witnesses = {
            name: os.open(home / "witness" / name, os.O_RDWR | os.O_CREAT, 0o600)
            for name in self.ids
        }
        self.chance = random.Random(seed)
        durability: Literal["power", "process"] = self.chance.choice(["power", "process"])
        self.journal = Journal(home / "journal" / f"{number:06}.jsonl")
        self.root = home / "store"
        self.store = SessionStore(self.root, durability=durability)
        self.stopped = False
        self.parent = os.getppid()
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopped = True

    def run(self) -> None:
        """Go round until told to stop."""
        while not self.stopped and os.getppid() == self.parent:
            self.turn(self.chance.choice(self.ids))

    def turn(self, name: str) -> None:
        """Do one thing with one session."""
        raise NotImplementedError

    def wrong(self, what: str, **facts: Any) -> None:
        """Put a broken promise on record."""
        self.journal.note("wrong", what=what, **facts)


class Writer(Worker):
    """Creates, claims, resumes, saves, keeps checkpoints, ends and deletes."""

    def turn(self, name: str) -> None:
        roll = self.chance.random()
        try:
            if roll < 0.01 and self.store.exists(name):
                self._delete(name)
            elif roll < 0.7:
                self._hold(name, "resume")
            else:
                self._hold(name, "claim")
        except SessionNotFound:
            try:
                self._hold(name, "create")
            except REFUSED:
                return
        except NotResumable:  # it has ended, and a claim does not make it run again
            try:
                self._hold(name, "claim")
            except REFUSED:
                return
        except REFUSED:
            time.sleep(self.chance.random() * 0.003)  # seconds: others work meanwhile

    def _delete(self, name: str) -> None:
        self.journal.note("delete", s=name)
        try:
            self.store.delete(name)
        except REFUSED as error:
            self.journal.note("refused", s=name, why=type(error).__name__)
            return
        self.journal.note("deleted", s=name)

    def _hold(self, name: str, how: str) -> None:
        session = self._take(name, how)
        witness = self.witnesses[name]
        try:
            fcntl.lockf(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.journal.note("double", s=name)
        held = {"s": name, "i": session.state.incarnation}
        self.journal.note(
            "took",
            **held,
            r=session.revision,
            how=how,
            d=session.state.data_buffer.get("digest"),
            status=str(session.state.status),
        )
        if session.state.data_buffer and broken_seal(session.state.data_buffer):
            self.wrong("a state that nobody stored was taken", **held)
        for _ in range(self.chance.randrange(1, 12)):
            if self.stopped:
                break
            self._save(session, held)
            if self.chance.random() < 0.1:
                time.sleep(self.chance.random() * 0.01)  # seconds: a step that takes longer
        self._end(session, held, witness)

    def _take(self, name: str, how: str) -> Session[SessionState]:
        data = seal(self._token(), "first")
        self.journal.note("take", s=name, how=how, d=data["digest"])
        try:
            if how == "create":
                state = SessionState(session_id=name, goal_id="soak", timestamps=_now_twice())
                state.data_buffer = data
                return self.store.create(state=state)
            timeout = self.chance.choice([0.0, 0.0, 0.05])  # seconds
            if how == "claim":
                return self.store.claim(name, timeout=timeout)
            if self.chance.random() < 0.5:
                seen = self.store.load(name).revision
                return self.store.resume(name, expected_revision=seen, timeout=timeout)
            return self.store.resume(name, again=True, timeout=timeout)
        except REFUSED as error:
            self.journal.note("refused", s=name, why=type(error).__name__)
            raise

    def _token(self) -> str:
        return f"{os.getpid()}-{self.chance.getrandbits(64):x}"

    def _edit(self, session: Session[SessionState]) -> str:
        length = self.chance.randrange(1 << self.chance.randrange(2, 14))
        session.state.data_buffer = seal(self._token(), "x" * length)
        return str(session.state.data_buffer["digest"])

    def _save(self, session: Session[SessionState], held: dict[str, Any]) -> None:
        digest = self._edit(session)
        wanted = session.revision + 1
        self.journal.note("want", **held, r=wanted, d=digest)
        kept = None
        if self.chance.random() < 0.15:
            kept = session.checkpoint("step", node="soak").checkpoint_id
        else:
            session.save()
        self.journal.note("ack", **held, r=session.revision, d=digest, k=kept)
        if session.revision != wanted:
            self.wrong(f"revision {session.revision} instead of {wanted}", **held)

    def _end(self, session: Session[SessionState], held: dict[str, Any], witness: int) -> None:
        digest = self._edit(session)
        # The last write is made under the claim, too, but only the revisions can tell so: once
        # the claim is given back, the next holder may be there before we are.
        ends = ("pause", "complete", "fail", "cancel", "release", "stop")
        how = self.chance.choices(ends, [6, 1, 1, 1, 1, 1])[0]
        writes = how not in ("release", "stop") or session.state.status == "active"
        self.journal.note("leave", **held, how=how)
        if writes:
            self.journal.note("want", **held, r=session.revision + 1, d=digest)
        fcntl.lockf(witness, fcntl.LOCK_UN)
        kept = None
        if how == "pause":
            kept = session.pause(node="soak").checkpoint_id
        elif how == "complete":
            session.complete()
        elif how == "fail":
            session.fail("on purpose")
        elif how == "cancel":
            session.cancel("on purpose")
        elif how == "stop":
            with suppress(SystemExit), session:
                raise SystemExit("on purpose")
        else:
            session.release()
        if writes:
            self.journal.note("ack", **held, r=session.revision, d=digest, k=kept)


class Sweeper(Worker):
    """Sweeps for ever, as the start-up of every orchestrator does once."""

    def turn(self, name: str) -> None:
        self.journal.note("sweep")
        mark_as: Any = self.chance.choice(["failed", "failed", "paused"])
        report = self.store.recover(mark_as=mark_as)
        for item in report.swept:
            holder = item.liveness.owner if item.liveness else None
            self.journal.note(
                "swept", s=item.session_id, pid=holder.pid if holder else None, why=item.reason
            )
        for item in (*report.damaged, *report.failed, *report.unknown):
            self.wrong(f"the sweep could not judge it: {item.reason}", s=item.session_id)
        self.journal.note("sweep-done", swept=len(report.swept), alive=len(report.alive))
        time.sleep(self.chance.random() * 0.03)  # seconds


class Reader(Worker):
    """Reads without a lock, and never sees a torn state, nor an older one after a newer one."""

    def __init__(self, home: Path, number: int, seed: str, sessions: int) -> None:
        super().__init__(home, number, seed, sessions)
        self.last: dict[str, tuple[str | None, int]] = {}
        self.past: dict[str, set[str | None]] = {}
        self.reads = 0

    def turn(self, name: str) -> None:
        began = time.monotonic()
        try:
            if self.reads % 50 == 7:
                self._list()
            state = self.store.load(name)
        except SessionNotFound:
            return
        except SessionCorrupt as error:
            self.wrong(f"a reader met damage: {error}", s=name)
            return
        self.reads += 1
        if self.reads % 20 == 0:
            self.journal.note("read", s=name, i=state.incarnation, r=state.revision, began=began)
        if broken_seal(state.data_buffer):
            self.wrong("a reader saw a mix", s=name, i=state.incarnation, r=state.revision)
        incarnation, revision = self.last.get(name, (None, 0))
        past = self.past.setdefault(name, set())
        if incarnation == state.incarnation:
            if state.revision < revision:
                self.wrong(f"a reader saw {state.revision} after {revision}", s=name)
        elif state.incarnation in past:
            self.wrong("a reader saw a deleted session again", s=name, i=state.incarnation)
        past.add(state.incarnation)
        self.last[name] = (state.incarnation, state.revision)

    def _list(self) -> None:
        for item in self.store.find(limit=None).items:
            if item.damaged is not None:
                self.wrong(f"a listing met damage: {item.damaged}", s=item.session_id)


def _now_twice() -> SessionTimestamps:
    now = to_text(utc_now())
    return SessionTimestamps(started_at=now, updated_at=now)


ROLES = {"writer": Writer, "sweeper": Sweeper, "reader": Reader}


def main(home: str, role: str, number: str, seed: str, sessions: str) -> int:
    """Run one worker; what it did not expect goes into its journal."""
    if sys.platform == "linux":
        import ctypes

        # A worker that is stopped cannot see that its parent is gone.
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    worker = ROLES[role](Path(home), int(number), seed, int(sessions))
    worker.journal.note("start", role=role)
    try:
        worker.run()
    except SessionStoreError as error:
        worker.wrong(f"{type(error).__name__}: {error}", trace=traceback.format_exc()[-2000:])
        return 1
    except Exception as error:
        worker.wrong(f"{type(error).__name__}: {error}", trace=traceback.format_exc()[-2000:])
        return 1
    worker.journal.note("end")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
