"""Real processes that use one store at once, what each was told, and the rules for all of it."""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sessionstore import (
    NotResumable,
    RevisionConflict,
    Session,
    SessionClaimed,
    SessionExists,
    SessionNotFound,
    SessionState,
    SessionStore,
)
from sessionstore.store.loading import load_all

SESSIONS = ("s0", "s1", "s2")
PR_SET_PDEATHSIG = 1  # sys/prctl.h
ERA = 1_000_000
"""A foreign writer's n-th state has revision ``n * ERA``: a revision tells what it stands on."""

Event = dict[str, Any]


class Journal:
    """What one process was told, in a file that survives its SIGKILL."""

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, f"{os.getpid()}.{time.monotonic_ns()}.jsonl")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, event: str, session_id: str = "", **facts: Any) -> int:
        """Write one event; return its time on the clock that all processes share."""
        now = time.monotonic_ns()
        line = {"event": event, "sid": session_id, "t": now, "pid": os.getpid(), **facts}
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        return now

    def close(self) -> None:
        os.close(self._fd)


def read_journals(directory: Path) -> list[list[Event]]:
    """Return the events of each process, half a last line left out."""
    return [
        [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
        for file in sorted(directory.iterdir())
    ]


# --- the processes ------------------------------------------------------------------------------

EXPECTED = {
    "claim": (SessionClaimed, SessionNotFound, RevisionConflict),
    "resume": (SessionClaimed, SessionNotFound, NotResumable, RevisionConflict),
    "create": (SessionExists, SessionClaimed),
    "create_or_resume": (SessionClaimed, NotResumable, RevisionConflict),
    "start_up": (),
    "delete": (SessionClaimed, SessionNotFound),
    "recover": (),
    "find": (),
    "liveness": (SessionNotFound,),
    "load": (SessionNotFound,),
    "save": (),
}
"""What each operation may raise when many use the store and nobody cheats."""


class Worker:
    """One process that does everything at random."""

    def __init__(self, root: str, journals: str, seed: int, until: float) -> None:
        self.store = SessionStore(root, durability="process", keep_checkpoints=3)
        self.journal = Journal(journals)
        self.chance = random.Random(seed)
        self.until = until

    def run(self) -> None:
        operations = {
            self.claim: 25, self.resume: 20, self.create: 12, self.create_or_resume: 10,
            self.start_up: 6, self.delete: 8, self.recover: 20, self.find: 4, self.liveness: 8,
        }  # fmt: skip
        names, weights = list(operations), list(operations.values())
        while time.monotonic() < self.until:
            operation = self.chance.choices(names, weights)[0]
            name = operation.__name__
            session_id = self.chance.choice(SESSIONS)
            self.journal.write("trying", session_id, what=name)
            try:
                operation(session_id)
            except EXPECTED[name] as error:
                self.journal.write("refused", session_id, what=name, error=type(error).__name__)
            except Exception as error:
                self.journal.write("unexpected", session_id, what=name, error=repr(error))
        self.journal.write("done")

    def claim(self, session_id: str) -> None:
        wait = self.chance.choice((0.0, 0.0, 0.05))
        self.hold(self.store.claim(session_id, timeout=wait), "claimed")

    def resume(self, session_id: str) -> None:
        """Resume what was seen at one revision, or whatever is there."""
        seen = self.store.load(session_id) if self.chance.random() < 0.5 else None
        session = self.store.resume(
            session_id, again=True, expected_revision=seen.revision if seen else None
        )
        saw = [seen.incarnation, seen.revision] if seen else None
        self.hold(session, "resumed", saw=saw)

    def create(self, session_id: str) -> None:
        session = self.store.create("goal", session_id=session_id)
        self.hold(session, "created")

    def create_or_resume(self, session_id: str) -> None:
        session = self.store.create_or_resume(session_id, "goal", max_recoveries=1_000_000)
        self.hold(session, "resumed" if session.is_resumed else "created")

    def start_up(self, session_id: str) -> None:
        """Go on with whatever was interrupted, after the sweep of somebody else."""
        loop = self.store.resume_interrupted(
            max_recoveries=1_000_000, max_stops=1_000_000, sweep=False
        )
        for session in loop:
            self.hold(session, "resumed")
            self.journal.write("trying", session_id, what="start_up")
        for item in loop.skipped:
            if not item.is_taken:
                self.journal.write(
                    "unexpected", item.session_id, what="start_up", error=item.reason
                )

    def delete(self, session_id: str) -> None:
        self.store.delete(session_id)
        self.journal.write("deleted", session_id)

    def recover(self, _: str) -> None:
        report = self.store.recover()
        swept = [item.session_id for item in report.swept]
        self.journal.write("swept", swept=swept)
        for item in (*report.damaged, *report.unknown, *report.failed):
            self.journal.write("unexpected", item.session_id, what="recover", error=item.reason)

    def find(self, _: str) -> None:
        for item in self.store.find(limit=None):
            if item.damaged is not None:
                self.journal.write("unexpected", item.session_id, what="find", error=item.damaged)
        self.journal.write("found")

    def liveness(self, session_id: str) -> None:
        verdict = self.store.liveness(session_id)
        self.journal.write("judged", session_id, verdict=str(verdict.verdict))

    def hold(self, session: Session[SessionState], how: str, **facts: Any) -> None:
        session_id = session.session_id
        held = self.journal.write(
            "held",
            session_id,
            how=how,
            inc=session.state.incarnation,
            rev=session.revision,
            status=str(session.state.status),
            **facts,
        )
        try:
            self.work(session)
        except Exception as error:
            self.journal.write("unexpected", session_id, what="save", error=repr(error))
            session._writer.free()
        self.journal.write("freed", session_id, held=held)

    def work(self, session: Session[SessionState]) -> None:
        for _ in range(self.chance.randrange(5)):
            session.state.data_buffer["pid"] = os.getpid()
            keep = self.chance.random() < 0.4
            self.saving(session, session.checkpoint if keep else session.save)
            if self.chance.random() < 0.02:
                os.kill(os.getpid(), signal.SIGKILL)
        if session.state.status != "active":
            self.journal.write("letting go", session.session_id)
            session.release()
            return
        ends = (
            session.pause, session.complete, lambda: session.fail("no"), session.cancel,
            session.release, lambda: session.__exit__(SystemExit, SystemExit(1), None),
        )  # fmt: skip
        self.saving(session, self.chance.choice(ends), ends=True)

    def saving(self, session: Session[SessionState], save: Any, *, ends: bool = False) -> None:
        facts = {"inc": session.state.incarnation, "rev": session.revision + 1}
        began = self.journal.write("letting go" if ends else "saving", session.session_id, **facts)
        save()
        self.journal.write(
            "saved", session.session_id, began=began, inc=facts["inc"], rev=session.revision
        )


def work(root: str, journals: str, seed: str, seconds: str, life: str) -> None:
    """Let one worker after the other live, each for about ``life`` seconds at most, then kill it.

    They are forked: to start an interpreter takes longer than such a life. 0 kills none, but a
    worker may kill itself.
    """
    load_all()  # once here, not late in every child: that takes a third of its life
    chance = random.Random(int(seed))
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            try:
                Worker(root, journals, chance.randrange(1 << 30), until).run()
            finally:
                os._exit(0)
        chance.randrange(1 << 30)  # the child's seed: the next one gets another
        if float(life):
            time.sleep(chance.uniform(0.0, 2 * float(life)))
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def read_on(root: str, journals: str, seed: str, seconds: str) -> None:
    """Read without a lock all the time; write down each look."""
    store, journal, chance = SessionStore(root), Journal(journals), random.Random(int(seed))
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        time.sleep(0.0005)  # leaves the processors to those who write
        began = time.monotonic_ns()
        try:
            state = store.load(session_id)
        except SessionNotFound:
            continue
        except Exception as error:
            journal.write("unexpected", session_id, what="load", error=repr(error))
            continue
        journal.write("read", session_id, began=began, inc=state.incarnation, rev=state.revision)
    journal.write("done")


# --- the rules ----------------------------------------------------------------------------------


@dataclass
class History:
    """All journals together."""

    journals: list[list[Event]]

    def all(self, event: str) -> list[Event]:
        return [item for journal in self.journals for item in journal if item["event"] == event]

    def unexpected(self) -> list[str]:
        return [f"{item['what']} {item['sid']}: {item['error']}" for item in self.all("unexpected")]

    def double_holders(self) -> list[str]:
        """Rule: no two processes hold one session at overlapping times.

        A hold is certain from the return of the claim until the call that ends it, or until the
        last thing that a process wrote before it was killed.
        """
        spans = defaultdict[str, list[tuple[int, int, int]]](list)
        for journal in self.journals:
            begun: Event | None = None
            for item in journal:
                if item["event"] == "held":
                    begun = item
                elif item["event"] in ("letting go", "freed") and begun is not None:
                    spans[begun["sid"]].append((begun["t"], item["t"], item["pid"]))
                    begun = None
            if begun is not None:
                spans[begun["sid"]].append((begun["t"], journal[-1]["t"], begun["pid"]))
        wrong = list[str]()
        for session_id, held in spans.items():
            held.sort()
            for (_, end, one), (start, _, other) in pairwise(held):
                if start < end:
                    wrong.append(f"{session_id}: pid {one} and pid {other} at once")
        return wrong

    def twice_acknowledged(self) -> list[str]:
        """Rule: a revision of an incarnation is acknowledged once."""
        seen = dict[tuple[str, str, int], int]()
        wrong = list[str]()
        for item in self.written():
            key = (item["sid"], item["inc"], item["rev"])
            if key in seen and seen[key] != item["t"]:
                wrong.append(f"{key} to pid {item['pid']} and another")
            seen[key] = item["t"]
        return wrong

    def written(self) -> list[Event]:
        """Return every acknowledged write, whose revision is known."""
        # A claim writes if it finds the session ACTIVE: it records that its process died.
        first = [
            item
            for item in self.all("held")
            if item["how"] in ("created", "resumed") or item.get("status") == "active"
        ]
        return self.all("saved") + first

    def gaps(self) -> list[str]:
        """Rule: every revision up to the newest was written by somebody.

        A sweep reports which sessions it marked, each with one write, and a process that was
        killed may have had one write under way.
        """
        known = defaultdict[tuple[str, str], set[int]](set)
        highest = defaultdict[tuple[str, str], int](int)
        for item in self.written():
            known[item["sid"], item["inc"]].add(item["rev"])
        for event in ("saved", "held", "read"):
            for item in self.all(event):
                key = (item["sid"], item["inc"])
                highest[key] = max(highest[key], item["rev"])
        excused = defaultdict[str, int](int)
        for item in self.all("swept"):
            for session_id in item["swept"]:
                excused[session_id] += 1
        for journal in self.journals:
            last = journal[-1] if journal else None
            if last is not None and last["event"] in ("trying", "saving", "letting go"):
                anywhere = last.get("what") in ("recover", "start_up")
                named = SESSIONS if anywhere else (last["sid"],)
                for session_id in named:
                    excused[session_id] += 1
        missing = defaultdict[str, list[tuple[str, int]]](list)
        for (session_id, incarnation), top in highest.items():
            for revision in range(1, top + 1):
                if revision not in known[session_id, incarnation]:
                    missing[session_id].append((incarnation, revision))
        return [
            f"{session_id}: {absent} are nobody's, {excused[session_id]} excused"
            for session_id, absent in missing.items()
            if len(absent) > excused[session_id]
        ]

    def going_back(self) -> list[str]:
        """Rule: no reader sees an older state after a newer one, nor after an acknowledgement."""
        wrong = list[str]()
        for journal in self.journals:
            last = dict[str, Event]()
            left = defaultdict[str, set[str]](set)
            for item in journal:
                if item["event"] != "read":
                    continue
                before = last.get(item["sid"])
                if before is not None and before["inc"] == item["inc"]:
                    if item["rev"] < before["rev"]:
                        wrong.append(f"{item['sid']}: {item['rev']} after {before['rev']}")
                elif before is not None:
                    left[item["sid"]].add(before["inc"])
                if item["inc"] in left[item["sid"]]:
                    wrong.append(f"{item['sid']}: a deleted session came back")
                last[item["sid"]] = item
        return wrong + self._behind_acknowledged()

    def _behind_acknowledged(self) -> list[str]:
        moments = defaultdict[tuple[str, str], list[tuple[int, int, int]]](list)
        for item in self.written():
            moments[item["sid"], item["inc"]].append((item["t"], 0, item["rev"]))
        for item in self.all("read"):
            moments[item["sid"], item["inc"]].append((item["began"], 1, item["rev"]))
        wrong = list[str]()
        for (session_id, _), found in moments.items():
            acknowledged = 0
            for _, is_read, revision in sorted(found):
                if not is_read:
                    acknowledged = max(acknowledged, revision)
                elif revision < acknowledged:
                    wrong.append(f"{session_id}: read {revision}, {acknowledged} was acknowledged")
        return wrong

    def two_winners(self) -> list[str]:
        """Rule: of all who resume what they saw at one revision, one wins."""
        seen = set[tuple[str, str, int]]()
        wrong = list[str]()
        for item in self.all("held"):
            if item.get("saw"):
                key = (item["sid"], *item["saw"])
                if key in seen and item["inc"] == item["saw"][0]:
                    wrong.append(f"{key} was won twice")
                seen.add(key)
        return wrong

    def written_over(self) -> list[str]:
        """Rule: a save that began after a foreign state was in place stands on that state."""
        eras = defaultdict[str, list[Event]](list)
        for item in self.all("foreign"):
            eras[item["sid"]].append(item)
        wrong = list[str]()
        for item in self.all("saved"):
            standing_on = item["rev"] // ERA
            for foreign in eras[item["sid"]]:
                if foreign["era"] > standing_on and foreign["t"] < item["began"]:
                    wrong.append(
                        f"{item['sid']}: {item['rev']} was saved over foreign {foreign['era']}"
                    )
                    break
        return wrong


def problems(history: History, rules: Iterable[str]) -> dict[str, list[str]]:
    """Return what each rule that was broken has to say."""
    found = {rule: getattr(history, rule)() for rule in rules}
    return {rule: wrong[:5] for rule, wrong in found.items() if wrong}
