"""Keepers of steps: ours, and what others do instead, each as its own documentation shows it."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.backends import OURS, Durability, make_record
from sessionstore import SessionStore
from sessionstore.model import step as steps

_FULL = "synchronous=FULL, which is SQLite's default"


class StepKeeper(ABC):
    """Keeps results of 1 KiB in a directory of its own, one with each step."""

    name: ClassVar[str]
    durability: ClassVar[Durability]
    """What a step that returned survives: a loss of power, or the death of the process."""
    does: ClassVar[str]
    """What a step is, in a line."""
    package: ClassVar[str] = ""
    """The distribution that it comes from; none for ours."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.result = make_record(random.Random(1))
        self._numbers = itertools.count()
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Make ready for the first step."""

    @abstractmethod
    def step(self) -> object:
        """Keep one more result."""

    def within(self, measure: Callable[[], None]) -> None:
        """Call ``measure``, which calls :meth:`step`."""
        measure()

    def close(self) -> None:
        """Let go of everything."""
        return

    def next_name(self) -> str:
        """Return a name that no step had before."""
        return f"step-{next(self._numbers)}"

    def call(self) -> dict[str, Any]:
        """Return at once, as the function of each step does."""
        return self.result


class SessionSteps(StepKeeper):
    name = f"{OURS}, step"
    durability = "power"
    does = "session.step: a record of the start, the call, a record of the result, a flush"

    def open(self) -> None:
        self._store = SessionStore(self.directory / "store", durability=self.durability)
        self._session = self._store.create("bench", session_id="bench")
        self._journal = self._session.journal()

    def step(self) -> object:
        return self._session.step(self.next_name(), self.call)

    def close(self) -> None:
        self._session.release()
        self._store.close()


class SameRecords(SessionSteps):
    """One append of the two records that a step writes."""

    name = f"{OURS}, append"
    does = "journal.append of the same two records, at once, and a flush"

    def open(self) -> None:
        super().open()
        by = self._session.owner
        start = steps.started("step-100", 0, None, pid=by.pid, host=by.host, at_most_once=False)
        self._records = [start, {"step": "step-100", "from": 0, "result": self.result}]

    def step(self) -> object:
        return self._journal.append(*self._records)


class SessionStepsProcess(SessionSteps):
    durability = "process"
    does = "session.step, and nothing is flushed"


class SameRecordsProcess(SameRecords):
    durability = "process"
    does = "journal.append of the same two records, at once, and nothing is flushed"


class TwoAppendsProcess(SameRecordsProcess):
    """As many appends as a step needs: somebody may look while it runs."""

    name = f"{OURS}, two appends"
    does = "journal.append of the same two records, one after the other; nothing is flushed"

    def step(self) -> object:
        self._journal.append(self._records[0])
        return self._journal.append(self._records[1])


class DBOSSteps(StepKeeper):
    name = "DBOS, step"
    durability = "power"
    package = "dbos"
    does = f"DBOS.run_step within a workflow; SQLite with a rollback journal, {_FULL}"

    def open(self) -> None:
        from dbos import DBOS

        self._dbos = DBOS
        self._measure: Callable[[], None] = lambda: None
        url = f"sqlite:///{self.directory / 'dbos.db'}"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})

        @DBOS.workflow(name="bench")
        def workflow() -> None:
            self._measure()

        self._workflow = workflow
        DBOS.launch()

    def within(self, measure: Callable[[], None]) -> None:
        self._measure = measure
        self._workflow()

    def step(self) -> object:
        return self._dbos.run_step({"name": self.next_name()}, self.call)

    def close(self) -> None:
        self._dbos.destroy(destroy_registry=True)


class HarnessSqlite(StepKeeper):
    name = "pydantic-ai-harness, SqliteStepStore"
    durability = "power"
    package = "pydantic-ai-harness"
    does = f"append_event with the result as metadata; a new connection each time, WAL, {_FULL}"

    def open(self) -> None:
        from pydantic_ai_harness.step_persistence import StepEvent

        self._event = StepEvent
        self._loop = asyncio.new_event_loop()
        self._steps = self.make_store()

    def make_store(self) -> Any:
        """Return the store of this directory."""
        from pydantic_ai_harness.step_persistence import SqliteStepStore

        return SqliteStepStore(database=self.directory / "steps.db")

    def step(self) -> object:
        event = self._event(
            run_id="bench",
            kind="tool_call_completed",
            step_index=next(self._numbers),
            metadata={"result": json.dumps(self.call())},
        )
        return self._loop.run_until_complete(self._steps.append_event(event))

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class HarnessFile(HarnessSqlite):
    name = "pydantic-ai-harness, FileStepStore"
    durability = "process"
    does = "append_event with the result as metadata: a line of JSON; nothing is flushed"

    def make_store(self) -> Any:
        from pydantic_ai_harness.step_persistence import FileStepStore

        return FileStepStore(self.directory)


class Dura(StepKeeper):
    name = "dura, checkpoint"
    durability = "power"
    package = "dura"
    does = f"DurableEngine.checkpoint of a task; SQLite with WAL, {_FULL}"

    def open(self) -> None:
        from dura import DurableEngine

        self._engine = DurableEngine(self.directory / "dura.db")
        self._task = self._engine.spawn_task(name="bench", params={}).task_id

    def step(self) -> object:
        name = self.next_name()
        return self._engine.checkpoint(task_id=self._task, step_name=name, fn=self.call)

    def close(self) -> None:
        self._engine.close()


OWN: tuple[type[StepKeeper], ...] = (
    SessionSteps,
    SameRecords,
    SessionStepsProcess,
    SameRecordsProcess,
    TwoAppendsProcess,
)
KINDS: tuple[type[StepKeeper], ...] = (DBOSSteps, HarnessSqlite, HarnessFile, Dura)
