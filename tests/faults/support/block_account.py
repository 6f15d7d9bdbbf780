"""What a store acknowledged until a power cut, and what has to be left of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore, SessionStoreError
from sessionstore.operations.check import session as check_session
from sessionstore.process import kernel
from tests.faults.support.block_life import content, record
from tests.faults.support.block_log import Entry

_boots = count()


@dataclass
class Told:
    """What was acknowledged of a session."""

    number: int = 0
    checkpoints: dict[str, int] = field(default_factory=dict)
    records: int = 0
    ended: bool = False


class Account:
    """What was acknowledged until a power cut, and what had begun."""

    def __init__(self) -> None:
        self.sessions: dict[str, Told] = {}
        self.deleted: set[str] = set()
        self.sizes = {0: 0}
        self.begun: dict[str, dict[str, Any]] = {}
        """What each session has begun, and was not told of."""
        self.operation = "start"

    def hear(self, entry: Entry) -> None:
        """Take note of an entry of the log, if somebody was told something."""
        if not entry.is_told:
            return
        told = json.loads(entry.data)
        if "begin" in told:
            self.begun[told["session"]], self.operation = told, told["begin"]
            self.sizes.setdefault(told.get("number", 0), told.get("size", 0))
            return
        name = told["session"]
        begun = self.begun.pop(name)
        if told["done"] == "delete":
            del self.sessions[name]
            self.deleted.add(name)
            return
        mine = self.sessions.setdefault(name, Told())
        mine.number = begun.get("number", mine.number)
        mine.records = begun.get("records", mine.records)
        if told["done"] == "prune":
            newest = max(mine.checkpoints.values())
            mine.checkpoints = {k: v for k, v in mine.checkpoints.items() if v == newest}
        mine.ended = told["done"] == "complete"
        if told["checkpoint"]:
            mine.checkpoints[told["checkpoint"]] = mine.number

    # --- judging ---

    def judge(self, root: Path) -> list[str]:
        """Return what is wrong in the store at ``root``: first without its help, then with it."""
        wrong = list(self._wrong_in_files(root))
        with pytest.MonkeyPatch.context() as patch:
            # This kernel went on, and its id of the boot with it; nobody else writes there.
            patch.setattr(kernel, "boot_id", partial(str, f"boot {next(_boots)}"))
            patch.setattr(check_session, "_SETTLING", 0)
            try:
                with SessionStore(root) as store:
                    wrong += self._wrong_in_store(store)
            except SessionStoreError as error:
                wrong.append(f"{type(error).__name__}: {error}")
        return wrong

    def _names(self, found: set[str]) -> Iterator[str]:
        """Complain of sessions that are missing, or back."""
        maybe = {name for name in self.begun if self._does(name) in ("create", "delete")}
        for missing in sorted(self.sessions.keys() - found - maybe):
            yield f"{missing} is missing"
        for more in sorted(found - self.sessions.keys() - maybe):
            yield f"{more} is {'back' if more in self.deleted else 'there'}"

    def _does(self, name: str) -> str:
        return str(self.begun.get(name, {}).get("begin", ""))

    def _is_right(self, name: str, buffer: dict[str, Any]) -> bool:
        numbers = {self.sessions[name].number if name in self.sessions else 0}
        numbers.update(n for key, n in self.begun.get(name, {}).items() if key == "number")
        return buffer in [content(number, self.sizes[number]) for number in numbers]

    def _wrong_in_files(self, root: Path) -> Iterator[str]:
        sessions = root / "sessions"
        found = {path.name for path in sessions.iterdir()} if sessions.is_dir() else set()
        yield from self._names(found)
        for name in sorted(found):
            told = self.sessions.get(name, Told())
            try:
                state = json.loads((sessions / name / "state.json").read_bytes())
                if not self._is_right(name, state["data_buffer"]):
                    yield f"{name}: state {state['data_buffer'].get('number')}, not {told.number}"
                kept = {
                    path.stem: json.loads(path.read_bytes())["data_buffer"]
                    for path in (sessions / name / "checkpoints").iterdir()
                    if not path.name.startswith(".new-")
                }
            except (OSError, ValueError, KeyError) as error:
                yield f"{name}: {type(error).__name__}: {error}"
                continue
            if state["latest_checkpoint_id"] not in (None, *kept):
                yield f"{name}: the state names a checkpoint that is not there"
            pruned = self._does(name) == "prune"
            newest = max(told.checkpoints.values(), default=0)
            for checkpoint, number in told.checkpoints.items():
                if checkpoint not in kept and not (pruned and number < newest):
                    yield f"{name}: checkpoint {checkpoint} is missing"
            for checkpoint, buffer in kept.items():
                number = buffer.get("number", 0)
                if told.checkpoints.get(checkpoint, number) != number or buffer != content(
                    number, self.sizes.get(number, -1)
                ):
                    yield f"{name}: checkpoint {checkpoint} is not what was kept"
            lines = _plain_lines(sessions / name / "journals" / "main.jsonl")
            yield from self._records(name, lines, whole=False)

    def _records(self, name: str, found: Sequence[object], *, whole: bool) -> Iterator[str]:
        told = self.sessions.get(name, Told()).records
        may = self.begun.get(name, {}).get("records", told)
        if list(found) != [record(number + 1) for number in range(len(found))]:
            yield f"{name}: records are not as they were appended"
        elif not told <= len(found) <= may or (whole and len(found) not in (told, may)):
            yield f"{name}: {len(found)} records, told of {told}, of {may} at most"

    def _wrong_in_store(self, store: SessionStore[SessionState]) -> Iterator[str]:
        report = store.check()
        if report.has_damage:
            yield from (f"check: {item.file}: {item.detail}" for item in report.left)
        listed = list(store.iter_find())
        yield from (f"find: {item.session_id} is damaged" for item in listed if item.damaged)
        yield from self._names({item.session_id for item in listed})
        for item in listed:
            name = item.session_id
            if not self._is_right(name, store.load(name).data_buffer):
                yield f"load: {name} is not what was saved"
            records = [each.value for each in store.journal(name).read()]
            yield from self._records(name, records, whole=True)
            told = self.sessions.get(name, Told())
            if not told.ended and self._does(name) != "complete":
                yield from self._go_on(store, name, told)

    def _go_on(self, store: SessionStore[SessionState], name: str, told: Told) -> Iterator[str]:
        newest = max(told.checkpoints.values(), default=0)
        if not told.checkpoints:
            session = store.create_or_resume(name, "goal")
        else:
            session = store.resume(name)
        with session:
            number = session.state.data_buffer.get("number", 0)
            if number < newest or session.state.data_buffer != content(number, self.sizes[number]):
                yield f"resume: {name} goes on from {number}, not {newest}"
            appended = session.journal().append("next")
            if session.journal().count() != appended:
                yield f"resume: {name} has {session.journal().count()} records, not {appended}"
            session.save()


def _plain_lines(file: Path) -> list[Any]:
    """Return the values of the lines that are JSON, up to the first that is none."""
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    values: list[Any] = []
    with suppress(ValueError):
        values.extend(json.loads(line)["value"] for line in lines if line.strip(b" \0"))
    return values
