"""What processes live through in a place: a session's whole life, a death, a race, a reader."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore import SessionState, SessionStore, SessionStoreError
from tests.faults.support import places
from tests.faults.support.identity import Borrower
from tests.faults.support.places import Place
from tests.support.children import describe, messages, say
from tests.support.processes import Child, until
from tools.docs.place_table import Row

WORKS = "works"

DECIDED = "one of two goes on, the other one is refused, at the latest when it saves"
"""How a race ends whose runners do not see each other's locks."""

REFUSALS = {"SessionClaimed", "RevisionConflict", "ClaimLost", "StorageError"}
"""What the loser gets: overlay calls a file stale (ESTALE) that its upper directory replaced."""


PATIENCE = 120.0
"""Seconds after which a reader gives up on a writer that does not come to its end."""


@dataclass(frozen=True)
class Outcome:
    """What a place lets a store do: of each step ``works``, or what it gives instead."""

    life: str = WORKS
    """Create, save, checkpoint, pause, resume, complete, delete."""
    death: str = WORKS
    """Who was killed is swept by another process, and resumed."""
    race: str = WORKS
    """Of two that resume at once one wins, and the other learns who."""
    reading: str = WORKS
    """A reader beside a writer sees whole states, and the lists are what a scan finds."""
    holder: str = "alive, by the lock"
    """What the other process, or the other mount, says of a session that is held."""
    mounts: str = WORKS
    """Of two that resume at once through different mounts one wins."""
    doctor: tuple[str, ...] = ()
    """The checks of ``doctor`` that are not "ok"."""


# --- what runs in the children ------------------------------------------------------------------


class Inhabitant(Borrower):
    """An actor that does everything that a store is for."""

    def live(self, session_id: str) -> dict[str, Any]:
        """Lead a session through its life, and look after every step."""
        store = self.store
        with store.create("goal", session_id=session_id) as session:
            session.state.data_buffer["step"] = 1
            session.save()
            places.drop_caches()
            session.checkpoint("one")
            session.state.data_buffer["step"] = 2
            session.pause()
        assert store.load(session_id).status == "paused"
        with store.resume(session_id) as session:
            assert session.state.data_buffer["step"] == 2
            places.drop_caches()
            session.complete()
        assert store.load(session_id).status == "completed"
        self.agree(store)
        places.drop_caches()
        self.agree(SessionStore(self.root))
        self.store.delete(session_id)
        assert not self.store.exists(session_id)
        return {"text": WORKS}

    def agree(self, store: SessionStore[SessionState]) -> None:
        """Fail unless what is found and counted is what a look into the files finds."""
        statuses = {
            path.parent.name: str(json.loads(path.read_bytes())["status"])
            for path in self.root.glob("sessions/*/state.json")
        }
        found = store.find(limit=None).items
        assert {one.session_id: str(one.status) for one in found} == statuses
        assert store.count() == len(statuses)
        for status in ("active", "paused", "completed"):
            assert store.count(status=status) == list(statuses.values()).count(status)

    def write(self, session_id: str, count: int) -> dict[str, Any]:
        """Save states whose parts all carry one number; complete the session."""
        with self.store.create("goal", session_id=session_id) as session:
            for _ in range(count):
                number = session.revision + 1
                session.state.data_buffer["numbers"] = [number] * (number * 37 % 3000)
                session.save()
                if number % 10 == 0:
                    places.drop_caches()
            session.complete()
        return {"text": WORKS}

    def read(self, session_id: str) -> dict[str, Any]:
        """Read until the session is complete, past the store and through it."""
        last = reads = 0
        path = self.root / "sessions" / session_id / "state.json"
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            try:
                raw = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue  # not made yet; FUSE also hides an open file before it replaces it
            loaded = self.store.load(session_id)
            for found, data in (
                (raw["revision"], raw["data_buffer"]),
                (loaded.revision, loaded.data_buffer),
            ):
                assert found >= last, f"revision {found} after {last}"
                wrong = set(data.get("numbers", ())) - {found, found - 1}
                assert not wrong, f"{wrong} in revision {found}"
                last = found
            reads += 1
            if loaded.status == "completed":
                self.agree(self.store)
                return {"text": WORKS, "reads": reads}
        return {"text": f"not complete after {PATIENCE:.0f} seconds, at revision {last}"}

    def look(self, session_id: str, count: int) -> dict[str, Any]:
        """Judge a session that is held, again and again, in every way that may end it."""
        seen = set[tuple[str, str]]()
        for number in range(count):
            verdict = self.store.liveness(session_id)
            seen.add((str(verdict.verdict), verdict.reason))
            if number % 10 == 0:
                places.drop_caches()
                assert session_id not in self.recover()["swept"]
                try:
                    self.store.resume(session_id)
                except SessionStoreError as error:
                    seen.add(("refused", type(error).__name__))
                else:
                    seen.add(("resumed", ""))
        return {"seen": sorted(seen)}

    def doctor(self) -> dict[str, Any]:
        found = self.store.diagnose()
        return {
            "found": [
                f"{one.check}: {one.fitness}"
                for one in found
                if one.fitness != "ok" and one.check != "free space"
            ]
        }


def inhabit(root: str) -> None:
    """Do as told over stdin; answer on stdout."""
    actor = None
    say(pid=os.getpid())
    for message in messages():
        try:
            if actor is None:
                actor = Inhabitant(root)
            say(**getattr(actor, message.pop("do"))(**message))
        except SessionStoreError as error:
            say(**describe(error))


# --- what the test does -------------------------------------------------------------------------


@contextmanager
def inhabitants(place: Place) -> Iterator[list[Child]]:
    """Start a worker, a second process beside it, and one that looks from elsewhere."""
    with ExitStack() as stack:
        started = []
        for root in (place.root, place.root, place.root, place.other or place.root):
            wrapper = place.wrapper if root == place.other or not place.nobody else ()
            child = Child("faults.support.place_life.inhabit", root, wrapper=wrapper)
            started.append(stack.enter_context(child))
            child.hear()
        yield started


def try_out(place: Place, *, saves: int, looks: int) -> Outcome:
    """Return what the place lets a store do."""
    with inhabitants(place) as (worker, second, third, elsewhere):
        life = text(worker.ask("live", session_id="life"), place)
        if life != WORKS:
            return Outcome(life, "-", "-", "-", "-", "-", doctors(second))
        reading = read_beside(worker, second, saves, place)
        worker.ask("create", session_id="held", checkpoint=True)
        if place.nobody:
            give_to_nobody(place.root)
            elsewhere.ask("become_nobody")
        holder = judged(elsewhere.ask("look", session_id="held", count=looks))
        assert "revision" in worker.ask("save", step=2), "it still holds its session"
        if place.nobody:
            give_to_nobody(place.root)
        kill(worker)
        death = swept(second, place)
        race = raced((second, third), place)
        mounts = raced((second, elsewhere), place) if place.other else WORKS
        return Outcome(life, death, race, reading, holder, mounts, doctors(second))


def text(answer: dict[str, Any], place: Place) -> str:
    """Return what the process answered, without what differs from run to run."""
    if "error" not in answer:
        return str(answer.get("text", WORKS))
    said = str(answer["text"]).replace(str(place.root), "<root>")
    return f"{answer['error']}: {said}"


def kill(worker: Child) -> None:
    """Kill the process that holds a session: the wrapper dies with it."""
    worker.kill()


def read_beside(worker: Child, second: Child, saves: int, place: Place) -> str:
    worker.tell("write", session_id="read", count=saves)
    second.tell("read", session_id="read")
    answers = {text(worker.hear(), place), text(second.hear(), place)}
    return "; ".join(sorted(answers))


def judged(answer: dict[str, Any]) -> str:
    """Return the verdict on who holds a session, and its reason; fail on a false death."""
    assert "seen" in answer, answer
    seen = [tuple(one) for one in answer["seen"]]
    verdicts = {one for one in seen if one[0] in ("alive", "unknown", "dead")}
    assert verdicts, seen
    assert all(verdict != "dead" for verdict, _ in verdicts), seen
    assert {one for one in seen if one not in verdicts} == {("refused", "SessionClaimed")}, seen
    by_lock = all(reason.startswith("held") for _, reason in verdicts)
    (verdict,) = {verdict for verdict, _ in verdicts}
    return f"{verdict}, by {'the lock' if by_lock else 'the process table'}"


def swept(second: Child, place: Place) -> str:
    """Sweep after the death, and resume; by force where nobody can know of the death."""
    report: dict[str, Any] = {}

    def is_seen() -> bool:
        report.update(second.ask("recover"))
        return "held" not in report.get("alive", ())

    until(is_seen, "the end of the holder, whose wrapper was killed", seconds=30)
    if "error" in report:
        return text(report, place)
    found = "swept" if "held" in report["swept"] else "unknown"
    assert "held" in report[found], report
    answer = second.ask("resume", session_id="held")
    if "error" not in answer:
        second.ask("release")
        return WORKS if found == "swept" else f"{found}, resumed"
    forced = second.ask("claim_forced", session_id="held")
    assert "error" not in forced, forced
    return f"{found}, resumed with force ({answer['error']})"


def raced(racers: Sequence[Child], place: Place) -> str:
    """Let two resume at once; both are to save then, if both won."""
    for racer in racers:
        racer.tell("resume", session_id="held")
    answers = [racer.hear() for racer in racers]
    won = [racer for racer, answer in zip(racers, answers, strict=True) if "error" not in answer]
    errors = [answer for answer in answers if "error" in answer]
    saves = [racer.ask("save", **{f"of{number}": True}) for number, racer in enumerate(won)]
    for racer in won:
        racer.ask("release")
    kept = sum("error" not in save for save in saves)
    assert kept <= 1, f"both hold it: {saves}"
    if [one["error"] for one in errors] == ["SessionClaimed"]:
        return WORKS
    if kept == 1 and {one["error"] for one in (*errors, *saves) if "error" in one} <= REFUSALS:
        return DECIDED
    return f"{len(won)} won, {kept} saved: {[text(one, place) for one in (*errors, *saves)]}"


def doctors(process: Child) -> tuple[str, ...]:
    return tuple(process.ask("doctor")["found"])


def give_to_nobody(root: Path) -> None:
    """Make the store one that another user may use."""
    for path in (root, *root.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)


STEPS = {
    "life": "a whole life",
    "reading": "reading beside a writer",
    "death": "sweeping the dead",
    "race": "a race to resume",
}


def row(name: str, found: Outcome) -> Row:
    """Return what is found as a row of the table."""
    said = {step: getattr(found, step) for step in STEPS}
    works = [words for step, words in STEPS.items() if said[step] == WORKS]
    refused = [f"{STEPS[step]}: {words}" for step, words in said.items() if words != WORKS]
    notes = ["the lock proves" if "lock" in found.holder else "the process table decides"]
    if found.mounts != WORKS:
        notes.append(f"two mounts at once: {found.mounts}")
    if found.doctor:
        notes.append(f"`doctor`: {', '.join(found.doctor)}")
    everything = len(works) == len(STEPS)
    return Row(
        name, "all" if everything else ", ".join(works), "; ".join(refused), "; ".join(notes)
    )
