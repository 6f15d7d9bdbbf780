"""States and checkpoints that were mutated at random: loaded, or refused within bounded memory."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore import (
    SessionStore,
    SessionStoreError,
)
from tests.faults.support.hostile import (
    counted,
    outcomes,
)
from tests.support.cli import GONE, acting, invoke, put, state
from tests.support.processes import (
    Child,
    left_active,
    needs_linux,
    new_session,
    session_path,
    state_path,
)

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"

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
    if answers["claim"] != "ok" or json.loads(content)["status"] != "active":
        assert path.read_bytes() == content
    else:  # the claim recorded that the process died which ran it
        assert store.load("s1").recovery is not None
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
    with Child("faults.test_fuzz.load_poor", tmp_path, 700 << 20) as child:
        told = child.hear()
    for name in (*bombs, "sparse"):
        assert told[name]["load"] == "SessionCorrupt", (name, told[name])
    assert told["sound"]["load"] == "ok"
    assert {answers["find"] for answers in told.values()} == {"ok"}
    counted(len(bombs) + 1)
