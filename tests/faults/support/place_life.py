"""What processes live through in a place: a session's whole life, a death, a race, a reader."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore import SessionStoreError
from tests.faults.support import places
from tests.faults.support.identity import Borrower
from tests.faults.support.places import Place
from tests.support.children import describe, messages, say
from tests.support.index import assert_true
from tests.support.processes import Child

WORKS = "works"


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
    holder: str = "alive, by its lock"
    """What the other process, or the other mount, says of a session that is held."""
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
        assert_true(store)
        places.drop_caches()
        self.__init__(str(self.root))  # type: ignore[misc]
        assert_true(self.store)
        self.store.delete(session_id)
        assert not self.store.exists(session_id)
        return {"text": WORKS}

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
        while True:
            try:
                raw = json.loads(path.read_bytes())
            except FileNotFoundError:
                assert not last, "the state is gone for an instant"
                continue
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
                assert_true(self.store)
                return {"text": WORKS, "reads": reads}

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
        return {"found": [f"{one.check}: {one.fitness}" for one in found if one.fitness != "ok"]}


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
        for root in (place.root, place.root, place.other or place.root):
            wrapper = place.wrapper if root == place.other or not place.nobody else ()
            child = Child("faults.support.place_life.inhabit", root, wrapper=wrapper)
            started.append(stack.enter_context(child))
            child.hear()
        yield started


def try_out(place: Place, *, saves: int, looks: int) -> Outcome:
    """Return what the place lets a store do."""
    with inhabitants(place) as (worker, second, elsewhere):
        life = text(worker.ask("live", session_id="life"), place)
        if life != WORKS:
            return Outcome(life, "-", "-", "-", "-", doctors(second))
        reading = read_beside(worker, second, saves, place)
        worker.ask("create", session_id="held", checkpoint=True)
        if place.nobody:
            give_to_nobody(place.root)
            elsewhere.ask("become_nobody")
        holder = judged(elsewhere.ask("look", session_id="held", count=looks))
        assert worker.ask("save", step=2)["revision"] == 2, "it still holds its session"
        if place.nobody:
            give_to_nobody(place.root)
        kill(worker)
        death = swept(second, place)
        race = raced(second, elsewhere, place)
        return Outcome(life, death, race, reading, holder, doctors(second))


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
    """Return the verdict on who holds a session, and what it rests on; fail on a false death."""
    seen = [tuple(one) for one in answer["seen"]]
    verdicts = {verdict for verdict, _ in seen if verdict in ("alive", "unknown", "dead")}
    assert "dead" not in verdicts, seen
    assert ("resumed", "") not in seen, seen
    (verdict,) = verdicts
    by_lock = all("lock" in why or "held" in why for what, why in seen if what == verdict)
    return f"{verdict}, by {'its lock' if by_lock else 'the process table'}"


def swept(second: Child, place: Place) -> str:
    """Sweep after the death, and resume."""
    report = second.ask("recover")
    if "error" in report:
        return text(report, place)
    found = "swept" if "held" in report["swept"] else "unknown"
    assert "held" in report[found], report
    answer = second.ask("resume", session_id="held")
    if "error" in answer:
        return f"{found}; {answer['error']}"
    second.ask("release")
    return WORKS if found == "swept" else found


def raced(second: Child, elsewhere: Child, place: Place) -> str:
    second.tell("resume", session_id="held")
    elsewhere.tell("resume", session_id="held")
    answers = [second.hear(), elsewhere.hear()]
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert len(errors) < 2 or "SessionClaimed" not in errors, answers
    return WORKS if errors == ["SessionClaimed"] else f"{2 - len(errors)} won; {errors}"


def doctors(process: Child) -> tuple[str, ...]:
    return tuple(process.ask("doctor")["found"])


def give_to_nobody(root: Path) -> None:
    """Make the store one that another user may use."""
    for path in (root, *root.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
