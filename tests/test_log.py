"""What the package logs: to one silent logger, and with attributes that a formatter may name."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TypeGuard

import pytest

import sessionstore
from sessionstore import (
    AsyncSessionStore,
    CancellationRequested,
    SessionStore,
    Step,
    StepUnsettled,
    StorageError,
)
from sessionstore.log import EVENTS, about
from sessionstore.store.threads import Runner
from tests.support.cli import GONE, leave_behind, put, state
from tests.support.processes import CHECKOUT, DEADLINE

ATTRIBUTES = tuple(about("any"))
PACKAGE = Path(sessionstore.__file__).parent


def test_an_application_that_configures_no_logging_hears_nothing(tmp_path: Path) -> None:
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    tmp_path.chmod(0o770)  # its group can write to it: a warning
    program = "import sys, sessionstore; sessionstore.SessionStore(sys.argv[1]).recover()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True, capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_a_sweep_tells_session_revision_and_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_behind(tmp_path, "left")
    store = SessionStore(tmp_path)
    with caplog.at_level(logging.INFO, "sessionstore"):
        store.recover()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("sessionstore", logging.INFO)
    told = {name: getattr(record, name) for name in ATTRIBUTES}
    assert told == {
        "event": "session_swept",
        "session_id": "left",
        "revision": store.load("left").revision,
        "path": None,
        "reason": f"pid {store.load('left').recovery.owner.pid} is gone",  # type: ignore[union-attr]  # a sweep has set both
    }


def test_a_repair_tells_which_state_was_replaced_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SessionStore(tmp_path)
    with store.create("a-goal", session_id="torn") as session:
        session.checkpoint("node_complete")
        session.save()
        session.complete()
    (tmp_path / "sessions/torn/state.json").write_text("{")
    store.check(repair=True)
    (record,) = [item for item in caplog.records if item.name == "sessionstore"]
    assert record.event == "state_repaired"  # type: ignore[attr-defined]  # set by extra=
    assert record.session_id == "torn"  # type: ignore[attr-defined]  # as above
    assert record.revision == store.load("torn").revision  # type: ignore[attr-defined]  # as above
    assert "EOF" in record.reason  # type: ignore[attr-defined]  # as above


def test_a_root_that_its_group_can_write_to_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o770)
    SessionStore(tmp_path)
    (record,) = caplog.records
    assert (record.event, record.path, record.session_id) == (  # type: ignore[attr-defined]  # set by extra=
        "group_can_write", str(tmp_path), None,
    )  # fmt: skip


def test_work_of_a_cancelled_task_that_fails_is_told_with_its_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        begun.set()
        release.wait(DEADLINE)
        raise sessionstore.SessionNotFound("s-1", tmp_path)

    async def cancel() -> None:
        runner = Runner()
        task = asyncio.ensure_future(runner.run(fail))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runner.close()

    from threading import Event

    begun, release = Event(), Event()
    asyncio.run(cancel())
    (record,) = [item for item in caplog.records if item.name == "sessionstore"]
    assert (record.event, record.session_id) == ("cancelled_work_failed", "s-1")  # type: ignore[attr-defined]  # set by extra=


def test_a_formatter_may_name_every_attribute_of_every_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of those without a session: a missing attribute would raise while formatting."""
    leave_behind(tmp_path, "left")
    tmp_path.chmod(0o770)
    formatter = logging.Formatter(" ".join(f"%({name})s" for name in ATTRIBUTES))

    async def sweep() -> None:
        async with AsyncSessionStore(tmp_path) as store:
            await store.recover()

    with caplog.at_level(logging.DEBUG, "sessionstore"):
        asyncio.run(sweep())
    told = [formatter.format(item) for item in caplog.records if item.name == "sessionstore"]
    events = [text.split()[0] for text in told]
    assert events == ["group_can_write", "index_compared", "session_swept"]


LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")


def _logs(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("logger", "logging", "log")
        and node.func.attr in LEVELS
    )


def _told() -> list[tuple[str, str, str]]:
    """Return every call that logs: where it is, its event and its level."""
    return [
        (f"{file.relative_to(PACKAGE)}:{node.lineno}", *_event_and_level(node))
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name != "log.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if _logs(node) or _logs_of_a_session(node)
    ]


def _logs_of_a_session(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "log_session"


def _event_and_level(call: ast.Call) -> tuple[str, str]:
    if isinstance(call.func, ast.Attribute):
        level = {"log": "INFO, DEBUG"}.get(call.func.attr, call.func.attr.upper())
        extra = next((word.value for word in call.keywords if word.arg == "extra"), None)
        assert isinstance(extra, ast.Call), f"{ast.unparse(call)} has no extra=about(...)"
        (event,) = extra.args
    else:
        level, event = "INFO", call.args[0]
    assert isinstance(event, ast.Constant), ast.unparse(call)
    return str(event.value), level


def test_every_record_of_the_package_tells_a_documented_event() -> None:
    told = _told()
    assert told
    for where, event, _ in told:
        assert event in EVENTS, where
    assert {event for _, event, _ in told} == set(EVENTS)  # none is documented that nothing tells


def test_the_page_lists_every_event_as_it_is_told() -> None:
    levels: dict[str, set[str]] = {}
    for _, event, level in _told():
        levels.setdefault(event, set()).add(level)
    page = (CHECKOUT / "docs/how-to/logging.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z, ]+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert rows == [
        (event, "/".join(sorted(levels[event])), told) for event, told in EVENTS.items()
    ]


def test_forks_deletes_and_force_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "unknown", state("unknown", status="active", pid=None))
    store = SessionStore(tmp_path)
    with store.create("g", session_id="s-1") as session:
        kept = session.pause().checkpoint_id
    with caplog.at_level(logging.INFO, "sessionstore"):
        store.fork("s-1", new_id="s-2")
        store.claim("unknown", force=True).release()
        store.delete("s-1")
    told = [
        tuple(getattr(item, name) for name in ("event", "session_id", "revision", "reason"))
        for item in caplog.records
        if item.name == "sessionstore"
    ]
    assert told == [
        ("session_forked", "s-2", 2, f"from s-1 at {kept}"),
        ("claim_forced", "unknown", 0, "no owner recorded"),
        ("session_interrupted", "unknown", 1, store.load("unknown").result.error),
        ("session_deleted", "s-1", None, None),
    ]


def test_a_request_to_cancel_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SessionStore(tmp_path)
    session = store.create("g", session_id="s-1")
    with caplog.at_level(logging.INFO, "sessionstore"):
        store.cancel("s-1", reason="too slow", timeout=0.0)
        with pytest.raises(CancellationRequested), session:
            session.save()
    (record,) = [item for item in caplog.records if item.name == "sessionstore"]
    assert (record.event, record.session_id, record.revision) == ("cancel_requested", "s-1", 1)  # type: ignore[attr-defined]  # set by extra=
    assert "too slow" in record.getMessage()


def told_by(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    """Return event, session, revision and reason of each record."""
    return [
        tuple(getattr(item, name) for name in ("event", "session_id", "revision", "reason"))
        for item in caplog.records
        if item.name == "sessionstore"
    ]


def test_what_became_of_a_step_is_told_with_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SessionStore(tmp_path)
    pay = Step("pay", at_most_once=True)
    with store.create("g", session_id="s-1") as session:
        with caplog.at_level(logging.INFO, "sessionstore"):
            session.step("plan", len, "four")
        with pytest.raises(KeyboardInterrupt):
            session.step(pay, raise_interrupt)
        session.pause()
    with caplog.at_level(logging.INFO, "sessionstore"), store.resume("s-1") as session:
        session.step("plan", len, "four")
        with pytest.raises(StepUnsettled):
            session.step(pay, len, "four")
        session.pause()
    assert told_by(caplog) == [
        ("step_kept", "s-1", None, "plan"),
        ("step_replayed", "s-1", None, "plan"),
        ("step_unsettled", "s-1", None, "pay"),
    ]


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def test_a_journal_that_goes_back_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SessionStore(tmp_path)
    with store.create("g", session_id="s-1") as session:
        session.journal("a").append(1)
        session.journal("b").append(1)
        kept = session.checkpoint("step").checkpoint_id
        session.journal("a").append(2)
        session.pause()
    with caplog.at_level(logging.INFO, "sessionstore"):
        with store.resume("s-1") as session:
            session.pause()
        with store.resume("s-1", checkpoint_id=kept) as session:
            session.journal("b").rewrite([3])
            session.pause()
    assert told_by(caplog) == [
        ("journal_rewound", "s-1", None, "journal a: back to record 1"),
        ("journal_rewound", "s-1", None, "journal b: rewritten"),
    ]


def test_a_session_that_is_stopped_is_told_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SessionStore(tmp_path)
    with (
        caplog.at_level(logging.INFO, "sessionstore"),
        pytest.raises(SystemExit),
        store.create("g", session_id="s-1"),
    ):
        sys.exit(3)
    revision = store.load("s-1").revision
    reason = "it was stopped by SystemExit: 3"
    assert told_by(caplog) == [("session_interrupted", "s-1", revision, reason)]


@pytest.mark.parametrize("way", ["claim", "resume", "create_or_resume", "edit"])
def test_a_claim_that_finds_a_dead_process_tells_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    leave_behind(tmp_path, "left")
    store = SessionStore(tmp_path)
    with caplog.at_level(logging.INFO, "sessionstore"):
        if way == "edit":
            with store.edit("left"):
                pass
        elif way == "create_or_resume":
            store.create_or_resume("left", store.load("left").goal_id).pause()
        else:
            getattr(store, way)("left").pause()
    state = store.load("left")
    assert state.recovery is not None
    (told,) = told_by(caplog)
    assert (told[:2], told[3]) == (("session_interrupted", "left"), state.recovery.reason)
    assert "died" in str(told[3])


def test_an_edit_that_is_stored_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SessionStore(tmp_path)
    store.create("g", session_id="s-1").pause()
    with caplog.at_level(logging.INFO, "sessionstore"):
        with store.edit("s-1"):
            pass  # nothing is stored, so nothing is told
        with store.edit("s-1") as session:
            session.state.data_buffer["answer"] = "yes"
    assert told_by(caplog) == [("session_edited", "s-1", store.load("s-1").revision, None)]


def test_a_record_of_a_thread_is_logged_in_the_context_of_the_task_that_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracer keeps its span in a context variable."""
    span: ContextVar[str] = ContextVar("span", default="none")
    seen: list[tuple[object, str]] = []

    def note(record: logging.LogRecord) -> bool:
        seen.append((getattr(record, "event", None), span.get()))
        return True

    async def work() -> None:
        async with AsyncSessionStore(tmp_path) as store:
            span.set("begin")
            async with store.create("g", session_id="s-1") as session:
                span.set("plan")
                await session.step("plan", len, "four")
            span.set("end")
            await store.mark("s-1", "failed", reason="given up")

    with caplog.at_level(logging.INFO, "sessionstore"):
        caplog.handler.addFilter(note)
        try:
            asyncio.run(work())
        finally:
            caplog.handler.removeFilter(note)
    assert seen == [("step_kept", "plan"), ("session_marked", "end")]


def test_each_attribute_is_of_a_type_that_any_exporter_takes() -> None:
    told = about(
        "any", session_id="s-1", revision=3, path="a", reason=StorageError("read", "a", "b")
    )
    assert {name: type(value) for name, value in told.items()} == {
        "event": str,
        "session_id": str,
        "revision": int,
        "path": str,
        "reason": str,
    }
    assert set(about("any").values()) == {"any", None}


def test_the_attributes_are_none_of_those_that_logging_has_itself() -> None:
    plain = logging.LogRecord("name", logging.INFO, "path", 1, "text", (), None)
    assert not set(ATTRIBUTES) & {*vars(plain), "message", "asctime"}


def test_a_reason_is_text_even_where_an_error_was_given() -> None:
    error = StorageError("read", "x", OSError(5, "it broke"))
    assert about("any", reason=error)["reason"] == str(error)
