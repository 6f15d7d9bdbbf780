"""Whatever lies in a store: it is refused with a typed error, kept, and breaks nothing else."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import (
    NotResumable,
    SessionCorrupt,
    SessionStore,
    StorageError,
)
from tests.faults.support.hostile import (
    assert_damage,
    checkpoint_path,
    counted,
    outcomes,
)
from tests.support.processes import (
    Child,
    leftovers,
    needs_linux,
    needs_root,
    state_path,
    tree,
)

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"

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
