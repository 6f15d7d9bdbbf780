"""What others do instead, each as its own documentation shows it; none of it is tuned."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from importlib import import_module, metadata
from typing import Any, ClassVar

from benchmarks import step_peers
from benchmarks.backends import BareExchange, Contender, Floor
from benchmarks.step_peers import StepKeeper


class SQLiteRow(Contender):
    """A row for each session, replaced."""

    _synchronous: ClassVar[str]

    def open(self) -> None:
        self._db = sqlite3.connect(
            self.directory / "sessions.db", isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={self._synchronous}")
        self._db.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID")
        self.save()

    def save(self) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?)",
            (self.state.session_id, self.state.model_dump_json()),
        )

    def close(self) -> None:
        self._db.close()


class SQLiteRowFull(SQLiteRow):
    name = "SQLite row, FULL"
    durability = "power"
    does = "stdlib sqlite3, WAL, synchronous=FULL: model_dump_json, replace a row, commit"
    _synchronous = "FULL"


class SQLiteRowNormal(SQLiteRow):
    name = "SQLite row, NORMAL"
    durability = "process"
    does = "stdlib sqlite3, WAL, synchronous=NORMAL: model_dump_json, replace a row, commit"
    _synchronous = "NORMAL"


class OriginalWay(Contender):
    """What the framework does whose session files we read."""

    name = "original way (file only)"
    durability = "power"
    does = (
        "model_dump_json(indent=2), temporary file, fsync, rename, in asyncio.to_thread;"
        " the directory is not flushed: a power cut may bring the old state back"
    )

    def open(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._path = os.path.join(self.directory, "state.json")
        self.save()

    def save(self) -> None:
        self._loop.run_until_complete(self.save_async())

    async def save_async(self) -> None:
        """Save from a running event loop."""
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        fd, path = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.write(self.state.model_dump_json(indent=2))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(path, self._path)

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class NaiveJson(Contender):
    """What most projects start with: a reader can see half a file."""

    name = "naive JSON"
    durability = "process"
    does = "json.dump(indent=2) into the file itself: a kill in between leaves half a state"

    def open(self) -> None:
        self._path = os.path.join(self.directory, "state.json")
        self.save()

    def save(self) -> None:
        with open(self._path, "w", encoding="utf-8") as stream:
            json.dump(self.state.model_dump(mode="json"), stream, indent=2)


class LangGraph(Contender):
    name = "langgraph-checkpoint-sqlite"
    durability = "power"
    package = "langgraph-checkpoint-sqlite"
    does = "SqliteSaver.put of a new checkpoint that holds the state; it keeps them all"

    def open(self) -> None:
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.sqlite import SqliteSaver

        self._new_checkpoint = empty_checkpoint
        self._db = sqlite3.connect(self.directory / "checkpoints.db", check_same_thread=False)
        self._saver = SqliteSaver(self._db)
        self._saver.setup()
        self._config: Any = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}
        self.save()

    def save(self) -> None:
        checkpoint = self._new_checkpoint()
        checkpoint["channel_values"] = {"state": self.state.model_dump(mode="json")}
        metadata: Any = {"source": "loop", "step": 1, "parents": {}}
        self._config = self._saver.put(self._config, checkpoint, metadata, {})

    def close(self) -> None:
        self._db.close()


class Strands(Contender):
    name = "strands-agents"
    durability = "process"
    package = "strands-agents"
    does = "FileSessionManager.update_agent with the state as the agent's: read, write, rename"

    def open(self) -> None:
        from strands.session.file_session_manager import FileSessionManager
        from strands.types.session import SessionAgent

        self._manager = FileSessionManager("bench", storage_dir=str(self.directory))
        self._new_agent = SessionAgent
        self._manager.create_agent("bench", self._agent())

    def _agent(self) -> Any:
        state = self.state.model_dump(mode="json")
        return self._new_agent(agent_id="agent", state=state, conversation_manager_state={})

    def save(self) -> None:
        self._manager.update_agent("bench", self._agent())


class DiskCache(Contender):
    name = "diskcache"
    durability = "process"
    package = "diskcache"
    does = "Cache.set of model_dump_json: a row up to 32 KiB, a file beyond; nothing is flushed"

    def open(self) -> None:
        from diskcache import Cache

        # Its limit of 1 GiB would evict: no other store here forgets sessions.
        self._cache = Cache(str(self.directory), eviction_policy="none")
        self.save()

    def save(self) -> None:
        self._cache.set(self.state.session_id, self.state.model_dump_json())

    def close(self) -> None:
        self._cache.close()


class OpenAIAgents(Contender):
    """An append-only log of items: what a step adds is written, never the whole."""

    name = "openai-agents"
    durability = "power"
    package = "openai-agents"
    does = (
        "SQLiteSession.add_items of one item that holds the state; where a session grows, of the"
        " new message only: it appends, and has no state to replace"
    )

    def open(self) -> None:
        from agents.memory import SQLiteSession

        self._loop = asyncio.new_event_loop()
        self._session = SQLiteSession("bench", self.directory / "items.db")
        self.save()

    def _add(self, item: dict[str, Any]) -> None:
        items: Any = [item]
        self._loop.run_until_complete(self._session.add_items(items))

    def save(self) -> None:
        self._add({"role": "user", "content": self.state.model_dump_json()})

    def step(self, message: dict[str, Any]) -> None:
        self._add(message)

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._session.close()


KINDS: tuple[type[Contender], ...] = (
    SQLiteRowFull,
    SQLiteRowNormal,
    OriginalWay,
    NaiveJson,
    LangGraph,
    Strands,
    DiskCache,
    OpenAIAgents,
)
_MODULES = {
    "langgraph-checkpoint-sqlite": "langgraph.checkpoint.sqlite",
    "strands-agents": "strands.session.file_session_manager",
    "diskcache": "diskcache",
    "openai-agents": "agents.memory",
    "dbos": "dbos",
    "pydantic-ai-harness": "pydantic_ai_harness.step_persistence",
    "dura": "dura",
}
_ALL: tuple[type[Contender | StepKeeper], ...] = (*KINDS, *step_peers.KINDS)


def absent() -> dict[str, str]:
    """Return the peers that cannot be imported here, each with the reason."""
    reasons: dict[str, str] = {}
    for kind in _ALL:
        if kind.package:
            try:
                import_module(_MODULES[kind.package])
            except Exception as error:  # a peer may break in ways of its own
                reasons[kind.name] = f"{type(error).__name__}: {error}"
    return reasons


def present(durability: str | None = None) -> list[type[Contender]]:
    """Return the peers that are installed, all or those of one durability."""
    away = absent()
    return [
        kind for kind in KINDS if kind.name not in away and durability in (None, kind.durability)
    ]


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    away = absent()
    return {
        kind.package: metadata.version(kind.package)
        for kind in _ALL
        if kind.package and kind.name not in away
    }


def described() -> list[dict[str, str]]:
    """Return what each contender is, for the report."""
    kinds = (Floor, BareExchange, *_ALL, *step_peers.OWN)
    return [{"name": kind.name, "survives": kind.durability, "does": kind.does} for kind in kinds]
