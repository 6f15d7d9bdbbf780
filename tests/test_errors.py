"""Every error carries its facts, survives pickling, and prints only text that cannot act."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import sessionstore
from sessionstore import (
    ArchiveRefused,
    CancellationRequested,
    CheckpointNotFound,
    ClaimLost,
    DurabilityUncertain,
    InvalidQuery,
    InvalidSessionId,
    MemoryBackend,
    NotResumable,
    NotStorable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionEnded,
    SessionExists,
    SessionNotFound,
    SessionOwner,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionStoreError,
    SessionTimestamps,
    StateTypeMismatch,
    StepChanged,
    StepUnsettled,
    StorageError,
    WatchTimedOut,
    errors,
)
from tests.support.processes import CHECKOUT

OWNER = SessionOwner(pid=4711, command="python agent.py", host="web1", claimed_at="2020-01-01")
ENDED = SessionState(
    session_id="s-1",
    goal_id="g",
    status=SessionStatus.COMPLETED,
    timestamps=SessionTimestamps(started_at="2020-01-01", updated_at="2020-01-01"),
)
FULL_DISK = OSError(errno.ENOSPC, "No space left on device")

# An error, its fields, its second parent, and words of its message.
SAMPLES: list[tuple[SessionStoreError, dict[str, Any], type[Exception], str]] = [
    (
        InvalidSessionId("a/b", "no slash"),
        {"session_id": "a/b", "reason": "no slash"},
        ValueError,
        "session id 'a/b': no slash",
    ),
    (
        ArchiveRefused("x.tar", "it is a link", member="a/b"),
        {"archive": "x.tar", "member": "a/b", "reason": "it is a link"},
        ValueError,
        "x.tar: a/b: it is a link; nothing was imported",
    ),
    (
        WatchTimedOut(30, ["s-1", "s-2", "s-3", "s-4"]),
        {"seconds": 30, "waiting": ("s-1", "s-2", "s-3", "s-4")},
        TimeoutError,
        "timed out after 30 s waiting for s-1, s-2, s-3 and 1 more to end",
    ),
    (
        InvalidQuery("order", "no such"),
        {"parameter": "order", "reason": "no such"},
        ValueError,
        "order: no such",
    ),
    (
        SessionNotFound("s-1", Path("root")),
        {"session_id": "s-1", "store": "root"},
        LookupError,
        "s-1 is not in root",
    ),
    (
        CheckpointNotFound("s-1", "c0", available=iter(["c1", "c2"])),
        {"session_id": "s-1", "checkpoint_id": "c0", "available": ("c1", "c2")},
        LookupError,
        "s-1 has no checkpoint c0; the newest are: c1, c2",
    ),
    (
        CheckpointNotFound("s-1", "c0"),
        {"session_id": "s-1", "checkpoint_id": "c0", "available": ()},
        LookupError,
        "it has none at all",
    ),
    (
        CancellationRequested("s-1", "too late", requested_at="2020-01-01", by=OWNER),
        {"session_id": "s-1", "reason": "too late", "requested_at": "2020-01-01", "by": OWNER},
        RuntimeError,
        "s-1: cancellation was requested by pid 4711 (python agent.py) on web1",
    ),
    (
        CancellationRequested("s-1"),
        {"session_id": "s-1", "reason": None, "requested_at": "", "by": None},
        RuntimeError,
        "s-1: cancellation was requested; nothing was written",
    ),
    (SessionExists("s-1"), {"session_id": "s-1"}, FileExistsError, "s-1 exists already"),
    (
        SessionExists("s-1", wanted="triage", found="report"),
        {"session_id": "s-1"},
        FileExistsError,
        "s-1 exists already with goal_id 'report', not 'triage'",
    ),
    (
        SessionClaimed("s-1", OWNER, reason="running"),
        {"session_id": "s-1", "owner": OWNER, "reason": "running"},
        BlockingIOError,
        "s-1 is held by pid 4711 (python agent.py) on web1 since 2020-01-01",
    ),
    (
        SessionClaimed("s-1"),
        {"session_id": "s-1", "owner": None, "reason": ""},
        BlockingIOError,
        "left no record",
    ),
    (
        RevisionConflict("s-1", expected=3, found=4, owner=OWNER, detail="by hand"),
        {"session_id": "s-1", "expected": 3, "found": 4, "owner": OWNER, "detail": "by hand"},
        RuntimeError,
        "at revision 4, not 3",
    ),
    (
        RevisionConflict("s-1", expected=3, found=3, detail="by hand"),
        {"session_id": "s-1", "expected": 3, "found": 3, "detail": "by hand"},
        RuntimeError,
        (
            "s-1 is still at revision 3, but its content was changed: by hand; nothing was"
            " overwritten: load() what is stored now, then claim the session again and repeat the"
            " change"
        ),
    ),
    (
        SessionClaimed("s-1", OWNER, is_own=True),
        {"session_id": "s-1", "owner": OWNER, "is_own": True},
        BlockingIOError,
        (
            "s-1 is held by this process: pid 4711 (python agent.py) on web1 since"
            " 2020-01-01 00:00:00Z; use the Session that holds it, or release() that one first"
        ),
    ),
    (
        SessionExists("s-1", is_own=True),
        {"session_id": "s-1"},
        FileExistsError,
        "s-1 exists already, and this process holds it; use the Session that holds it",
    ),
    (
        RevisionConflict("s-1", expected=3, found=None),
        {"session_id": "s-1", "expected": 3, "found": None, "owner": None},
        RuntimeError,
        "s-1 was at revision 3, and its state cannot be read now",
    ),
    (
        RevisionConflict("s-1", expected=None, found=4),
        {"session_id": "s-1", "expected": None, "found": 4, "owner": None},
        RuntimeError,
        "s-1 is at revision 4, not at the state that this claim has read; nothing was overwritten",
    ),
    (
        RevisionConflict("s-1", expected=None, found=None, detail="the journal a was changed"),
        {"session_id": "s-1", "expected": None, "found": None},
        RuntimeError,
        "s-1: the journal a was changed; nothing was overwritten",
    ),
    (
        SessionCorrupt("s-1", Path("state.json"), "torn"),
        {"session_id": "s-1", "file": "state.json", "reason": "torn"},
        ValueError,
        "state.json is damaged: torn",
    ),
    (
        StateTypeMismatch("s-1", "MyState", "n: missing"),
        {"session_id": "s-1", "state_type": "MyState", "reason": "n: missing"},
        TypeError,
        (
            "s-1 does not fit state_type MyState: n: missing; give the new fields of MyState a"
            ' default, or fill and convert them in a validator (mode="before"), and this session'
            " loads: see docs/how-to/upgrading.md"
        ),
    ),
    (
        StateTypeMismatch(None, "MyState", "other"),
        {"session_id": None, "state_type": "MyState"},
        TypeError,
        "the given state does not fit state_type MyState: other",
    ),
    (
        NotStorable("s-1", "data_buffer.x", "nan"),
        {"session_id": "s-1", "path": "data_buffer.x", "reason": "nan"},
        ValueError,
        "data_buffer.x: nan",
    ),
    (
        NotResumable("s-1", "no checkpoint", checkpoint_id="c0", available=iter(["c1", "c2"])),
        {"session_id": "s-1", "checkpoint_id": "c0", "available": ("c1", "c2")},
        RuntimeError,
        "c1, c2",
    ),
    (
        SessionEnded("s-1", ENDED),
        {"session_id": "s-1", "state": ENDED, "reason": "it is completed"},
        NotResumable,
        's-1 cannot be resumed: it is completed; store.resume("s-1", again=True) runs it again',
    ),
    (
        StepChanged("s-1", "plan", "2026-11-28"),
        {
            "session_id": "s-1",
            "step": "plan",
            "kept_at": "2026-11-28",
            "reason": "it is called with other arguments now",
        },
        ValueError,
        "give it another name, or run it again with Step('plan', rerun=True)",
    ),
    (
        StepUnsettled("s-1", "pay", "2026-11-28", 4711, "web1"),
        {
            "session_id": "s-1",
            "step": "pay",
            "began_at": "2026-11-28",
            "pid": 4711,
            "host": "web1",
        },
        RuntimeError,
        "`sessionstore steps s-1 --settle pay=JSON`, or `--rerun pay` if nothing did",
    ),
    (
        ClaimLost("s-1", "released"),
        {"session_id": "s-1", "reason": "released"},
        RuntimeError,
        "s-1: released",
    ),
    (
        DurabilityUncertain("s-1", 7, OSError(errno.EIO, "Input/output error")),
        {"session_id": "s-1", "revision": 7, "journal": None, "errno": errno.EIO},
        OSError,
        "revision 7",
    ),
    (
        DurabilityUncertain("s-1", None, OSError(errno.EIO, "Input/output error"), "messages"),
        {"session_id": "s-1", "revision": None, "journal": "messages", "errno": errno.EIO},
        OSError,
        "append it again under its key",
    ),
    (
        StorageError("write", Path("state.json"), FULL_DISK),
        {"action": "write", "path": "state.json", "errno": errno.ENOSPC},
        OSError,
        "cannot write state.json: No space left on device",
    ),
    (
        StorageError("open", "root", "it is a file"),
        {"action": "open", "path": "root", "errno": None},
        OSError,
        "it is a file",
    ),
]
each_error = pytest.mark.parametrize(
    ("error", "fields", "parent", "words"),
    SAMPLES,
    ids=[f"{type(error).__name__}-{number}" for number, (error, *_) in enumerate(SAMPLES)],
)


DEFINED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SessionStoreError)
]


def test_there_is_a_sample_of_every_error() -> None:
    named = {kind for kind in DEFINED if kind is not SessionStoreError}
    assert {type(error) for error, *_ in SAMPLES} == named
    assert all(getattr(sessionstore, kind.__name__) is kind for kind in named)


# Each error: its builtin parent, the parameters of its constructor, and its fields. A program may
# catch by the one and read the others, so that this table changes with the public interface only.
REFUSALS: dict[str, tuple[str, str, str]] = {
    "ArchiveRefused": ("ValueError", "archive reason *member", "archive member reason"),
    "CancellationRequested": (
        "RuntimeError",
        "session_id reason *requested_at *by",
        "by reason requested_at session_id",
    ),
    "CheckpointNotFound": (
        "LookupError",
        "session_id checkpoint_id *available",
        "available checkpoint_id session_id",
    ),
    "ClaimLost": ("RuntimeError", "session_id reason", "reason session_id"),
    "DurabilityUncertain": (
        "OSError",
        "session_id revision cause journal",
        "errno journal revision session_id",
    ),
    "InvalidQuery": ("ValueError", "parameter reason", "parameter reason"),
    "InvalidSessionId": ("ValueError", "session_id reason *kind", "reason session_id"),
    "NotResumable": (
        "RuntimeError",
        "session_id reason *checkpoint_id *available *wanted *parameter *remedy",
        "available checkpoint_id reason session_id",
    ),
    "NotStorable": (
        "ValueError",
        "session_id path reason result",
        "path reason result session_id",
    ),
    "RevisionConflict": (
        "RuntimeError",
        "session_id *expected *found *owner *detail",
        "detail expected found owner session_id",
    ),
    "SessionClaimed": (
        "BlockingIOError",
        "session_id owner *reason *is_unknown *is_orphaned *is_own",
        "errno is_orphaned is_own is_unknown owner reason session_id",
    ),
    "SessionCorrupt": ("ValueError", "session_id file reason", "file reason session_id"),
    "SessionEnded": (
        "NotResumable",
        "session_id state",
        "available checkpoint_id reason session_id state",
    ),
    "SessionExists": ("FileExistsError", "session_id *wanted *found *is_own", "errno session_id"),
    "SessionNotFound": ("LookupError", "session_id store", "session_id store"),
    "StateTypeMismatch": (
        "TypeError",
        "session_id state_type reason",
        "reason session_id state_type",
    ),
    "StepChanged": (
        "ValueError",
        "session_id step kept_at reason",
        "kept_at reason session_id step",
    ),
    "StepUnsettled": (
        "RuntimeError",
        "session_id step began_at pid host",
        "began_at host pid session_id step",
    ),
    "StorageError": ("OSError", "action path cause reason", "action errno path"),
    "WatchTimedOut": ("TimeoutError", "seconds waiting", "errno seconds waiting"),
}


def test_no_typed_refusal_is_lost() -> None:
    found = {}
    for error, *_ in SAMPLES:
        kind = type(error)
        *base, parent = kind.__bases__
        # SessionEnded alone is a kind of another refusal.
        assert base == ([] if parent is NotResumable else [SessionStoreError])
        parameters = " ".join(
            f"{'*' if one.kind is one.KEYWORD_ONLY else ''}{name}"
            for name, one in inspect.signature(kind).parameters.items()
        )
        fields = {*vars(error), *(["errno"] if isinstance(error, OSError) else [])}
        found[kind.__name__] = (parent.__name__, parameters, " ".join(sorted(fields - {"advice"})))
    assert found == REFUSALS
    assert {*found, "SessionStoreError"} == {kind.__name__ for kind in DEFINED}
    assert SessionStoreError.__bases__ == (Exception,)


@each_error
def test_an_error_has_our_base_and_the_nearest_builtin(
    error: SessionStoreError, fields: dict[str, Any], parent: type[Exception], words: str
) -> None:
    assert isinstance(error, SessionStoreError)
    if parent is NotResumable:
        assert type(error).__bases__ == (NotResumable,)
        return
    assert type(error).__bases__ == (SessionStoreError, parent)
    assert parent.__module__ == "builtins"


@each_error
def test_an_error_carries_its_facts_as_fields_and_in_words(
    error: SessionStoreError, fields: dict[str, Any], parent: type[Exception], words: str
) -> None:
    assert {name: getattr(error, name) for name in fields} == fields
    assert words in str(error)
    assert "\n" not in str(error)


@each_error
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(
    error: SessionStoreError,
    fields: dict[str, Any],
    parent: type[Exception],
    words: str,
    protocol: int,
) -> None:
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args
    assert {name: getattr(back, name) for name in fields} == fields
    assert repr(back.__cause__) == repr(error.__cause__)
    assert str(copy.copy(error)) == str(copy.deepcopy(error)) == str(error)


def test_the_page_that_a_refused_state_type_names_tells_of_it() -> None:
    *_, page = str(StateTypeMismatch("s-1", "MyState", "currency: Field required")).split()
    told = (CHECKOUT / page).read_text(encoding="utf-8")
    assert "StateTypeMismatch" in told
    assert "currency: Field required" in told


def test_a_cause_and_notes_survive_pickling() -> None:
    try:
        raise NotStorable("s-1", "x", "bad") from ValueError("inner")
    except NotStorable as error:
        error.add_note("while leaving")
        back = pickle.loads(pickle.dumps(error))
    assert isinstance(back.__cause__, ValueError)
    assert back.__cause__.args == ("inner",)
    assert back.__notes__ == ["while leaving"]


def test_the_refusal_of_a_real_save_survives_pickling() -> None:
    with SessionStore(MemoryBackend()).create("triage") as session:
        session.state.data_buffer["x"] = "\ud800"
        with pytest.raises(NotStorable) as refused:
            session.save()
        session.state.data_buffer.clear()
    back = pickle.loads(pickle.dumps(refused.value))
    assert (back.path, str(back)) == ("data_buffer.x", str(refused.value))
    assert type(back.__cause__) is type(refused.value.__cause__)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE])
def test_a_storage_error_says_what_to_do_and_has_the_systems_error_as_cause(code: int) -> None:
    cause = OSError(code, "refused")
    error = StorageError("write", "state.json", cause)
    assert error.errno == code
    assert error.__cause__ is cause
    assert len(str(error)) > len("cannot write state.json: refused; ")


@pytest.mark.parametrize(
    ("error", "fact"),
    [
        (SessionExists("s-1"), "s-1 exists already"),
        (SessionClaimed("s-1", reason="x", is_unknown=True), "left no record yet (x)"),
        (SessionClaimed("s-1", OWNER, reason="pid 4 is gone", is_orphaned=True), "pid 4 is gone"),
        (SessionCorrupt("s-1", "f", "torn"), "s-1: f is damaged: torn"),
        (NotResumable("s-1", "no", available=["c1"], wanted="be forked"), "cannot be forked: no"),
        (InvalidQuery("order", "no such"), "order: no such"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_happened_can_be_told_apart_from_what_to_do(
    error: SessionStoreError, fact: str
) -> None:
    assert error.fact.endswith(fact)
    assert str(error) == (f"{error.fact}; {error.advice}" if error.advice else error.fact)
    back = pickle.loads(pickle.dumps(error))
    assert (back.fact, back.advice, str(back)) == (error.fact, error.advice, str(error))


HOSTILE = "\x1b[31m\x07\r\n\u202e\u200d\u2028\ud800\x9b2J"


@pytest.mark.parametrize(
    "error",
    [
        InvalidSessionId(HOSTILE, "no"),
        SessionNotFound(HOSTILE, HOSTILE),
        SessionExists(HOSTILE),
        SessionClaimed(HOSTILE, SessionOwner(pid=1, command=HOSTILE, host=HOSTILE)),
        RevisionConflict(
            HOSTILE, expected=1, found=2, owner=SessionOwner(pid=1, command=HOSTILE, host=HOSTILE)
        ),
        SessionCorrupt(HOSTILE, HOSTILE, "torn"),
        StateTypeMismatch(HOSTILE, "MyState", "no"),
        NotStorable(HOSTILE, HOSTILE, "no"),
        NotResumable(HOSTILE, "no", available=[HOSTILE]),
        ClaimLost(HOSTILE, "no"),
        DurabilityUncertain(HOSTILE, 1, FULL_DISK),
        StorageError("write", HOSTILE, FULL_DISK),
    ],
    ids=lambda error: type(error).__name__,
)
def test_hostile_text_in_ids_and_paths_is_escaped_in_messages(error: SessionStoreError) -> None:
    message = str(error)
    assert message.isprintable(), ascii(message)
    assert r"\x1b" in message
    assert pickle.loads(pickle.dumps(error)).args == error.args


def test_hostile_text_in_a_state_is_escaped_where_it_is_refused() -> None:
    with SessionStore(MemoryBackend()).create("triage", session_id="s-1") as session:
        session.state.data_buffer = {HOSTILE: {1: HOSTILE}}
        with pytest.raises(NotStorable) as refused:
            session.save()
        assert str(refused.value).isprintable()
        session.state.data_buffer = {}
        session.state.status = HOSTILE  # type: ignore[assignment]  # the claim
        with pytest.raises(NotStorable) as refused:
            session.save()
        assert str(refused.value).isprintable()
        session.complete()


def test_a_very_long_id_does_not_fill_a_log() -> None:
    assert len(str(InvalidSessionId("x" * 100_000, "no"))) < 500
    assert len(str(NotStorable("s-1", "x" * 100_000, "no"))) < 1000
