"""What find() over 10,000 sessions and the import cost. ``python -m benchmarks.listing``."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.harness import Figure, Group, Options, Sample, interleave, main, raw
from sessionstore import SessionOwner, SessionState, SessionStatus, SessionStore, SessionTimestamps

SESSIONS = 10_000
LEFT_BEHIND = 200
"""ACTIVE sessions of a process that died."""
HELD = 100
"""ACTIVE sessions that this process holds."""

_OWNER = """
from datetime import UTC, datetime
from sessionstore.owner import new_owner
print(new_owner(datetime.now(UTC)).model_dump_json())
"""


def make_sessions(root: Path, count: int) -> dict[str, int]:
    """Write ``count`` sessions of 4 KiB as files; return what a listing should find of them."""
    dead = SessionOwner.model_validate_json(
        subprocess.run([sys.executable, "-c", _OWNER], capture_output=True, check=True).stdout
    )
    chance = random.Random(count)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ended = [status for status in SessionStatus if status is not SessionStatus.ACTIVE]
    state = SessionState(
        session_id="model",
        goal_id="bench",
        timestamps=SessionTimestamps(started_at="", updated_at=""),
        incarnation="0" * 16,
    )
    state.data_buffer["notes"] = "What the agent has found so far: café → Zürich. " * 50
    expected = {"resumable": 0, "moved on": 0}
    for number in range(count):
        active = number < LEFT_BEHIND
        state.session_id = f"session_20260101_000000_{number:08x}"
        state.status = SessionStatus.ACTIVE if active else chance.choice(ended)
        state.goal_id = f"goal-{number % 20}"
        state.owner = dead if active else None
        state.pid = dead.pid if active else None
        state.revision = chance.randrange(1, 40)
        moment = begin + timedelta(seconds=chance.randrange(10_000_000))
        state.timestamps.started_at = state.timestamps.updated_at = moment.isoformat()
        state.timestamps.completed_at = (
            moment.isoformat() if state.status is SessionStatus.COMPLETED else None
        )
        state.progress.path = ["plan", "fetch", "answer"] * chance.randrange(1, 6)
        has_checkpoint = number % 3 == 0
        state.checkpoint_enabled = has_checkpoint
        name = f"cp_{number:08x}"
        state.latest_checkpoint_id = name if has_checkpoint else None
        expected["resumable"] += has_checkpoint
        _write(root, state, name if has_checkpoint else None)
        record = {"owner": dead.model_dump()} | ({} if active else {"released_at": "2026-01-01"})
        lock = root / "locks" / f"{state.session_id}.lock"
        lock.write_bytes(b"\n" + json.dumps(record).encode() + b"\n")
    return expected


def _write(root: Path, state: SessionState, checkpoint_id: str | None) -> None:
    directory = os.path.join(root, "sessions", state.session_id)
    os.makedirs(os.path.join(directory, "checkpoints"), 0o700)
    file = os.path.join(directory, "state.json")
    with open(file, "wb") as stream:
        stream.write(state.model_dump_json().encode())
    if checkpoint_id:
        os.link(file, os.path.join(directory, "checkpoints", f"{checkpoint_id}.json"))


def measure_find(options: Options) -> list[Figure]:
    """List 10,000 sessions of all statuses in several ways, the files being in the page cache."""
    with options.space() as space, ExitStack() as stack:
        root = space / "store"
        store = SessionStore(root, durability="process")
        for _ in range(HELD):
            stack.enter_context(store.create("bench"))  # also makes the store
        expected = make_sessions(root, SESSIONS - HELD)
        active = LEFT_BEHIND + HELD
        found: dict[str, tuple[Callable[[], int], int]] = {
            "find(), first page of 50": (lambda: len(store.find()), 50),
            "find(limit=None)": (lambda: len(store.find(limit=None)), SESSIONS),
            "find(status=active)": (lambda: len(store.find(status="active", limit=None)), active),
            "find(stale=True)": (lambda: len(store.find(stale=True, limit=None)), LEFT_BEHIND),
            "find(resumable=True)": (
                lambda: len(store.find(resumable=True, limit=None)),
                expected["resumable"],
            ),
        }
        for name, (look, count) in found.items():
            if (seen := look()) != count:  # a listing that misses sessions is quick for nothing
                raise AssertionError(f"{name} found {seen} sessions, {count} are there")
        samples = interleave(
            {name: look for name, (look, _) in found.items()},
            rounds=3 if options.quick else 5,
            warm_up=0,
        )
    return [
        Figure(
            "find",
            f"{name}, {SESSIONS:,} sessions",
            "s",
            [sample.median / 1e6],
            limit=1.0,
            note=f"finds {found[name][1]:,}",
        )
        for name, sample in samples.items()
    ]


# --- import --------------------------------------------------------------------------------------

_ON_DEMAND = ("psutil", "click", "rich")
_ALSO = ("asyncio", "filelock", "ctypes", "sqlite3")
_ONE_MODEL = """from pydantic import BaseModel, Field
class Model(BaseModel):
    names: list[str] = Field(default_factory=list)"""
_IMPORTS = {
    "import pydantic": "import pydantic",
    "from pydantic import BaseModel": "from pydantic import BaseModel",
    "pydantic and one model": _ONE_MODEL,
    "import sessionstore": "import sessionstore",
    "from sessionstore import SessionStore": "from sessionstore import SessionStore",
}
_USED = "from sessionstore import SessionStore"
_TIMED = """
from time import perf_counter
begin = perf_counter()
{statement}
print(perf_counter() - begin)
import sys
print(*sys.modules)
"""


def measure_imports(options: Options) -> list[Figure]:
    """Import in fresh interpreters, one after the other, from compiled files."""
    times: dict[str, list[float]] = {name: [] for name in _IMPORTS}
    loaded: set[str] = set()
    with options.space() as compiled:
        environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(compiled))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(-2, options.rounds(25)):  # the first rounds compile
            for name, statement in _IMPORTS.items():
                command = [sys.executable, "-c", _TIMED.format(statement=statement)]
                ended = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=environment
                )
                seconds, modules = ended.stdout.splitlines()
                if turn >= 0:
                    times[name].append(float(seconds) * 1e6)
                if name == _USED:
                    loaded = set(modules.split())
    samples = {name: Sample(taken) for name, taken in times.items()}
    # pydantic itself loads on demand: what it costs a program shows with the first model.
    figures = [
        Figure(
            "import",
            f"{name}, beyond {base}",
            "ms",
            [(samples[name].median - samples[base].median) / 1000],
            limit=60.0,
        )
        for name, base in (
            ("import sessionstore", "import pydantic"),
            (_USED, "import pydantic"),
            (_USED, "from pydantic import BaseModel"),
            (_USED, "pydantic and one model"),
        )
    ]
    figures.append(
        Figure(
            "import",
            "psutil, click and rich among the modules that this loads",
            "",
            [float(len(loaded & set(_ON_DEMAND)))],
            limit=0.0,
            note=_listed(loaded, _ON_DEMAND),
        )
    )
    figures.append(
        Figure(
            "import",
            f"{', '.join(_ALSO)} among them",
            "",
            [float(len(loaded & set(_ALSO)))],
            note=_listed(loaded, _ALSO),
        )
    )
    return figures + raw("import", samples)


def _listed(loaded: set[str], names: tuple[str, ...]) -> str:
    return ", ".join(name for name in names if name in loaded) or "none"


GROUPS: dict[str, Group] = {"find": measure_find, "import": measure_imports}

if __name__ == "__main__":
    sys.exit(main(GROUPS, "Measure listing and importing against the limits of the design."))
