"""What a store does in every place: it works, or is refused in words, and never as a surprise.

`make places` tries each for longer, and writes the table of docs/durability.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.images import Unavailable
from tests.faults.support.place_life import DECIDED, WORKS, Outcome, row, try_out
from tests.faults.support.places import PLACES, Place, mounted, served, traces
from tests.faults.support.situations import SITUATIONS
from tests.faults.support.tally import tally
from tests.support.processes import CHECKOUT, needs_root
from tools.docs import place_table
from tools.docs.place_table import Row

RECORD = os.environ.get("SESSIONSTORE_PLACES", "")
"""The file that takes the rows of the table; where it is named, each place is tried for longer."""

SAVES, LOOKS = (300, 200) if RECORD else (30, 10)

LOCAL = Outcome()
MEMORY = Outcome(doctor=("file system: warn",))
FUSE = Outcome(doctor=("file system: warn", "exchange: warn"))
PATHS = replace(FUSE, doctor=(*FUSE.doctor, "hard links: warn", "sessions: warn"))
"""FUSE that gives each path an inode number of its own, and another one once it was forgotten."""
TWO_MOUNTS: dict[str, Any] = {"holder": "alive, by the process table", "mounts": DECIDED}

EXPECTED = {
    "ext4": LOCAL,
    "XFS": LOCAL,
    "btrfs": LOCAL,
    "tmpfs": MEMORY,
    "overlay": MEMORY,
    "overlay and its upper directory": replace(MEMORY, **TWO_MOUNTS),
    "bindfs, twice over one directory": replace(FUSE, **TWO_MOUNTS),
    "unionfs-fuse": PATHS,
    "sshfs": PATHS,
    "encfs": FUSE,
    "/proc with `hidepid=2`, seen by another user": replace(
        MEMORY, doctor=("permissions: warn", "file system: warn")
    ),
    "/proc with `subset=pid`": MEMORY,
    "no /proc (tmpfs over it)": replace(
        MEMORY, death="unknown, resumed with force (SessionClaimed)"
    ),
    "each process in a PID namespace of its own": MEMORY,
    "Python without `sqlite3`": replace(MEMORY, doctor=("file system: warn", "database: warn")),
}

ANSWERS = {
    "root over a user's store": WORKS,
    "a child that C forked (uWSGI)": WORKS,
    "two children of a store in use (gunicorn --preload)": WORKS,
    "a lock that a child in C inherited": (
        "SessionClaimed while the child lives, its holder named as gone"
    ),
    "mounted read-only": (
        "StorageError: cannot claim <root>/locks/s1.lock: Read-only file system; the file system"
        " is read-only: remount it, or choose another root"
    ),
    "full": (
        "StorageError: cannot create <root>/sessions/<id>: No space left on device; free some"
        " space or inodes, then try again (nothing was changed)"
    ),
    "gocryptfs": (
        "doctor: file system: unfit: fuse.gocryptfs: it mixes up files that are replaced while"
        " somebody looks at them: a reader may get half a state, and a save a RevisionConflict;"
        " choose another root: encfs, or a file system on an encrypted disk"
    ),
}


def recorded(row: Row) -> None:
    if RECORD:
        row.record(Path(RECORD))


@needs_root("it mounts file systems, and starts processes in namespaces of their own")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_place_does_for_a_store_what_the_page_says(name: str) -> None:
    before = traces()
    try:
        with PLACES[name]() as place:
            found = try_out(place, saves=SAVES, looks=LOOKS)
    except Unavailable as reason:
        pytest.skip(str(reason))
    expected = EXPECTED[name]
    if expected.mounts == DECIDED and found.mounts == WORKS:
        found = replace(found, mounts=DECIDED)  # which of the two it is, chance decides
    assert found == expected
    assert not left_since(before)
    recorded(row(name, found))
    tally("looks", promise=7, cases=LOOKS)


@needs_root("it mounts file systems, and becomes another user")
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_ends_as_the_page_says(name: str) -> None:
    before = traces()
    try:
        answer = SITUATIONS[name]()
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert answer == ANSWERS[name]
    assert not left_since(before)
    recorded(answer_row(name, answer))


def answer_row(name: str, answer: str) -> Row:
    if answer == WORKS:
        return Row(name, "all", "", "")
    error, _, words = answer.partition(": ")
    if error == "doctor":
        return Row(name, "a whole life, alone", f"`doctor` fails: {words}", "not fit")
    if not words:
        return Row(name, "all once the child has ended", answer, "the lock proves")
    return Row(name, "reading", f"`{error}`: {words}".replace("<", "&lt;"), "")


def left_since(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what is left below our own temporary directory: others have mounts meanwhile."""
    left = {what: more - before[what] for what, more in traces().items()}
    return {
        what: ours
        for what, more in left.items()
        if (ours := {one for one in more if tempfile.gettempdir() in one})
    }


def test_the_page_says_what_is_expected_here() -> None:
    rows = [row(name, outcome) for name, outcome in EXPECTED.items()]
    rows += [answer_row(name, answer) for name, answer in ANSWERS.items()]
    page = (CHECKOUT / "docs/durability.md").read_text()
    assert place_table.lines_of(page) == [one.line for one in rows], "`make places` writes it"


def test_a_page_keeps_the_rows_of_places_that_were_not_tried() -> None:
    table = "| p |\n|---|\n| ext4 | all | nothing | x |"
    page = f"a\n{place_table.BEGIN}\n\n{table}\n\n{place_table.END}b"
    changed = place_table.update(page, [Row("XFS", "all", "", "y")], ["XFS", "ext4"])
    assert place_table.lines_of(changed) == [
        "| XFS | all | nothing | y |",
        "| ext4 | all | nothing | x |",
    ]
    assert changed.startswith("a\n")
    assert changed.endswith("b")


def end_inside(name: str, made: list[Place], error: type[BaseException]) -> None:
    with PLACES[name]() as place:
        made.append(place)
        place.root.mkdir()
        assert any(str(place.root.parent) in one for one in traces()["mounts"])
        raise error


@needs_root("it mounts file systems")
@pytest.mark.parametrize("name", ["tmpfs", "ext4", "overlay", "bindfs, twice over one directory"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_of_a_place_is_left_however_its_block_ends(
    name: str, error: type[BaseException]
) -> None:
    before = traces()
    made: list[Place] = []
    try:
        with pytest.raises(error):
            end_inside(name, made, error)
    except Unavailable as reason:
        pytest.skip(str(reason))
    where = str(made[0].root.parent)
    assert not any(where in one for one in traces()["mounts"] - before["mounts"])
    assert not any(
        os.path.dirname(where) in one for one in traces()["loop devices"] - before["loop devices"]
    )
    assert not os.path.exists(where)


@needs_root("it mounts file systems")
def test_a_place_that_cannot_be_made_leaves_nothing_either(tmp_path: Path) -> None:
    before = traces()["mounts"]
    ways: tuple[Callable[[], AbstractContextManager[object]], ...] = (
        lambda: served(tmp_path, ["false"]),
        lambda: served(tmp_path, ["sessionstore-no-such-tool"]),
        lambda: mounted(tmp_path, ["mount", "-t", "no-such-kind", "none"]),
    )
    for make in ways:
        with pytest.raises(Unavailable), make():
            pytest.fail("it was made")
    assert not any(str(tmp_path) in one for one in traces()["mounts"] - before)
