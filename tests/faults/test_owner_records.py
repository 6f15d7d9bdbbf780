"""Whom a session belongs to, when its owner record or its lock file is damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    Liveness,
    SessionClaimed,
    SessionCorrupt,
    SessionOwner,
    SessionStore,
    SessionStoreError,
)
from sessionstore.clock import utc_now
from sessionstore.process import identity
from sessionstore.storage.files import lock
from tests.faults.support.identity import (
    TIMES,
    lock_record,
)
from tests.faults.support.tally import tally
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    needs_linux,
    new_session,
    read_state,
    state_path,
)


def counted(cases: int) -> None:
    tally("identities", promise=7, cases=cases)


def ids(items: Any) -> list[str]:
    return [item.session_id for item in items]


NUMBERS: list[Any] = [
    None, 0, -1, -(2**31), 1.5, 1e300, 2**22 + 1, 2**31, 2**63, 2**70, 10**4000, "", "12", "x",
    [], {}, [1], True, False,
]  # fmt: skip
TEXTS: list[Any] = [
    None, "", "x", "\0", "\x1b[31m\u202e", "ü" * 5000, 0, 1.5, True, [], {}, "-1", "9" * 5000,
]  # fmt: skip
FIELDS = {
    "pid": NUMBERS,
    "pidfd_inode": NUMBERS,
    "boot_id": TEXTS,
    "start_token": TEXTS,
    "pid_namespace": TEXTS,
    "token": TEXTS,
    "host": TEXTS,
    "command": TEXTS,
    "claimed_at": [*TEXTS, *TIMES],
    "unheard_of": [*NUMBERS, *TEXTS],
}
WHOLE: list[Any] = [None, {}, [], "text", 5, True, [{}], {"owner": {}}, {"pid": {"pid": 1}}]


def damaged_records(sound: dict[str, Any]) -> Iterator[Any]:
    """Yield owner records that no process of ours wrote."""
    yield from WHOLE
    for field, values in FIELDS.items():
        yield {name: value for name, value in sound.items() if name != field}
        for value in values:
            yield {**sound, field: value}
            yield {field: value}


def names_a_process(record: Any) -> bool:
    """Return whether a reader can take a pid from the record, as pydantic reads numbers."""
    try:
        number = int(str(record["pid"]))
        return number > 0
    except (KeyError, TypeError, ValueError, IndexError):
        return isinstance(record, dict) and record.get("pid") in (True, 1e300)


def verdict_of(store: SessionStore[Any], session_id: str) -> Liveness | None:
    """Return the verdict, None where the state counts as damaged; nothing else may be raised."""
    try:
        return store.liveness(session_id)
    except SessionCorrupt:
        return None


@pytest.mark.parametrize("who", ["dead", "live"])
def test_a_damaged_owner_record_in_the_state_never_makes_the_living_dead(
    tmp_path: Path, running: SessionOwner, who: str
) -> None:
    """Rule: DEAD needs the name of a process. Whatever is no record at all is damage."""
    left_active(tmp_path)
    store = SessionStore(tmp_path)
    sound = running.model_dump()
    if who == "dead":
        sound["pid"] = 2**22 + 1
    cases, seen = 0, set[str]()
    for record in damaged_records(sound):
        edit_state(tmp_path, "s1", owner=record, pid=None)
        before = state_path(tmp_path, "s1").read_bytes()
        verdict = verdict_of(store, "s1")
        seen.add("damage" if verdict is None else str(verdict.verdict))
        if verdict is None or not names_a_process(record):
            assert verdict is None or verdict.is_unknown, (record, verdict)
        if who == "live" and isinstance(record, dict) and record.get("pid") == running.pid:
            told_apart = {"boot_id", "start_token", "pid_namespace", "pidfd_inode"}
            changed = {name for name in told_apart if record.get(name) != sound[name]}
            if not changed:
                assert verdict is None or verdict.is_alive, (record, verdict)
        report = store.recover(dry_run=True)
        assert len([*report.swept, *report.alive, *report.unknown, *report.damaged]) == 1
        item = store.find().items[0]
        assert (item.damaged is None) is (verdict is not None)
        assert state_path(tmp_path, "s1").read_bytes() == before
        cases += 1
    assert seen >= {"damage", "dead", "unknown"}
    counted(cases)


def test_a_held_session_is_alive_whatever_its_record_in_the_state_says(tmp_path: Path) -> None:
    sound = identity.new_owner(utc_now()).model_dump()
    cases = 0
    with Child("act", tmp_path) as held:
        held.hear()
        held.ask("create", session_id="s1")
        store = SessionStore(tmp_path)
        for record in damaged_records({**sound, "pid": 2**22 + 1}):
            edit_state(tmp_path, "s1", owner=record)
            before = state_path(tmp_path, "s1").read_bytes()
            verdict = verdict_of(store, "s1")
            assert verdict is None or verdict.is_alive, (record, verdict)
            assert store.recover(assume_dead=["s1"]).swept == ()
            assert state_path(tmp_path, "s1").read_bytes() == before
            cases += 1
        with pytest.raises(SessionClaimed):
            store.claim("s1", force=True)
        held.crash()
    counted(cases)


def nested(depth: int) -> bytes:
    return b'{"owner": ' + b"[" * depth + b"]" * depth + b"}"


def lock_contents(sound: dict[str, Any]) -> Iterator[bytes]:
    """Yield what a lock file may hold that no process of ours wrote."""
    whole = json.dumps({"owner": sound}).encode()
    yield from (
        b"", b"\0", b"\0" * 5000, b"x", b"\xff\xfe\x00", b"\xef\xbb\xbf" + whole, b"[]", b"5",
        b"null", b"true", b'"text"', b"{}", b'{"owner": NaN}', b'{"owner": ' + b"9" * 5000 + b"}",
        b'{"owner": {"pid": 1, "command": "\\ud800"}}', b"{" * 100, whole * 2, whole * 1000,
        whole + b" " * (1 << 20), whole.decode().encode("utf-16"), b"\n" * 70000 + whole,
        b'{"owner": {"pid": 1}, "owner": null}', b'{"tentative": true}',
        b'{"tentative": true, "before": 5}', b'{"tentative": true, "before": []}',
        b'{"owner": {"pid": 1}, "tentative": true, "before": {"tentative": true, "before": {}}}',
    )  # fmt: skip
    yield from (whole[:length] for length in range(0, len(whole), 7))
    yield from (nested(depth) for depth in [10, 500, *range(880, 1001, 2), 5000, 30000])
    odd: list[Any] = [None, 0, "", "x", [], {}, 1.5, True, "9999-12-31T23:59:59-23:59"]
    for value in odd:
        for field in ("released_at", "tentative", "before"):
            yield json.dumps({"owner": sound, field: value}).encode()
    for record in damaged_records(sound):
        yield json.dumps({"owner": record}).encode()


def test_nothing_in_a_lock_file_keeps_anybody_out_of_a_free_session(
    tmp_path: Path, running: SessionOwner
) -> None:
    new_session(tmp_path)
    path = tmp_path / "locks" / "s1.lock"
    store = SessionStore(tmp_path)
    cases = 0
    for content in lock_contents(running.model_dump()):
        path.write_bytes(b"\n" + content)
        assert not store.liveness("s1").is_alive
        with store.claim("s1") as session:
            assert lock_record(tmp_path, "s1")["owner"]["token"] == session.owner.token
        cases += 1
    assert read_state(tmp_path, "s1")["revision"] == 2
    counted(cases)


def test_nothing_in_a_lock_file_lets_anybody_into_a_held_session(
    tmp_path: Path, running: SessionOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder is another process; whom the refusal names does not matter here."""
    monkeypatch.setattr(lock, "LOOK_GRACE", lock.PROBE_GRACE)
    path = tmp_path / "locks" / "s1.lock"
    store = SessionStore(tmp_path)
    gone = {**running.model_dump(), "pid": 2**22 + 1}
    attempts: list[Callable[[], object]] = [
        lambda: store.claim("s1", force=True),
        lambda: store.resume("s1", force=True),
        lambda: store.delete("s1", force=True),
    ]
    cases = 0
    with Child("act", tmp_path) as held:
        held.hear()
        held.ask("create", session_id="s1", checkpoint=True)
        # Those that name nobody alive make each look wait: some stand for their kind.
        for number, content in enumerate(lock_contents(gone)):
            if number > 30 and number % 23:
                continue
            with path.open("r+b") as file:  # in place: the lock is on the inode
                file.truncate(0)
                file.write(b"\n" + content)
            assert store.liveness("s1").is_alive, content[:80]
            if number % 5 == 0 and b"tentative" not in content:
                assert ids(store.recover(assume_dead=["s1"]).alive) == ["s1"]
                with pytest.raises(SessionClaimed):
                    attempts[cases % 3]()
            cases += 1
        assert held.ask("save", step=2) == {"revision": 3}
        assert held.ask("release") == {"released": True}
        with store.claim("s1") as session:
            assert session.revision == 4
    counted(cases)


@needs_linux("FIFOs")
def test_a_lock_file_that_cannot_be_a_lock_is_an_error_of_its_own(tmp_path: Path) -> None:
    new_session(tmp_path)
    path = tmp_path / "locks" / "s1.lock"
    kinds: list[Callable[[], object]] = [path.mkdir, lambda: os.mkfifo(path)]
    for make in kinds:
        path.unlink()
        make()
        with pytest.raises(SessionStoreError):
            SessionStore(tmp_path).claim("s1")
        if path.is_dir():
            path.rmdir()
            path.touch()
    counted(len(kinds))
