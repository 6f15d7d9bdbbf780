"""Sessions go out and come back: as archives, directories and streams, and while they are saved."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    FilesBackend,
    InvalidQuery,
    InvalidSessionId,
    MemoryBackend,
    SessionStore,
    StorageError,
)
from sessionstore.storage.backend import Backend
from tests.support.processes import (
    Child,
    edit_state,
    leftovers,
    needs_linux,
    new_session,
    read_state,
    rounds,
    session_path,
    state_path,
    tree,
)
from tests.support.transfer import Store, full, names

FORMS = ["x.tar.gz", "x.tgz", "x.tar", "x"]

# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_session_comes_back_as_the_bytes_that_it_was(
    tmp_path: Path, store: Store, other: Store, form: str
) -> None:
    directory = full(store)
    report = store.export_sessions(tmp_path / form)
    assert report.is_whole
    (out,) = report.exported
    assert (out.checkpoints, out.files, out.revision) == (4, 4, store.load("s1").revision)
    (come,) = other.import_sessions(tmp_path / form).imported
    assert (come.checkpoints, come.files, come.bytes) == (4, 4, out.bytes)
    arrived = session_path(tmp_path / "to", "s1")
    assert tree(arrived) == tree(directory)
    assert os.access(arrived / "work" / "run.sh", os.X_OK)
    assert not os.access(arrived / "empty file", os.X_OK)
    assert other.check().findings == ()
    with other.resume("s1") as session:
        assert session.state.data_buffer["step"] == 2
        session.complete()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_sessions_give_the_same_bytes(tmp_path: Path, store: Store, form: str) -> None:
    full(store, "s1")
    full(store, "s2")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    store.export_sessions(tmp_path / "a" / form)
    store.export_sessions(tmp_path / "b" / form)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_the_archive_can_be_read_by_other_tools_and_holds_no_links(
    tmp_path: Path, store: Store
) -> None:
    directory = full(store)
    store.export_sessions(tmp_path / "x.tar.gz")
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        members = tar.getmembers()
        assert all(member.isfile() or member.isdir() for member in members)
        assert members[-1].name == "manifest.json"
        kept = next(member for member in members if "/checkpoints/cp_pause" in member.name)
        content = tar.extractfile(kept)
        assert content is not None
        assert content.read() == (directory / "state.json").read_bytes()
        assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}


def test_everything_or_what_is_chosen_is_exported(
    tmp_path: Path, store: Store, other: Store
) -> None:
    new_session(tmp_path / "from", "paused")
    new_session(tmp_path / "from", "failed", checkpoint=False)
    assert names(store.export_sessions(tmp_path / "1.tar").exported) == ["failed", "paused"]
    assert names(store.export_sessions(tmp_path / "2", status="failed").exported) == ["failed"]
    twice = store.export_sessions(tmp_path / "3.tar.gz", ["paused", "paused"])
    assert names(twice.exported) == ["paused"]
    assert names(other.import_sessions(tmp_path / "3.tar.gz").imported) == ["paused"]
    assert store.export_sessions(tmp_path / "4", status="cancelled").exported == ()
    assert other.import_sessions(tmp_path / "4").is_whole
    with pytest.raises(InvalidQuery):
        store.export_sessions(tmp_path / "5", ["paused"], status="failed")
    with pytest.raises(InvalidSessionId):
        store.export_sessions(tmp_path / "5", ["../x"])
    assert not (tmp_path / "5").exists()


def test_backends_exchange_sessions(tmp_path: Path, store: Store) -> None:
    new_session(tmp_path / "from")
    memory: Backend = MemoryBackend()
    store.export_sessions(tmp_path / "x.tar.gz")
    SessionStore(memory).import_sessions(tmp_path / "x.tar.gz")
    assert SessionStore(memory).load("s1") == store.load("s1")
    back = io.BytesIO()
    assert SessionStore(memory).export_sessions(back).is_whole
    SessionStore(tmp_path / "to").import_sessions(io.BytesIO(back.getvalue()))
    assert tree(session_path(tmp_path / "to", "s1")) == tree(session_path(tmp_path / "from", "s1"))
    full(store, "s2")
    store.export_sessions(tmp_path / "y.tar.gz")
    with pytest.raises(StorageError, match="keeps no files"):
        SessionStore(MemoryBackend()).import_sessions(tmp_path / "y.tar.gz")


def test_an_export_of_the_original_framework_s_files_comes_back(
    tmp_path: Path, store: Store, other: Store
) -> None:
    new_session(tmp_path / "from")
    foreign = {"checkpoint_id": "cp_1", "session_id": "s1", "shared_memory": {"a": 1}}
    file = session_path(tmp_path / "from", "s1") / "checkpoints" / "cp_1.json"
    file.write_text(json.dumps(foreign))
    edit_state(tmp_path / "from", "s1", pid=4711, latest_checkpoint_id="cp_1")
    store.export_sessions(tmp_path / "x.tar.gz")
    other.import_sessions(tmp_path / "x.tar.gz")
    assert read_state(tmp_path / "to", "s1")["pid"] is None
    assert other.load_checkpoint("s1").data_buffer == {"a": 1}
    other.import_sessions(tmp_path / "x.tar.gz", session_id="s9")
    assert other.load_checkpoint("s9").data_buffer == {"a": 1}


# --- live sessions ------------------------------------------------------------------------------


def test_a_live_session_arrives_interrupted_and_without_its_owner(
    tmp_path: Path, store: Store, other: Store
) -> None:
    with Child("act", tmp_path / "from") as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        revision = owner.ask("save", a=1)["revision"]
        assert store.export_sessions(tmp_path / "x.tar.gz").is_whole
        assert owner.ask("save", a=2)["revision"] == revision + 1
    (come,) = other.import_sessions(tmp_path / "x.tar.gz").imported
    arrived = read_state(tmp_path / "to", "s1")
    assert (arrived["status"], arrived["owner"], arrived["pid"]) == ("failed", None, None)
    assert arrived["data_buffer"] == {"a": 1}
    assert arrived["revision"] == come.revision == revision + 1
    assert "was active when it was exported" in arrived["result"]["error"]
    assert f"pid {owner.pid}" in arrived["result"]["error"]
    (found,) = other.find(interrupted=True, resumable=True).items
    assert (found.session_id, found.recoveries) == ("s1", 0)
    with other.resume("s1", expected_revision=found.revision) as session:
        session.complete()


def test_state_and_checkpoints_are_of_one_moment_while_a_process_saves(
    tmp_path: Path, store: Store
) -> None:
    new_session(tmp_path / "from")
    revisions = set[int]()
    with Child("keep_few_until_killed", tmp_path / "from", "s1") as writer:
        writer.hear()
        for number in rounds("six revisions in 15 exports or more"):
            out = io.BytesIO()
            report = store.export_sessions(out)
            assert len(report.exported) == 1, report
            state, kept = in_archive(out.getvalue())
            assert state["latest_checkpoint_id"] in kept
            assert max(item["revision"] for item in kept.values()) <= state["revision"]
            revisions.add(state["revision"])
            into = SessionStore(MemoryBackend())
            (come,) = into.import_sessions(io.BytesIO(out.getvalue())).imported
            assert (come.revision, come.checkpoints) == (state["revision"] + 1, len(kept))
            if number >= 14 and len(revisions) > 5:  # it was saved meanwhile
                break


def in_archive(data: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the state and the checkpoints of the one session in an archive."""
    state: dict[str, Any] = {}
    kept: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            if member.name.endswith("/state.json"):
                state = json.load(content)
            elif "/checkpoints/" in member.name:
                kept[Path(member.name).stem] = json.load(content)
    return state, kept


def test_a_file_that_grows_meanwhile_is_taken_as_it_was_at_some_moment(
    tmp_path: Path, store: Store, other: Store
) -> None:
    new_session(tmp_path / "from")
    log = session_path(tmp_path / "from", "s1") / "log"
    with Child("append_until_killed", log) as writer:
        writer.hear()
        for number in range(10):
            assert store.export_sessions(tmp_path / f"{number}.tar.gz").is_whole
            target = f"copy{number}"
            assert other.import_sessions(tmp_path / f"{number}.tar.gz", session_id=target).is_whole
            got = (session_path(tmp_path / "to", target) / "log").read_bytes()
            assert log.read_bytes().startswith(got)


# --- what cannot be exported --------------------------------------------------------------------


def test_what_cannot_be_exported_stops_no_other(tmp_path: Path, store: Store, other: Store) -> None:
    for name in ("one", "torn", "two"):
        new_session(tmp_path / "from", name)
    state_path(tmp_path / "from", "torn").write_bytes(b"{")
    report = store.export_sessions(tmp_path / "x.tar.gz", ["one", "gone", "torn", "two"])
    assert names(report.exported) == ["one", "two"]
    assert names(report.missing) == ["gone"]
    assert names(report.damaged) == ["torn"]
    assert not report.is_whole
    assert names(other.import_sessions(tmp_path / "x.tar.gz").imported) == ["one", "two"]


@needs_linux("has FIFOs and abstract sockets")
def test_links_and_devices_are_left_out_and_told(
    tmp_path: Path, store: Store, other: Store
) -> None:
    directory = full(store)
    (tmp_path / "secret").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    (directory / "place").symlink_to(tmp_path)
    os.mkfifo(directory / "fifo")
    os.link(directory / "work" / "run.sh", directory / "hard")
    (directory / "checkpoints" / "cp_x.json").symlink_to(tmp_path / "secret")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(directory, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        report = store.export_sessions(tmp_path / "x.tar.gz")
    assert [text.partition(":")[0] for text in report.exported[0].omitted] == [
        "checkpoints/cp_x.json", "fifo", "link", "place", "socket",
    ]  # fmt: skip
    other.import_sessions(tmp_path / "x.tar.gz")
    arrived = tree(session_path(tmp_path / "to", "s1"))
    assert arrived["hard"] == b"#!/bin/sh\n"
    assert b"secret" not in arrived.values()


def test_left_overs_of_the_store_do_not_travel(tmp_path: Path, store: Store, other: Store) -> None:
    directory = full(store)
    (directory / ".new-0123456789abcdef").write_bytes(b"{")
    (directory / "checkpoints" / ".new-0123456789abcdef").write_bytes(b"{")
    store.export_sessions(tmp_path / "x.tar.gz")
    assert other.import_sessions(tmp_path / "x.tar.gz").is_whole
    assert leftovers(tmp_path / "to") == []


def test_names_of_any_bytes_travel(tmp_path: Path, store: Store, other: Store) -> None:
    directory = full(store)
    for name in (b"caf\xe9", "日本 \u202e\x1b[2J".encode(), b"x" * 255, b"back\\slash", b"-rf"):
        (directory / os.fsdecode(name)).write_bytes(name)
    for form in FORMS:
        assert store.export_sessions(tmp_path / form).is_whole
    for number, form in enumerate(FORMS):
        other.import_sessions(tmp_path / form, session_id=f"c{number}")
        arrived = tree(session_path(tmp_path / "to", f"c{number}"))
        assert arrived.keys() == tree(directory).keys()


@pytest.mark.parametrize("form", ["x.tar.gz", "x"])
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, store: Store, form: str) -> None:
    new_session(tmp_path / "from")

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.export_sessions(tmp_path / form, progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from"]


def test_a_stream_that_breaks_raises_its_own_error(store: Store, tmp_path: Path) -> None:
    full(store)
    end, start = os.pipe()
    os.close(end)
    with pytest.raises(BrokenPipeError), os.fdopen(start, "wb", buffering=0) as pipe:
        store.export_sessions(pipe)


def test_a_stream_that_cannot_be_searched_is_enough(
    tmp_path: Path, store: Store, other: Store
) -> None:
    full(store)
    data = io.BytesIO()
    store.export_sessions(data)
    end, start = os.pipe()

    def pour() -> None:
        with os.fdopen(start, "wb") as pipe:
            pipe.write(data.getvalue())

    writer = threading.Thread(target=pour)
    writer.start()
    with os.fdopen(end, "rb", buffering=0) as stream:
        assert names(other.import_sessions(stream).imported) == ["s1"]
    writer.join()


def test_a_compressed_archive_may_come_unpacked(tmp_path: Path, store: Store, other: Store) -> None:
    full(store)
    store.export_sessions(tmp_path / "x.tar.gz")
    plain = gzip.decompress((tmp_path / "x.tar.gz").read_bytes())
    assert names(other.import_sessions(io.BytesIO(plain)).imported) == ["s1"]


def test_it_can_be_awaited(tmp_path: Path, store: Store) -> None:
    full(store)

    async def work() -> list[str]:
        async with (
            AsyncSessionStore(tmp_path / "from") as one,
            AsyncSessionStore(tmp_path / "to") as two,
        ):
            assert (await one.export_sessions(tmp_path / "x.tar.gz", ["s1"])).is_whole
            return names((await two.import_sessions(tmp_path / "x.tar.gz")).imported)

    assert asyncio.run(work()) == ["s1"]


def test_it_tells_how_far_it_is(tmp_path: Path, store: Store, other: Store) -> None:
    for number in range(3):
        new_session(tmp_path / "from", f"s{number}")
    seen: list[tuple[int, int]] = []
    store.export_sessions(tmp_path / "x", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    seen.clear()
    other.import_sessions(tmp_path / "x", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_an_export_never_replaces_a_file(tmp_path: Path, store: Store) -> None:
    new_session(tmp_path / "from")
    for form in FORMS:
        (tmp_path / form).write_text("mine")
        with pytest.raises(StorageError, match="choose another name"):
            store.export_sessions(tmp_path / form)
        assert (tmp_path / form).read_text() == "mine"
    assert leftovers(tmp_path) == []


# --- a state that is older than its checkpoints -------------------------------------------------


def set_back(root: Path, store: Store) -> list[str]:
    """Make a session whose state is of before its last checkpoints, as a power cut may leave it."""
    session = store.create("goal", session_id="behind")
    made = [session.checkpoint("one").checkpoint_id]
    early = state_path(root, "behind").read_bytes()
    for number in range(4):
        session.state.data_buffer["work"] = number
        made.append(session.checkpoint("later").checkpoint_id)
    session.complete()
    state_path(root, "behind").unlink()  # its bytes are the checkpoint's, too
    state_path(root, "behind").write_bytes(early)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_newer_than_the_state_of_a_session_that_stands_still_go_along(
    tmp_path: Path, store: Store, other: Store, form: str
) -> None:
    made = set_back(tmp_path / "from", store)
    report = store.export_sessions(tmp_path / form, ["behind"])
    (out,) = report.exported
    assert (out.checkpoints, out.omitted, report.is_whole) == (5, (), True)
    assert other.import_sessions(tmp_path / form).imported[0].checkpoints == 5
    assert sorted(other.checkpoint_names("behind")) == sorted(made)
    # What the original offers to a check of the store, the copy offers, too.
    other.check(repair=True)
    assert other.load("behind").latest_checkpoint_id == made[-1]


def test_a_damaged_checkpoint_newer_than_the_state_is_named_as_damage(
    tmp_path: Path, store: Store
) -> None:
    made = set_back(tmp_path / "from", store)
    path = session_path(tmp_path / "from", "behind") / "checkpoints" / f"{made[-1]}.json"
    path.write_bytes(b"{")
    (out,) = store.export_sessions(tmp_path / "x", ["behind"]).exported
    assert out.checkpoints == 5
    assert any(made[-1] in text for text in out.damage)


def test_what_a_running_session_kept_after_the_exported_state_is_left_out_and_named(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = store.create("goal", session_id="busy")
    kept = session.checkpoint("one").checkpoint_id
    later: list[str] = []
    real = FilesBackend.checkpoint_ids

    def checkpoint_ids(self: FilesBackend, session_id: str) -> list[str]:
        later.append(session.checkpoint("later").checkpoint_id)  # at every look
        return real(self, session_id)

    with monkeypatch.context() as patch:
        patch.setattr(FilesBackend, "checkpoint_ids", checkpoint_ids)
        report = store.export_sessions(tmp_path / "x", ["busy"])
    (out,) = report.exported
    assert not report.is_whole
    exported = {path.stem for path in (tmp_path / "x").rglob("checkpoints/*.json")}
    assert kept in exported
    state = json.loads((tmp_path / "x" / "sessions" / "busy" / "state.json").read_bytes())
    assert state["latest_checkpoint_id"] in exported
    left_out = [name for name in later if f"checkpoints/{name}.json" in " ".join(out.omitted)]
    assert left_out
    assert not exported & set(left_out)
    assert all("the session was running while it was read" in text for text in out.omitted)
    session.complete()
