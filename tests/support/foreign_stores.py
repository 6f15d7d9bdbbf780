"""Stores of the original framework: one that is made here, and a recorded one where it is at hand.

The made store holds every kind of session that the format's page describes, damaged ones included.
It is written without the package. ``../shared/data/hive_home`` is used in addition if it exists.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import GONE
from tests.support.processes import CHECKOUT

RECORDED = CHECKOUT.parent / "shared" / "data" / "hive_home"


@dataclass(frozen=True)
class ForeignStore:
    """A store of the original framework, and what is known about its sessions."""

    name: str
    write: Callable[[Path], object]
    sound: frozenset[str]
    damaged: frozenset[str]
    doubled: frozenset[str]
    """The computed keys stand twice in these states."""
    old_shape: frozenset[str]
    """These states have the key ``memory``."""
    left_behind: frozenset[str]
    """ACTIVE, and the process of the recorded pid is gone."""
    without_pid: frozenset[str]
    """ACTIVE, and no process is recorded."""
    alive: frozenset[str] = frozenset()
    """ACTIVE, and a process with the recorded pid runs."""
    torn_checkpoints: frozenset[str] = frozenset()
    """The state is sound, but its latest checkpoint is torn."""

    def copy_to(self, root: Path) -> Path:
        """Write the store into the new directory ``root`` with private modes; return ``root``."""
        self.write(root)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
        return root


# --- sessions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Session:
    """What lies in one session directory, and what kind of session that is."""

    session_id: str
    state: bytes | None
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset({"sound"})

    def write(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        if self.state is not None:
            (directory / "state.json").write_bytes(self.state)
        if self.checkpoints:
            (directory / "checkpoints").mkdir()
        for name, text in self.checkpoints.items():
            (directory / "checkpoints" / name).write_text(text, encoding="utf-8")


def _state(session_id: str, status: str = "completed", **changes: Any) -> dict[str, Any]:
    """Return a state with every field that the original writes, in its order."""
    ended = status in ("completed", "failed", "cancelled")
    state: dict[str, Any] = {
        "schema_version": "1.1",
        "session_id": session_id,
        "stream_id": "",
        "correlation_id": "",
        "status": status,
        "goal_id": "sort-mail",
        "agent_id": "",
        "entry_point": "start",
        "timestamps": {
            "started_at": "2025-06-03T08:15:00.250000",
            "updated_at": "2025-06-03T08:15:02.750001",
            "completed_at": "2025-06-03T08:15:02.750000" if ended else None,
            "paused_at_time": None,
        },
        "progress": {
            "current_node": None,
            "paused_at": None,
            "resume_from": None,
            "steps_executed": 0,
            "total_tokens": 0,
            "total_latency_ms": 0,
            "path": [],
            "total_retries": 0,
            "nodes_with_failures": [],
            "retry_details": {},
            "had_partial_failures": False,
            "execution_quality": "clean",
            "node_visit_counts": {},
        },
        "result": {
            "success": status == "completed" if ended else None,
            "error": None,
            "output": {},
        },
        "data_buffer": {},
        "metrics": {
            "decision_count": 0,
            "problem_count": 0,
            "total_input_tokens": 0,
            "total_output_tokens": 0,
            "nodes_executed": [],
            "edges_traversed": [],
        },
        "problems": [],
        "decisions": [],
        "input_data": {},
        "current_run_id": None,
        "pid": None,
        "isolation_level": "shared",
        "checkpoint_enabled": False,
        "latest_checkpoint_id": None,
        "active_triggers": [],
        "trigger_tasks": {},
        "worker_configured": False,
        "duration_ms": 2500 if ended else 0,
        "is_resumable": False,
        "is_resumable_from_checkpoint": False,
    }
    for name, value in changes.items():
        inner = state.get(name)
        state[name] = {**inner, **value} if inner and isinstance(value, dict) else value
    return state


def _text(state: dict[str, Any]) -> bytes:
    return json.dumps(state, indent=2).encode()


def _doubled(state: dict[str, Any], **stale: Any) -> bytes:
    """Return a state that the original has read and written: computed keys twice, stale first."""
    computed = {name: state[name] for name in ("duration_ms", "is_resumable")}
    computed["is_resumable_from_checkpoint"] = state["is_resumable_from_checkpoint"]
    first = json.dumps({**state, **stale}, indent=2).removesuffix("\n}")
    again = json.dumps(computed, indent=2).removeprefix("{\n")
    return f"{first},\n{again}".encode()


def _with_checkpoint(
    session_id: str, node: str, *, buffer: str = "data_buffer", torn: bool = False, **changes: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a session with two checkpoints of the original, and its own list of them."""
    briefs: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for kind, second in (("node_start", 1), ("node_complete", 2)):
        brief: dict[str, Any] = {
            "checkpoint_id": f"cp_{kind}_{node}_20250603_08150{second}",
            "checkpoint_type": kind,
            "created_at": f"2025-06-03T08:15:0{second}.100000",
            "current_node": node,
            "next_node": None,
            "is_clean": True,
            "description": f"{kind}: {node}",
        }
        whole = {
            **brief,
            "session_id": session_id,
            "run_id": "run_0",
            "execution_path": [node],
            buffer: {"kept": f"at {node}", "second": second},
            "accumulated_outputs": {},
            "metrics_snapshot": {},
        }
        briefs.append(brief)
        files[f"{brief['checkpoint_id']}.json"] = json.dumps(whole, indent=2)
    latest = str(briefs[-1]["checkpoint_id"])
    if torn:
        files[f"{latest}.json"] = files[f"{latest}.json"][:90]
    files["index.json"] = json.dumps(
        {
            "session_id": session_id,
            "checkpoints": briefs,
            "latest_checkpoint_id": latest,
            "total_checkpoints": len(briefs),
        },
        indent=2,
    )
    named = {
        "checkpoint_enabled": True,
        "latest_checkpoint_id": latest,
        "is_resumable": True,
        "is_resumable_from_checkpoint": True,
    }
    return _text(_state(session_id, **{**named, **changes})), files


def _sound_sessions() -> list[_Session]:
    found: list[_Session] = []

    def add(number: int, *kinds: str, **changes: Any) -> None:
        session_id = f"session_20250603_081500_{number:08x}"
        state = _state(session_id, **changes)
        if "old_shape" in kinds and "data_buffer" not in changes:
            del state["data_buffer"]
        text = _doubled(state, duration_ms=0) if "doubled" in kinds else _text(state)
        found.append(_Session(session_id, text, kinds=frozenset({"sound", *kinds})))

    def add_with_checkpoint(number: int, *kinds: str, **changes: Any) -> None:
        session_id = f"session_20250604_081500_{number:08x}"
        text, files = _with_checkpoint(session_id, "sorter", **changes)
        found.append(_Session(session_id, text, files, frozenset({"sound", *kinds})))

    decision = {"id": "dec_0", "node_id": "sorter", "outcome": {"result": "3 → inbox ✓"}}
    problem = {"id": "prob_0", "severity": "critical", "description": "no mailbox «späm»"}
    add(1, schema_version="1.0", decisions=[decision], metrics={"decision_count": 1},
        result={"output": {"sorted": 3}}, input_data={"box": "späm"})  # fmt: skip
    add(2, status="failed", problems=[problem], metrics={"problem_count": 1},
        result={"error": "Node sorter failed after 3 attempts"},
        progress={"path": ["start", "sorter"], "total_retries": 3, "retry_details": {"sorter": 3},
                  "nodes_with_failures": ["sorter"], "execution_quality": "failed"})  # fmt: skip
    add(3, status="cancelled", trigger_tasks={"daily": "sort"}, active_triggers=["daily"])
    add(4, "doubled", schema_version="1.0", worker_configured=True)
    add(5, "doubled", status="failed")
    add(6, "left_behind", status="active", schema_version="1.0", pid=GONE + 6)
    add(7, "without_pid", status="active", schema_version="1.0")
    add(8, "alive", status="active", pid=os.getpid(), progress={"current_node": "sorter"})
    add(9, "old_shape", schema_version="1.0", status="cancelled",
        memory={"draft": "text under the old key"}, memory_keys=["draft"])  # fmt: skip
    add(10, "old_shape", data_buffer={"draft": "new"}, memory={"draft": "under the old key"})
    add(11, status="cancelled", duration_ms=0,
        timestamps={"started_at": "last Tuesday", "completed_at": None})  # fmt: skip
    add(12, added_by_a_plug_in={"nested": [1, None, {"ü": 1.5}]}, another=True)
    add_with_checkpoint(1, schema_version="1.0", status="paused", buffer="shared_memory",
                        progress={"paused_at": "sorter"})  # fmt: skip
    add_with_checkpoint(2, status="paused", progress={"paused_at": "sorter"},
                        timestamps={"paused_at_time": "2025-06-03T08:15:02"})  # fmt: skip
    add_with_checkpoint(3, status="completed")
    add_with_checkpoint(4, "left_behind", status="active", pid=GONE + 4)
    add_with_checkpoint(5, "torn_checkpoints", status="paused", torn=True)
    return found


def _damaged_sessions() -> list[_Session]:
    found: list[_Session] = []

    def add(state: bytes | None, **files: str) -> None:
        session_id = f"session_20250605_000000_bad{len(found):05x}"
        if state is not None:
            state = state.replace(b"THIS", session_id.encode())
        found.append(_Session(session_id, state, files, frozenset({"damaged"})))

    add(_text(_state("THIS"))[:700])  # torn
    add(b"")
    add(b"\0" * 512)  # after a power cut
    add(b"status: paused\n")
    add(b'{"session_id": "THIS", "goal_id": "\xff\xfe"}')  # no UTF-8
    add(b"[]")
    add(b"null")
    add(b'{"status": "paused", "started_at": "2025-06-05T00:00:00"}')  # fields missing
    add(_text(_state("THIS", status="asleep")))
    add(_text(_state("THIS", goal_id=7)))
    add(_text(_state("THIS", timestamps=["2025-06-05T00:00:00"])))
    add(_text(_state("THIS", data_buffer=["a", "list"])))
    add(_text(_state("THIS", progress="sorter")))
    add(_text(_state("session_20250605_000000_another0")))
    return found


def _made_store() -> ForeignStore:
    sessions = [*_sound_sessions(), *_damaged_sessions()]

    def write(root: Path) -> None:
        for session in sessions:
            session.write(root / "sessions" / session.session_id)

    def of(kind: str) -> frozenset[str]:
        return frozenset(one.session_id for one in sessions if kind in one.kinds)

    return ForeignStore(
        "made",
        write,
        sound=of("sound"),
        damaged=of("damaged"),
        doubled=of("doubled"),
        old_shape=of("old_shape"),
        left_behind=of("left_behind"),
        without_pid=of("without_pid"),
        alive=of("alive"),
        torn_checkpoints=of("torn_checkpoints"),
    )


def _recorded_store(home: Path) -> ForeignStore:
    names = frozenset(path.name for path in (home / "sessions").iterdir())
    damaged = frozenset(f"session_20260301_000000_bad0000{number}" for number in (1, 2, 3))
    old_shape = frozenset({"session_20260205_101500_0ddba115"})
    return ForeignStore(
        "recorded",
        lambda root: shutil.copytree(home, root),
        sound=names - damaged,
        damaged=damaged,
        doubled=frozenset({"session_20260129_130324_00000006", "session_20260129_215028_00000003"}),
        old_shape=old_shape,
        left_behind=frozenset(
            {"session_20260125_171040_00000002", "session_20260126_192522_00000007"}
        ),
        without_pid=old_shape,
    )


# --- what tests are run with --------------------------------------------------------------------

FOREIGN_STORES = [_made_store()]
if RECORDED.is_dir():
    FOREIGN_STORES.append(_recorded_store(RECORDED))

each_store = pytest.mark.parametrize("foreign", FOREIGN_STORES, ids=lambda foreign: foreign.name)
each_sound_session = pytest.mark.parametrize(
    ("foreign", "session_id"),
    [
        pytest.param(foreign, session_id, id=f"{foreign.name}-{session_id}")
        for foreign in FOREIGN_STORES
        for session_id in sorted(foreign.sound)
    ],
)
