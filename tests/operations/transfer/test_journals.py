"""Journals in archives: equal records in every kind of store, and every trick refused."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from sessionstore import ArchiveRefused, FilesBackend, MemoryBackend, SessionState, SessionStore
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.journal_view import Item
from sessionstore.storage.backend import Backend
from sessionstore.storage.files import journal_copy
from tests.support.forger import Forger, sound
from tests.support.processes import session_path, tree

Store = SessionStore[SessionState]
AT = "2026-11-28T12:00:00Z"
PLACE = "sessions/s1/journals/main.jsonl"
KINDS = ["files", "memory"]


def made(kind: str, place: Path) -> tuple[Backend, Store]:
    backend: Backend = FilesBackend(place) if kind == "files" else MemoryBackend()
    return backend, SessionStore(backend)


def batches(backend: Backend, session_id: str, name: str) -> list[list[Item]]:
    return [one.items for one in backend.read_journal(session_id, name, Position())]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_records_numbers_keys_and_ways_back_are_equal_in_every_kind_of_store(
    tmp_path: Path, source: str, target: str
) -> None:
    backend, store = made(source, tmp_path / "from")
    with store.create("goal", session_id="s1") as session:
        session.journal().append({"a": [1, 2.5, None, "grüße"]}, "two", key="k")
        first = session.checkpoint("step").checkpoint_id
        session.journal().append("lost")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=first) as session:
        session.journal().append("three", key="k3")
        second = session.checkpoint("step").checkpoint_id
        session.journal("events").append(*range(100))
        session.journal().rewrite(["four"])
        session.pause()
    out = io.BytesIO()
    exported = store.export_sessions(out)
    assert (exported.is_whole, exported.exported[0].files, exported.exported[0].journals) == (
        True, 0, 2,
    )  # fmt: skip
    other, there = made(target, tmp_path / "to")
    report = there.import_sessions(io.BytesIO(out.getvalue()))
    assert (report.is_whole, report.carries_damage) == (True, False)
    for name in ("main", "events"):
        assert batches(other, "s1", name) == batches(backend, "s1", name)
        assert list(there.journal("s1", name)) == list(store.journal("s1", name))
    assert not there.check().findings
    expected = [["{}", "two"], ["{}", "two", "three"]]
    for checkpoint_id, values in zip((first, second), expected, strict=True):
        with there.resume("s1", checkpoint_id=checkpoint_id) as session:
            found = [one.value for one in session.journal()]
            assert found[1:] == values[1:]
            assert session.journal().append("again", key="k") == 2
            session.journal().append("more")
            session.pause()
    assert there.journal("s1").count() == 4
    assert there.load("s1").journals["main"][0] == there.journal("s1").read()[-1].number


def test_an_unpacked_export_is_a_store_with_the_journals(tmp_path: Path) -> None:
    _, store = made("files", tmp_path / "from")
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one", key="k")
        session.complete()
    store.export_sessions(tmp_path / "out")
    file = Path("sessions/s1/journals/main.jsonl")
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "from" / file).read_bytes()


def test_a_running_session_is_exported_with_whole_appends(tmp_path: Path) -> None:
    _, store = made("files", tmp_path / "from")
    _, there = made("files", tmp_path / "to")
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.save()
        session.journal().append("two")
        file = session_path(tmp_path / "from", "s1") / "journals" / "main.jsonl"
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"n":3,"at":"2026-11-28T12')  # an append in its middle
        out = io.BytesIO()
        assert store.export_sessions(out).is_whole
        file.write_bytes(whole)
        session.complete()
    there.import_sessions(io.BytesIO(out.getvalue()))
    assert [one.value for one in there.journal("s1")] == ["one", "two"]


def test_an_export_names_the_damage_of_a_journal_and_carries_what_is_before_it(
    tmp_path: Path,
) -> None:
    _, store = made("files", tmp_path / "from")
    _, there = made("files", tmp_path / "to")
    with store.create("goal", session_id="s1") as session:
        for text in ("one", "two", "three"):
            session.journal().append(text)
        session.complete()
    file = session_path(tmp_path / "from", "s1") / "journals" / "main.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"two"', b'"TWO"'))
    out = io.BytesIO()
    report = store.export_sessions(out)
    assert (report.is_whole, report.carries_damage) == (False, True)
    assert "line 2 is damaged" in report.exported[0].omitted[0]
    arrived = there.import_sessions(io.BytesIO(out.getvalue()))
    assert arrived.imported[0].damage == report.exported[0].damage
    assert "ends at number 1, and the state says 3" in arrived.imported[0].damage[0]
    assert [one.value for one in there.journal("s1")] == ["one"]


def test_a_session_gets_another_id_with_its_journals(tmp_path: Path) -> None:
    _, store = made("files", tmp_path / "from")
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one", key="k")
        session.pause()
    out = io.BytesIO()
    store.export_sessions(out)
    store.import_sessions(io.BytesIO(out.getvalue()), session_id="s2")
    again = store.import_sessions(io.BytesIO(out.getvalue()))
    assert [item.session_id for item in again.existing] == ["s1"]
    with store.resume("s2") as session:
        assert session.journal().append("one", key="k") == 1
        session.complete()


# --- hostile ------------------------------------------------------------------------------------


def chain(*items: list[Item]) -> bytes:
    return b"".join(journal_copy.lines(items))


def forged(line: bytes) -> bytes:
    """Return a line whose checksum is right, whatever it says."""
    return b'%b,"crc":"%08x"}\n' % (line, crc32(line))


ONE = JournalRecord(1, AT, "one", "k")
GOOD = chain([ONE], [JournalRecord(2, AT, "two")])
END = b',"flushed":0,"prev":"00000000"'


def test_the_forger_makes_journals_that_are_taken(tmp_path: Path) -> None:
    _, store = made("files", tmp_path)
    line = forged(b'{"n":1,"at":"x","value":1' + END)
    report = store.import_sessions(io.BytesIO(sound().add(PLACE, line).packed()))
    assert report.imported[0].journals == 1
    assert [one.value for one in store.journal("s1")] == [1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD[:-1], "line 2 of it is damaged"),
        (GOOD + b"  \n", "line 3 of it is damaged"),
        (GOOD.replace(b"two", b"owt"), "line 2 of it is damaged"),
        (GOOD.splitlines(keepends=True)[1], "line 1 of it is damaged"),
        (GOOD + GOOD, "line 3 of it is damaged"),
        (b"not a journal\n", "line 1 of it is damaged"),
        (b"\0" * 5_000, "line 1 of it is damaged"),
        (b"x" * 17 * 1024 * 1024 * 2, "line 1 of it is damaged"),
        (chain([ONE, JournalRecord(2, AT, 2)]).splitlines(keepends=True)[0], "cut off"),
        (chain([JournalRecord(5, AT, 1)]), "line 1 of it is damaged"),
        (chain([ONE], [Rewind(5, 7)]), "line 2 of it is damaged"),
        (forged(b'{"n":1,"at":"x","value":NaN' + END), "nan"),
        (forged(b'{"n":1,"at":"x","value":1e999' + END), "inf"),
        (forged(b'{"n":1,"at":"x","value":' + b"[" * 900 + b"]" * 900 + END), "line 1 of it"),
        (forged(b'{"n":1,"at":["x"],"value":1' + END), "its time is not text"),
        (forged(b'{"n":1,"at":"x","key":7,"value":1' + END), "a key must be text"),
        (forged(b'{"n":1,"at":"x","key":"","value":1' + END), "a key must have"),
        (forged(b'{"n":1,"at":"x"' + END), "not a line of a journal"),
        (forged(b'{"n":1,"at":"x","rewind":[-5,0]' + END), "comes later"),
        (forged(b'{"n":1,"at":"x","rewind":[0.0,0]' + END), "comes later"),
        (forged(b'{"n":1,"at":"x","rewind":["",""]' + END), "not a line of a journal"),
        (chain([Rewind(0, 2**60)]), "too large"),
    ],
)
def test_a_journal_that_no_export_writes_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    _, store = made("files", tmp_path)
    store.create("goal", session_id="before").complete()
    before = tree(tmp_path)
    for session_id in (None, "other", "before"):
        archive = sound().add(PLACE, data).packed()
        with pytest.raises(ArchiveRefused, match=said) as caught:
            store.import_sessions(io.BytesIO(archive), session_id=session_id)
        assert caught.value.member == PLACE
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "forge",
    [
        lambda: sound().add(PLACE, GOOD).add(PLACE + "/file", b"x"),
        lambda: sound().add(PLACE + "/file", b"x").add(PLACE, GOOD),
        lambda: sound().add(PLACE, GOOD).add(PLACE, GOOD),
    ],
)
def test_a_name_that_is_a_journal_and_something_else_is_refused(
    tmp_path: Path, forge: Callable[[], Forger]
) -> None:
    _, store = made("files", tmp_path)
    with pytest.raises(ArchiveRefused):
        store.import_sessions(io.BytesIO(forge().packed()))
    assert not store.exists("s1")


def test_a_journal_is_bound_by_the_limit_of_an_import(tmp_path: Path) -> None:
    _, store = made("files", tmp_path)
    data = chain([JournalRecord(1, AT, "x" * 1_000_000)])
    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        store.import_sessions(io.BytesIO(sound().add(PLACE, data).packed()), max_bytes=900_000)


def test_the_journal_of_steps_comes_along(tmp_path: Path) -> None:
    _, store = made("files", tmp_path)
    data = chain([JournalRecord(1, AT, {"name": "plan"}, "plan")])
    archive = sound().add("sessions/s1/journals/steps.jsonl", data).packed()
    assert store.import_sessions(io.BytesIO(archive)).is_whole
    lines = (session_path(tmp_path, "s1") / "journals" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [{"name": "plan"}]


def test_a_link_in_the_place_of_a_journal_is_never_followed(tmp_path: Path) -> None:
    _, store = made("files", tmp_path / "from")
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.complete()
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(chain([JournalRecord(1, AT, "secret")]))
    file = session_path(tmp_path / "from", "s1") / "journals" / "main.jsonl"
    file.unlink()
    file.symlink_to(secret)
    out = io.BytesIO()
    report = store.export_sessions(out)
    assert "main.jsonl" in report.exported[0].omitted[0]
    assert b"secret" not in _unpacked(out.getvalue())


def _unpacked(data: bytes) -> bytes:
    return data if data[:2] != b"\x1f\x8b" else gzip.decompress(data)
