"""Journals that somebody changed, and names and records that cannot be: refused, nothing lost."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    ClaimLost,
    InvalidSessionId,
    NotStorable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionStore,
    SessionStoreError,
    StorageError,
)
from tests.faults.support.images import Unavailable, memory
from tests.faults.support.journal_operations import journal_file, view
from tests.faults.support.operations import SESSION, descriptors
from tests.faults.support.tally import tally
from tests.support.processes import needs_linux, needs_root

linux = needs_linux("links, FIFOs and forks")
LINES = 5
"""Of the journal below; a save counts the first three."""


def counted(cases: int, promise: int = 10) -> None:
    tally("journals: corrupt inputs", promise=promise, cases=cases)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with SessionStore(tmp_path / "root") as opened:
        yield opened


@pytest.fixture
def file(store: SessionStore, tmp_path: Path) -> Path:
    """The journal of a session that was left: its last records were flushed, but not saved."""
    session = store.create("goal", session_id=SESSION)
    for number in range(LINES):
        if number == 3:
            session.checkpoint()
        session.journal().append({"number": number, "text": "x" * 300})
    session._writer.free()  # as if its process had died
    return journal_file(tmp_path / "root")


def lines_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def append(store: SessionStore) -> int:
    with store.claim(SESSION, force=True) as session:
        return session.journal().append("next")


def edited(old: bytes, new: bytes, line: int) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        assert lines[line - 1].count(old)
        lines[line - 1] = lines[line - 1].replace(old, new, 1)
        return b"".join(lines)

    return edit


def without(*numbers: int) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(
        line
        for number, line in enumerate(data.splitlines(keepends=True), 1)
        if number not in numbers
    )


UNSEEN = ("a value of a saved line", "a number", "lines that were added again")
"""What an append does not see: it looks from the last line on that was flushed for sure."""

DAMAGE: dict[str, tuple[Callable[[bytes], bytes], int, int]] = {
    "a value of a saved line": (edited(b"xxx", b"xyx", 2), 2, 1),
    "a value of a flushed line": (edited(b"xxx", b"xyx", 4), 4, 3),
    "a value of the last line": (edited(b"xxx", b"xyx", 5), 5, 4),
    "a number": (edited(b'"n":2', b'"n":7', 2), 2, 1),
    "a line that was removed": (without(2), 2, 1),
    "the first line removed": (without(1), 1, 0),
    "a line that was added": (lambda data: data + b'{"by":"hand"}\n', 6, 5),
    "text that was added": (lambda data: data + b'"by hand"\n', 6, 5),
    "lines that were added again": (lambda data: data * 2, 6, 5),
    "two lines that were swapped": (
        lambda data: b"".join(data.splitlines(keepends=True)[i] for i in (0, 2, 1, 3, 4)), 2, 1
    ),
    "a saved line that was cut": (lambda data: data[: 2 * len(data) // LINES - 20], 2, 1),
    "a saved line that was blanked": (edited(b"x" * 300, b" " * 300, 3), 3, 2),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_somebody_changed_is_damage_that_names_its_line_and_is_kept(
    store: SessionStore, file: Path, damage: str
) -> None:
    change, line, sound = DAMAGE[damage]
    file.write_bytes(change(file.read_bytes()))
    before = file.read_bytes()
    says = rf"{re.escape(str(file))}.*line {line} is damaged"
    read: list[int] = []
    if damage == "a saved line that was cut":  # to a reader it is a tail that is being written
        read += [record.number for record in store.journal(SESSION)]
    else:
        with pytest.raises(SessionCorrupt, match=says):
            read.extend(record.number for record in store.journal(SESSION))
    assert len(read) <= sound  # nothing behind the damage, and nothing twice
    if damage not in UNSEEN:
        with pytest.raises(SessionCorrupt, match=says):
            append(store)
        assert file.read_bytes() == before
    counted(1)


@pytest.mark.parametrize("kept", [3, 4])
def test_a_journal_that_was_cut_behind_a_saved_line_lost_its_tail(
    store: SessionStore, file: Path, kept: int
) -> None:
    file.write_bytes(b"".join(lines_of(file)[:kept]))
    assert append(store) == kept + 1
    assert store.journal(SESSION).count() == kept + 1
    counted(1)


def test_a_journal_that_is_shorter_than_a_save_says_is_reported_and_goes_on(
    store: SessionStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(b"".join(lines_of(file)[:2]))
    with caplog.at_level(logging.WARNING, "sessionstore"):
        number = append(store)
    assert "ends at number 2, and a save says 3" in caplog.text
    assert number > 3, "the number of a record that was lost was given again"
    assert [record.number for record in store.journal(SESSION)] == [1, 2, number]
    assert store.load(SESSION).journals["main"][0] == number
    # What is torn now is a torn tail, though the checkpoint counts more than there is.
    with file.open("ab") as tail:
        tail.write(b'{"n":6,"at":"')
    with store.resume(SESSION, again=True) as session:
        assert session.journal().append("behind") > number
    counted(1, promise=1)


def test_a_tail_that_is_torn_at_any_byte_is_erased_by_the_next_append(
    store: SessionStore, file: Path
) -> None:
    whole = file.read_bytes()
    ends = [0]
    for line in lines_of(file):
        ends.append(ends[-1] + len(line))
    state = file.parent.parent / "state.json"
    saved = state.read_bytes()
    cuts = range(ends[3], ends[5], 23)
    for cut in cuts:
        file.write_bytes(whole[:cut])
        state.write_bytes(saved)
        sound = max(number for number, end in enumerate(ends) if end <= cut)
        assert store.journal(SESSION).count() == sound
        assert append(store) == sound + 1
        assert store.journal(SESSION).count() == sound + 1
    counted(len(cuts), promise=2)


def test_a_save_counts_only_what_was_flushed(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "root", durability="process")
    with store.create("goal", session_id=SESSION) as session:
        session.journal().append("one")
        session.save()
        assert "main" not in store.load(SESSION).journals
        session.checkpoint()  # it flushes first
        session.journal().append("two")
        session.save()
        assert store.load(SESSION).journals["main"][0] == 1
    counted(2, promise=2)


# --- files that are no files ---------------------------------------------------------------------


def in_place_of(file: Path, kind: str) -> None:
    aside = file.with_suffix(".aside")
    file.rename(aside)
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "link":
        file.symlink_to(aside)
    elif kind == "dangling link":
        file.symlink_to(file.with_name("nowhere"))
    elif kind == "directory":
        file.mkdir()
    elif kind == "link to the directory":
        folder = file.parent
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder.with_name("elsewhere"))
    else:
        folder = file.parent
        shutil.rmtree(folder)
        folder.write_bytes(b"")


@linux
@pytest.mark.parametrize(
    "kind",
    ["FIFO", "link", "dangling link", "directory", "link to the directory", "no directory"],
)
def test_what_is_no_file_in_the_place_of_a_journal_is_refused_and_stays(
    store: SessionStore, file: Path, kind: str
) -> None:
    in_place_of(file, kind)
    there = os.lstat(file if kind not in ("link to the directory", "no directory") else file.parent)
    before = descriptors()
    uses: list[Callable[[], object]] = [
        lambda: append(store),
        lambda: store.journal(SESSION).read(),
        lambda: store.journal(SESSION).count(),
        lambda: append(store),
    ]
    for use in uses:
        with pytest.raises((SessionCorrupt, StorageError)):
            use()
    assert {name for name in descriptors() - before if "journals" in name} == set()
    now = os.lstat(file if kind not in ("link to the directory", "no directory") else file.parent)
    assert (there.st_ino, there.st_mode) == (now.st_ino, now.st_mode)
    assert not file.with_name("nowhere").exists()
    counted(4)


def test_a_huge_file_is_read_piece_by_piece(store: SessionStore, file: Path) -> None:
    import tracemalloc

    size = 160 << 20
    for tail in (b"", b"x" * 40 + b"\n"):  # nothing, and something far behind the end
        with file.open("r+b") as sparse:
            sparse.truncate(size)
            sparse.seek(size - len(tail))
            sparse.write(tail)
        tracemalloc.start()
        assert store.journal(SESSION).count() == LINES
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100 << 20
    assert append(store) == LINES + 1
    assert file.stat().st_size < 1 << 20
    counted(3)


# --- names, keys, values -------------------------------------------------------------------------


def test_a_name_that_is_no_id_or_the_store_s_own_is_refused(store: SessionStore) -> None:
    names: list[Any] = [
        "", ".", "..", "a/b", "../main", "a\0b", "a" * 300, " main", "-x\n", "steps", "Steps",
        "STEPS", None, 7, b"main",
    ]  # fmt: skip
    with store.create("goal", session_id=SESSION) as session:
        for name in names:
            with pytest.raises((InvalidSessionId, ValueError, TypeError)):
                session.journal(name)
        assert store.journals(SESSION) == []
        assert not (session.directory / "journals").exists()
    counted(len(names), promise=11)


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"itself": value})
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, float("nan")]}, "a[1]"),
        ({"a": {"b": float("inf")}}, "a.b"),
        ({"a": b"bytes"}, "a"),
        ({"a": (1, 2)}, "a"),
        ({"a": {1: 2}}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"\udfff": 1}, ""),
        ([{"a": object()}], "[0].a"),
        (cycle(), ""),
        (deep(300), ""),
        (10**5000, ""),
        (float("nan"), ""),
        ("\ud800", ""),
        (object(), ""),
        ("x" * (16 * 1024 * 1024), ""),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_a_record_that_cannot_be_stored_is_refused_with_its_number_and_its_path(
    store: SessionStore, value: Any, where: str
) -> None:
    with store.create("goal", session_id=SESSION) as session:
        journal = session.journal("notes")
        journal.append("before")
        with pytest.raises(NotStorable, match="journal notes, record 1") as caught:
            journal.append("sound", value, key="k")
        assert where in str(caught.value)
        with pytest.raises(NotStorable, match="journal notes, record 0"):
            journal.rewrite([value])
        assert [record.value for record in journal] == ["before"]
        assert journal.append("after", key="k") == 2
    counted(2, promise=8)


def test_a_second_record_of_one_key_is_not_appended(store: SessionStore) -> None:
    with store.create("goal", session_id=SESSION) as session:
        journal = session.journal()
        assert journal.append("a", "b", key="k") == 2
        assert journal.append("other", key="k") == 2
        bad: list[Any] = ["", "x" * 2000, "\ud800", 7, b"k"]
        for key in bad:
            with pytest.raises((TypeError, ValueError)):
                journal.append("never", key=key)
        with pytest.raises(TypeError):
            journal.append()
    with store.claim(SESSION) as session:  # which has seen no append of this key
        assert session.journal().append("once more", key="k") == 2
        assert [record.value for record in session.journal()] == ["a", "b"]
    counted(len(bad) + 3, promise=8)


# --- others --------------------------------------------------------------------------------------


@linux
def test_a_holder_that_lost_its_lock_file_and_another_never_both_append(
    store: SessionStore, tmp_path: Path
) -> None:
    store.create("goal", session_id=SESSION).pause()
    with store.claim(SESSION) as session:  # it does not run: the lock file alone says who has it
        session.journal().append("first")
        (tmp_path / "root" / "locks" / f"{SESSION}.lock").unlink()
        with SessionStore(tmp_path / "root").claim(SESSION) as other:
            with pytest.raises(SessionClaimed, match="without a claim still holds the lock of"):
                other.journal().append("second")
            with pytest.raises(ClaimLost):
                session.journal().append("third")
            with pytest.raises(SessionStoreError):
                session.checkpoint()
            session.release()
            assert other.journal().append("fourth") == 2
        assert [record.value for record in store.journal(SESSION)] == ["first", "fourth"]
    tally("journals: races", promise=5, cases=4)


@pytest.mark.parametrize("change", ["extended", "cut", "replaced", "removed"])
def test_a_journal_that_changed_under_its_holder_takes_no_more_records(
    store: SessionStore, tmp_path: Path, change: str
) -> None:
    file = journal_file(tmp_path / "root")
    with store.create("goal", session_id=SESSION) as session:
        session.journal().append("first")
        session.journal().append("second")
        data = file.read_bytes()
        if change == "extended":
            file.write_bytes(data + b'"by hand"\n')
        elif change == "cut":
            os.truncate(file, len(data) // 2)
        else:
            file.unlink()
            if change == "replaced":
                file.write_bytes(data)
        before = file.read_bytes() if file.exists() else None
        with pytest.raises(RevisionConflict, match="changed the journal main"):
            session.journal().append("third")
        assert (file.read_bytes() if file.exists() else None) == before
    tally("journals: races", promise=5, cases=1)


@linux
def test_a_forked_child_appends_nothing_and_keeps_nothing_open(
    store: SessionStore, tmp_path: Path
) -> None:
    with store.create("goal", session_id=SESSION) as session:
        journal = session.journal()
        journal.append("of the parent")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                open_ones = [name for name in descriptors() if "main.jsonl" in name]
                try:
                    journal.append("of the child")
                except ClaimLost:
                    code = 2 if open_ones else 0
                session.release()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        journal.append("of the parent, too")
    assert view(tmp_path / "root") == ["of the parent", "of the parent, too"]
    tally("journals: races", promise=5, cases=1)


@linux
def test_a_copy_by_links_and_its_original_go_their_own_ways(
    store: SessionStore, file: Path, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "root", tmp_path / "copy", copy_function=os.link)
    copied = file.read_bytes()
    append(store)
    copy = SessionStore(tmp_path / "copy")
    assert journal_file(tmp_path / "copy").read_bytes() == copied
    with copy.claim(SESSION, force=True) as session:
        session.journal().append("of the copy")
    assert store.journal(SESSION).read()[-1].value == "next"
    assert copy.journal(SESSION).read()[-1].value == "of the copy"
    tally("journals: races", promise=5, cases=2)


@needs_root("it mounts a file system of a fixed size")
def test_a_disk_that_is_full_in_the_middle_of_an_append_keeps_what_was_there() -> None:
    try:
        with memory(size="300k") as place:
            store = SessionStore(place / "root")
            ballast = place / "ballast"  # what the last save needs
            ballast.write_bytes(bytes(60_000))
            refused = 0
            with store.create("goal", session_id=SESSION) as session:
                journal = session.journal()
                count = 0
                for size in (60_000, 30_000, 9_000, 5_000, 700, 60) * 3:
                    try:
                        journal.append("x" * size, "y" * size)
                    except StorageError:
                        refused += 1
                    else:
                        count += 2
                    assert journal.count() == count
                ballast.unlink()
            assert refused
            with store.claim(SESSION) as session:
                assert session.journal().count() == count
            store.close()
    except Unavailable as reason:
        pytest.skip(str(reason))
    tally("journals: corrupt inputs", promise=3, cases=refused)
