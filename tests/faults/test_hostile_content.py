"""Whatever lies in a store: it is refused with a typed error, kept, and breaks nothing else."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore import (
    InvalidSessionId,
    NotResumable,
    SessionCorrupt,
    SessionStore,
    SessionStoreError,
    StorageError,
)
from tests.faults.support.tally import tally
from tests.support.cli import GONE, acting, invoke, put, state
from tests.support.processes import (
    Child,
    left_active,
    leftovers,
    needs_linux,
    needs_root,
    new_session,
    session_path,
    state_path,
    tree,
)

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"


def counted(cases: int, promise: int = 10) -> None:
    tally("corrupt inputs", promise=promise, cases=cases)


def checkpoint_path(root: Path, session_id: str = "s1") -> Path:
    (found,) = (session_path(root, session_id) / "checkpoints").iterdir()
    return found


def separate_checkpoint(root: Path) -> Path:
    """Return the checkpoint, which no longer shares its bytes with the state."""
    path = checkpoint_path(root)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


def outcomes(store: SessionStore[Any], session_id: str = "s1") -> dict[str, str]:
    """Use every door to a session; return how each answered. Nothing untyped may come out."""

    def taken(session: Any) -> None:
        session._writer.free()

    doors: dict[str, Callable[[], object]] = {
        "load": lambda: store.load(session_id),
        "liveness": lambda: store.liveness(session_id),
        "checkpoints": lambda: store.checkpoints(session_id),
        "load_checkpoint": lambda: store.load_checkpoint(session_id),
        "claim": lambda: taken(store.claim(session_id, force=True)),
        "find": lambda: store.find(limit=None),
        "recover": lambda: store.recover(dry_run=True),
    }
    answers, unprintable = dict[str, str](), 0
    for name, door in doors.items():
        try:
            door()
            answers[name] = "ok"
        except SessionStoreError as error:
            answers[name] = type(error).__name__
            unprintable += not str(error).isprintable()
    assert not unprintable
    return answers


def assert_damage(root: Path, reason: str = "") -> None:
    """Check that the state of s1 counts as damaged everywhere, is kept, and hides no other."""
    path = state_path(root, "s1")
    size = os.lstat(path).st_size
    store = SessionStore(root)
    with pytest.raises(SessionCorrupt) as caught:
        store.load("s1")
    assert reason in caught.value.reason
    answers = outcomes(store)
    for door in ("load", "liveness", "load_checkpoint", "claim"):
        assert answers[door] == "SessionCorrupt", (door, answers)
    assert answers["find"] == answers["recover"] == "ok"
    found = {item.session_id: item.damaged is not None for item in store.find().items}
    assert found == {"s1": True, "sound": False}
    with pytest.raises(SessionCorrupt):
        store.delete("s1")
    assert os.lstat(path).st_size == size


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a session to damage and a sound one."""
    place = tmp_path / "root"
    new_session(place)
    new_session(place, "sound")
    separate_checkpoint(place)
    return place


# --- cut off, emptied, blown up ------------------------------------------------------------------


def test_a_state_that_is_cut_off_anywhere_is_damage(root: Path) -> None:
    path = state_path(root, "s1")
    whole = path.read_bytes()
    store = SessionStore(root)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SessionCorrupt):
            store.load("s1")
        if EVERYTHING or length % 97 == 0:
            assert_damage(root)
    path.write_bytes(whole)
    assert store.load("s1").revision == 2
    counted(len(whole))


def test_a_checkpoint_that_is_cut_off_anywhere_is_never_resumed_from(root: Path) -> None:
    path = checkpoint_path(root)
    whole = path.read_bytes()
    state_before = state_path(root, "s1").read_bytes()
    store = SessionStore(root)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SessionCorrupt):
            store.load_checkpoint("s1")
        if EVERYTHING or length % 97 == 0:
            with pytest.raises(NotResumable):
                store.resume("s1")
            assert store.checkpoints("s1")[0].damaged
            assert [item.session_id for item in store.find(resumable=True).items] == ["sound"]
    assert path.read_bytes() == whole[:-1]
    assert state_path(root, "s1").read_bytes() == state_before
    path.write_bytes(whole)
    store.resume("s1").release()
    counted(len(whole))


@pytest.mark.parametrize("how", ["empty", "zeroed", "zero head", "zero tail", "0xff"])
def test_a_state_of_zeros_is_damage(root: Path, how: str) -> None:
    path = state_path(root, "s1")
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "zeroed": bytes(len(whole)),
            "zero head": bytes(half) + whole[half:],
            "zero tail": whole[:half] + bytes(half),
            "0xff": b"\xff" * len(whole),
        }[how]
    )
    assert_damage(root, {"empty": "empty", "zeroed": "are zero"}.get(how, ""))
    counted(1)


@needs_linux("sparse files")
@pytest.mark.parametrize("size", [256 * 1024**2 + 1, 1 << 32, 1 << 42])
def test_a_huge_file_is_refused_without_being_read(root: Path, size: int) -> None:
    path = state_path(root, "s1")
    os.truncate(path, size)
    if path.stat().st_blocks * 512 >= size:
        pytest.skip("the file system has no sparse files")
    os.truncate(checkpoint_path(root, "sound"), size)  # the very file of its state
    # In a process of its own: the peak of this one may be from a large test before.
    with Child("support.failing_children.open_every_door", root, "s1") as child:
        told = child.hear()
    assert len(told["refused"]) == 4
    assert all("bytes are more than" in reason for reason in told["refused"])
    assert told["damaged"] == told["listed"] > 0
    assert told["took"] < 64 * 1024  # KiB
    counted(1)


DEPTHS = [150, 200, 250, 1000, 10_000, 1_000_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("shape", ["[]", "{}"])
@pytest.mark.parametrize("place", ["whole", "data", "owner"])
def test_deep_nesting_is_damage_and_no_crash(
    root: Path, depth: int, shape: str, place: str
) -> None:
    opening, closing = ("[", "]") if shape == "[]" else ('{"a":', "}")
    deep = opening * depth + "1" + closing * depth
    path = state_path(root, "s1")
    if place == "whole":
        path.write_text(deep)
    else:
        name = "data_buffer" if place == "data" else "owner"
        told = json.loads(path.read_text())
        told[name] = "HERE"
        inner = deep if place == "owner" else f'{{"deep": {deep}}}'
        path.write_text(json.dumps(told).replace('"HERE"', inner))
    answers = outcomes(SessionStore(root))
    assert answers["find"] == answers["recover"] == "ok"
    if depth >= 250:
        assert_damage(root)
    counted(1)


# --- not the text that it should be --------------------------------------------------------------


def encodings(text: str) -> Iterator[tuple[str, bytes]]:
    yield "BOM", b"\xef\xbb\xbf" + text.encode()
    for name in ("utf-16", "utf-16-be", "utf-32", "utf-7", "cp037"):
        if name != "utf-7":
            yield name, text.encode(name)
    yield "latin-1", text.replace("goal", "g\xf6al").encode("latin-1")
    for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\0"):
        yield repr(bad), text.encode().replace(b"goal", bad)
    yield "lone surrogate", text.replace("goal", "\\ud800").encode()
    yield "two documents", (text + text).encode()
    yield "trailing comma", (text[:-1] + ",}").encode()
    yield "single quotes", text.replace('"', "'").encode()
    yield "NaN", text.replace('"revision":2', '"revision":NaN').encode()
    yield "a list", f"[{text}]".encode()
    yield "text", json.dumps(text).encode()
    yield "null", b"null"
    yield "a number", b"1e999"


def test_what_is_not_utf8_json_of_one_object_is_damage(root: Path) -> None:
    path = state_path(root, "s1")
    text = path.read_text()
    cases = list(encodings(text))
    for name, data in cases:
        assert data != text.encode(), name
        path.write_bytes(data)
        assert_damage(root, "byte order mark" if name in ("BOM", "utf-16") else "")
    counted(len(cases))


def test_of_doubled_keys_the_last_counts_at_every_level(root: Path) -> None:
    path = state_path(root, "s1")
    text = path.read_text()
    path.write_text(
        '{"revision": 77, "session_id": "other", "status": "active", "owner": 5,'
        + text[1:].replace('"current_node":', '"steps_executed": 9, "current_node":', 1)
    )
    loaded = SessionStore(root).load("s1")
    assert (loaded.revision, loaded.status, loaded.owner) == (2, "paused", None)
    assert loaded.progress.steps_executed == 0
    path.write_text(text[:-1] + ', "session_id": "other"}')
    assert_damage(root, "another session")
    counted(2)


# --- something else than files -------------------------------------------------------------------

KINDS = ["FIFO", "socket", "device", "directory", "link to a device", "link to itself", "link"]


def put_instead(kind: str, path: Path, outside: Path) -> None:
    outside.mkdir()
    if path.is_dir():
        path.rename(outside / "moved")
    else:
        (outside / "secret").write_bytes(path.read_bytes())
        path.unlink()
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            directory = os.open(path.parent, os.O_RDONLY)  # paths of sockets are short
            try:
                listening.bind(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path)
    else:
        path.symlink_to(outside / "secret")


@needs_root("makes devices")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["state", "checkpoint", "marker", "lock"])
def test_something_else_in_place_of_a_file_is_never_followed_nor_waited_for(
    root: Path, tmp_path: Path, kind: str, place: str
) -> None:
    path = {
        "state": state_path(root, "s1"),
        "checkpoint": checkpoint_path(root),
        "marker": root / "sessionstore.json",
        "lock": root / "locks" / "s1.lock",
    }[place]
    put_instead(kind, path, tmp_path / "outside")
    before = tree(tmp_path / "outside")
    if place == "marker":
        with pytest.raises(StorageError):
            SessionStore(root)
    elif place == "state":
        assert_damage(root)
    elif place == "checkpoint":
        store = SessionStore(root)
        with pytest.raises(SessionCorrupt):
            store.load_checkpoint("s1")
        with pytest.raises(NotResumable):
            store.resume("s1")
        assert store.checkpoints("s1")[0].damaged
    else:
        store = SessionStore(root)
        for refused in (store.claim, store.resume, store.delete):
            with pytest.raises(StorageError):
                refused("s1")
        assert store.load("s1").revision == 2
    assert tree(tmp_path / "outside") == before
    assert leftovers(root) == []
    counted(1, promise=11)


# --- ids -----------------------------------------------------------------------------------------

ESCAPES = [
    "../s1", "../../etc/passwd", "..", "...", "....//", "./s1", "s1/", "s1/.", "s1/..", "/s1",
    "//s1", "/etc/passwd", "/proc/self/root", "sound/../s1", "s1/state.json", "s1/checkpoints",
    "..\\s1", "..\\..\\windows", "s1\\..", "C:\\s1", "C:s1", "\\\\host\\share", "\\\\?\\C:\\s1",
    "\\\\.\\pipe\\x", "file:///etc/passwd", "s1:stream", "s1::$DATA", "s1:$INDEX_ALLOCATION",
    "%2e%2e%2fs1", "%2e%2e/s1", "..%2fs1", "..%252fs1", "%c0%ae%c0%ae/s1", "..%c0%afs1",
    "\u2025/s1", "\uff0e\uff0e\uff0fs1", "s1\u2215x", "s1\u2044x", "\u2024\u2024/s1", "..\u29f8s1",
    "s1\0", "s1\0.json", "\0", "s1\n", "s1\r\n", "\ts1", " s1", "s1 ", "s1.", "s1. ", "s1..",
    "~", "~root", "$HOME", "${HOME}", "`id`", "$(id)", "s1;id", "s1|id", "s1&id", "s1>x", "*", "s?",
    "[s]1", "{s1,s2}", "-rf", "--help", "-", ".s1", ".new-s1", ".git", ".", "", " ", "_s1",
    "con", "CON", "con.txt", "aux.json", "NUL", "prn.", "COM1", "com9.log", "LPT1", "lpt0",
    "CONIN$", "conout$", "clock$", "com\u00b9", "s1\u202ex", "s1\u200b", "\ufeffs1", "s1\u0301",
    "\u0455\u0031", "s\u0131", "\u017f1", "\uff53\uff11", "s1\x7f", "s1\x1b[31m", "s1\x9b",
    "\ud800", "\udcff",
    "a" * 129, "a" * 255, "a" * 5000, "../" * 1000 + "etc/passwd", "é", "日本",
    "s1\u2028", "s1\u2029", "s1\u0085",
]  # fmt: skip


def test_no_id_leads_out_of_the_store_through_any_door(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "root"
    new_session(place)
    before = tree(tmp_path)
    store = SessionStore(place)
    for name in ESCAPES:
        doors: list[Callable[[], object]] = [
            lambda: store.create("goal", session_id=name),  # noqa: B023 - called in this turn
            lambda: store.claim(name),  # noqa: B023
            lambda: store.claim(name, force=True),  # noqa: B023
            lambda: store.resume(name),  # noqa: B023
            lambda: store.resume("s1", checkpoint_id=name),  # noqa: B023
            lambda: store.load(name),  # noqa: B023
            lambda: store.exists(name),  # noqa: B023
            lambda: store.liveness(name),  # noqa: B023
            lambda: store.checkpoints(name),  # noqa: B023
            lambda: store.load_checkpoint(name),  # noqa: B023
            lambda: store.load_checkpoint("s1", name),  # noqa: B023
            lambda: store.delete(name),  # noqa: B023
            lambda: store.delete(name, force=True),  # noqa: B023
            lambda: store.recover(assume_dead=[name]),  # noqa: B023
            lambda: store.recover(assume_dead=name),  # noqa: B023
        ]
        for number, door in enumerate(doors):
            with pytest.raises(InvalidSessionId) as caught:
                door()
            assert str(caught.value).isprintable(), (name, number)
    assert tree(tmp_path) == before
    tally("corrupt inputs", promise=11, cases=len(ESCAPES) * 15)


def test_no_id_leads_out_of_the_store_through_the_command_line(tmp_path: Path) -> None:
    place = tmp_path / "a" / "root"
    new_session(place)
    before = tree(tmp_path)
    cases = 0
    for name in ESCAPES:
        if name == "-":  # ids from stdin
            continue
        with suppress(UnicodeEncodeError):
            name.encode()
            for args in (("show", "--", name), ("recover", "--apply", f"--assume-dead={name}")):
                result = invoke(place, *args)
                assert result.exit_code in (1, 2, 3), (args, result.output)
                assert not acting(result.stdout), args
                assert not acting(result.stderr), args
                cases += 1
    assert tree(tmp_path) == before
    tally("corrupt inputs", promise=11, cases=cases)


@pytest.mark.parametrize("field", ["latest_checkpoint_id", "session_id"])
def test_no_id_inside_a_state_leads_out_of_the_store(tmp_path: Path, field: str) -> None:
    place = tmp_path / "root"
    new_session(place)
    path = state_path(place, "s1")
    sound = json.loads(path.read_text())
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "passwd.json").write_text(path.read_text())
    store = SessionStore(place)
    for name in [*ESCAPES, "../../../../etc/passwd", str(outside / "passwd")]:
        path.write_text(json.dumps({**sound, field: name}))
        before = tree(tmp_path)
        answers = outcomes(store)
        assert answers["load_checkpoint"] != "ok", name
        assert answers["find"] == "ok"
        assert not store.find(resumable=True).items
        with pytest.raises(SessionStoreError):
            store.resume("s1")
        assert tree(tmp_path).keys() == before.keys()
    tally("corrupt inputs", promise=11, cases=len(ESCAPES) + 2)


# --- text that acts ------------------------------------------------------------------------------

ACTING = {
    "colour": "\x1b[31mred\x1b[0m", "clear": "\x1b[2J\x1b[H", "title": "\x1b]0;owned\x07",
    "8-bit CSI": "\x9b31m", "8-bit OSC": "\x9d0;x\x9c", "clipboard": "\x1b]52;c;aWQ=\x07",
    "link": "\x1b]8;;http://x\x1b\\y\x1b]8;;\x1b\\", "DCS": "\x1bP$qm\x1b\\", "reset": "\x1bc",
    "alternate": "\x1b[?1049h", "report": "\x1b[6n", "bell": "\a", "backspace": "secret\b\b\b",
    "return": "ok\rbad", "newline": "one\ntwo", "vertical": "a\vb\fc", "delete": "a\x7f",
    "NEL": "a\x85b", "separators": "a\u2028b\u2029c", "RLO": "\u202egpj.exe", "LRO": "\u202dx",
    "isolates": "\u2066a\u2067b\u2068c\u2069", "marks": "\u200e\u200f\u061c", "pop": "\u202c",
    "embeddings": "\u202aa\u202bb", "invisible": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "tags": "a\U000e0041\U000e007f", "shy": "a\u00adb", "null": "a\0b", "SO": "\x0e\x0f",
    "markup": "[red]x[/red][link=http://x]y[/link]", "private": "\ue000\U000f0000",
    "interlinear": "\ufff9a\ufffab\ufffb",
}  # fmt: skip


def hostile_session(place: Path, session_id: str, text: str, status: str) -> None:
    """Write a session that carries ``text`` in every field that takes any."""
    person = {
        "pid": GONE, "host": text, "boot_id": text, "command": text, "claimed_at": text,
        "pid_namespace": text, "token": text, "start_token": text, text: text,
    }  # fmt: skip
    told = state(
        session_id,
        status=status,
        goal_id=text,
        pid=GONE,
        owner=person,
        recovery={"count": 1, "at": text, "reason": text, "owner": person},
        result={"success": False, "error": text, "output": {text: text}},
        progress={
            "current_node": text, "paused_at": text, "resume_from": text, "path": [text],
            "nodes_with_failures": [text], "retry_details": {text: 1},
            "node_visit_counts": {text: 1}, "execution_quality": text,
        },
        metrics={"nodes_executed": [text], "edges_traversed": [text]},
        timestamps={"started_at": text, "updated_at": text, "completed_at": text},
        problems=[{text: text}],
        decisions=[{text: text}],
        data_buffer={text: {text: [text]}},
        input_data={text: text},
        checkpoint_enabled=True,
        latest_checkpoint_id=text,
        active_triggers=[text],
        trigger_tasks={text: text},
        **dict.fromkeys(
            (
                "schema_version", "agent_id", "stream_id", "correlation_id", "entry_point",
                "current_run_id", "isolation_level", "incarnation", "forked_from",
            ),
            text,
        ),
    )  # fmt: skip
    kept = put(place, session_id, told).parent / "checkpoints"
    kept.mkdir()
    foreign = {
        "checkpoint_id": text, "checkpoint_type": text, "session_id": session_id,
        "created_at": text, "current_node": text, "description": text,
    }  # fmt: skip
    (kept / "cp_1.json").write_text(json.dumps(foreign))
    (kept / "cp_2.json").write_text(json.dumps({**foreign, "session_id": text}))


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("status", ["active", "paused", "failed"])
def test_text_that_acts_is_escaped_in_every_field_of_every_command(
    tmp_path: Path, form: str, status: str
) -> None:
    cases = 0
    for number, text in enumerate(ACTING.values()):
        hostile_session(tmp_path, f"h{number}", text, status)
    put(tmp_path, "torn", "{" + ACTING["title"])
    runs = [("ls", "-n", "0"), ("recover",), ("recover", "--mark-as", "paused")]
    runs += [("show", f"h{number}") for number in range(len(ACTING))]
    runs += [("show", "torn")]
    for args in runs:
        result = invoke(tmp_path, *args, "-o", form, "--color", "always")
        assert result.exit_code in (0, 5), (args, result.output)
        for output in (result.stdout, result.stderr):
            assert not acting(output), (args, acting(output))
            hidden = {c for c in output if unicodedata.category(c) in ("Co", "Cn")}
            assert not hidden, (args, hidden)
        if form == "json":
            assert result.stdout.isascii()
            json.loads(result.stdout)
        cases += 1
    counted(cases * len(ACTING), promise=11)


# --- fuzz ----------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, 0, -1,
    2**31, 2**63, 2**64, 10**4000, 10**4300 - 1, -(10**4299), 1.5, 1e308, "", "x",
    "\0", "active", "9" * 5000, [], [[]], {}, {"a": {}}, [None], "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "../x",
]  # fmt: skip


@pytest.fixture(scope="module")
def real_states(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """States that the store wrote: paused with a checkpoint, failed, active, swept."""
    place = tmp_path_factory.mktemp("real") / "root"
    store = SessionStore(place)
    new_session(place, "s1")
    found = [state_path(place, "s1").read_bytes()]
    store.resume("s1").fail("no")
    found.append(state_path(place, "s1").read_bytes())
    left_active(place, "s2", pid=GONE)
    found.append(state_path(place, "s2").read_bytes().replace(b'"s2"', b'"s1"'))
    store.recover()
    found.append(state_path(place, "s2").read_bytes().replace(b'"s2"', b'"s1"'))
    return found


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from paths_in(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def mutate(data: st.DataObject, whole: bytes) -> bytes:
    """Return a state with some values of another kind, or some bytes changed."""
    if data.draw(st.booleans()):
        told = json.loads(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from(list(paths_in(told))))
            told = replaced(told, path, data.draw(st.sampled_from(ODD)))
        return json.dumps(told).encode()
    piece = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(piece) - 1, 0)))
        upto = at + data.draw(st.integers(0, 20))
        piece[at:upto] = data.draw(
            st.one_of(
                st.binary(max_size=6), st.sampled_from([b"{", b"[", b'"', b"\\u", b"9" * 5000])
            )
        )
    return bytes(piece)


@settings(
    max_examples=2000 if EVERYTHING else 150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_mutated_state_is_loaded_or_refused_with_a_typed_error(
    root: Path, real_states: list[bytes], data: st.DataObject
) -> None:
    content = mutate(data, data.draw(st.sampled_from(real_states)))
    path = state_path(root, "s1")
    path.write_bytes(content)
    store = SessionStore(root)
    answers = outcomes(store)
    assert answers["find"] == answers["recover"] == "ok", answers
    assert path.read_bytes() == content
    for args in (("ls", "-o", "json"), ("show", "s1"), ("ls",)):
        result = invoke(root, *args)
        assert result.exit_code in (0, 1, 5), result.output
        assert not acting(result.output)
    if answers["claim"] == "ok":  # whatever loads can be saved again, or is refused by name
        with suppress(SessionStoreError):
            session = store.claim("s1", force=True)
            try:
                session.save()
            finally:
                session._writer.free()
    counted(1)


@settings(
    max_examples=1000 if EVERYTHING else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_mutated_checkpoint_is_resumed_or_refused_with_a_typed_error(
    root: Path, real_states: list[bytes], data: st.DataObject
) -> None:
    content = mutate(data, data.draw(st.sampled_from(real_states)))
    path = session_path(root, "s1") / "checkpoints" / "cp_fuzzed.json"
    path.write_bytes(content)
    store = SessionStore(root)
    assert any(item.checkpoint_id == "cp_fuzzed" for item in store.checkpoints("s1"))
    with suppress(SessionStoreError):
        store.load_checkpoint("s1", "cp_fuzzed")
    with suppress(SessionStoreError):
        session = store.resume("s1", checkpoint_id="cp_fuzzed")
        session._writer.free()
    for kept in path.parent.iterdir():  # a resume keeps the state before it
        if kept.name.startswith("cp_before"):
            kept.unlink()
    assert path.read_bytes() == content
    state_path(root, "s1").write_bytes(real_states[0])
    counted(1)


def load_poor(root: str, memory: str) -> None:
    """Load every session with so many bytes of address space; say what came of it."""
    store = SessionStore(root)
    store.find(limit=None)  # imports what is imported late
    from tests.support.children import say

    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + int(memory)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answers = {}
    for session_id in sorted(os.listdir(os.path.join(root, "sessions"))):
        answers[session_id] = outcomes(store, session_id)
    say(**answers)


@needs_linux("RLIMIT_AS")
def test_hostile_files_are_refused_within_bounded_memory(tmp_path: Path) -> None:
    """Small files that want much memory, and large ones that are not to be read at all."""
    new_session(tmp_path, "sound")
    sound = state("x", data_buffer="HERE")
    bombs = {
        "arrays": "[" * 5_000_000,
        "objects": '{"a":' * 1_000_000,
        "empties": "[" + "{}," * 1_000_000 + "{}]",
        "digits": "9" * 5_000_000,
        "escapes": '"' + "\\ud83d\\ude00" * 500_000,
    }
    for name, bomb in bombs.items():
        put(tmp_path, name, json.dumps({**sound, "session_id": name}).replace('"HERE"', bomb))
    os.truncate(put(tmp_path, "sparse"), 1 << 40)
    with Child("faults.test_hostile_content.load_poor", tmp_path, 700 << 20) as child:
        told = child.hear()
    for name in (*bombs, "sparse"):
        assert told[name]["load"] == "SessionCorrupt", (name, told[name])
    assert told["sound"]["load"] == "ok"
    assert {answers["find"] for answers in told.values()} == {"ok"}
    counted(len(bombs) + 1)


# --- a root that others can write to -------------------------------------------------------------


@needs_linux("modes")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o772, 0o3777])
@pytest.mark.parametrize("place", ["", "sessions", "locks"])
def test_a_store_that_everybody_can_write_to_is_refused_with_the_reason(
    tmp_path: Path, mode: int, place: str
) -> None:
    root = tmp_path / "root"
    new_session(root)
    before = tree(root)
    opened = SessionStore(root)  # before anybody could
    (root / place).chmod(mode)
    with pytest.raises(StorageError, match="everybody") as caught:
        SessionStore(root)
    assert "chmod o-w" in str(caught.value)
    assert caught.value.path == str(root / place)
    with pytest.raises(StorageError, match="everybody"):
        opened.create("goal")  # its first write
    assert invoke(root, "ls").exit_code == 1
    assert tree(root) == before
    (root / place).chmod(0o700)
    assert SessionStore(root).load("s1").revision == 2
    counted(1, promise=11)


@needs_linux("modes")
def test_an_empty_directory_that_everybody_can_write_to_becomes_no_store(tmp_path: Path) -> None:
    """As when somebody names /tmp itself."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    with pytest.raises(StorageError, match="everybody"):
        SessionStore(place)
    assert list(place.iterdir()) == []
    with SessionStore(place / "mine").create("goal") as session:  # a directory in it is no harm
        session.complete()
    counted(2, promise=11)


@needs_linux("modes")
@pytest.mark.parametrize("place", ["", "sessions", "locks"])
def test_a_store_that_the_group_can_write_to_works_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    root = tmp_path / "root"
    new_session(root)
    caplog.clear()
    SessionStore(root).load("s1")
    assert caplog.records == []
    (root / place).chmod(0o770)
    store = SessionStore(root)
    store.load("s1")
    with store.claim("s1") as session:
        session.save()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "group" in record.getMessage()
    assert str(root / place) in record.getMessage()
    counted(1, promise=11)
