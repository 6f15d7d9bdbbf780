"""Session ids as people type them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import (
    HOSTILE,
    acting,
    invoke,
    put,
    run,
)
from tests.support.processes import left_active, new_session, read_state

LONG = "session_20260125_170903_1a2b3c4d"
OTHER = "session_20260125_170903_9f8e7d6c"


def test_a_prefix_that_only_one_id_has_is_enough(tmp_path: Path) -> None:
    for name in ("session_a1", "session_a", "session_b1"):
        put(tmp_path, name)
    assert invoke(tmp_path, "show", "session_b", "-o", "ids").stdout == "session_b1\n"
    assert invoke(tmp_path, "show", "session_a", "-o", "ids").stdout == "session_a\n"


@pytest.mark.parametrize("given", ["1a2b3c4d", "4d", "_1a2b3c4d", "0125_170903_1a2b3c4d"])
def test_a_suffix_that_only_one_id_has_is_enough(tmp_path: Path, given: str) -> None:
    put(tmp_path, LONG)
    put(tmp_path, OTHER)
    assert run("--root", str(tmp_path), "show", given, "-o", "ids").stdout == f"{LONG}\n"


def test_the_id_itself_comes_before_a_prefix_and_that_before_a_suffix(tmp_path: Path) -> None:
    for name in ("ab", "ab-long", "x-ab", "long", "x_lo"):
        put(tmp_path, name)
    for given, meant in (("ab", "ab"), ("ab-", "ab-long"), ("lo", "long"), ("_lo", "x_lo")):
        assert invoke(tmp_path, "show", given, "-o", "ids").stdout == f"{meant}\n"


@pytest.mark.parametrize(
    "line",
    [
        "show {}",
        "show {} --raw",
        "explain {}",
        "history {}",
        "diff {} r2 current",
        "tail {}",
        "journal {}",
        "steps {}",
        "watch {} --until paused",
        "mark {} failed --reason x",
        "retry {}",
        "label {} user=42",
        "cancel {}",
        "fork {}",
        "export {} -O {new}",
        "delete {} --yes",
    ],
)
def test_every_command_that_takes_an_id_takes_the_end_of_one(tmp_path: Path, line: str) -> None:
    ends = []
    for number, given in enumerate((LONG, "1a2b3c4d", "-")):
        root = tmp_path / f"store-{number}"
        for name in (LONG, OTHER):
            new_session(root, name)
        with SessionStore(root).edit(LONG) as session:
            session.journal().append("a record")
        words = [
            str(tmp_path / f"{number}.tar") if word == "{new}" else word.replace("{}", given)
            for word in line.split()
        ]
        result = invoke(root, *words, stdin="1a2b3c4d\n")
        there = (root / "sessions" / LONG).exists()
        status = read_state(root, LONG)["status"] if there else None
        ends.append((result.exit_code, bool(result.stdout), there, status))
        assert read_state(root, OTHER)["status"] == "paused"
        assert "not in" not in result.stderr
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][0] in (0, 1)


def test_the_end_of_an_id_is_enough_to_assume_its_process_dead(tmp_path: Path) -> None:
    for name in (LONG, OTHER):
        left_active(tmp_path, name, owner=None, pid=None)
    for given, stdin, marked in (("3c4d", None, LONG), ("-", "7d6c\n", OTHER)):
        result = invoke(
            tmp_path, "recover", "--apply", "--assume-dead", given, "-o", "ids", stdin=stdin
        )
        assert result.stdout == f"{marked}\n"


def test_an_ambiguous_prefix_names_at_most_five_candidates(tmp_path: Path) -> None:
    for number in range(7):
        put(tmp_path, f"s{number}")
    for args in (("show", "s"), ("recover", "--apply", "--assume-dead", "s")):
        result = invoke(tmp_path, *args)
        assert result.exit_code == 2
        assert "7 ids begin with s: s0, s1, s2, s3, s4, ..." in result.stderr
        assert "s5" not in result.stderr


def test_an_ambiguous_suffix_is_refused_with_its_candidates(tmp_path: Path) -> None:
    for name in ("a-1", "b-1", "c-2"):
        put(tmp_path, name)
    result = invoke(tmp_path, "delete", "--yes", "1")
    assert result.exit_code == 2
    assert "2 ids end with 1: a-1, b-1\n" in result.stderr
    assert (tmp_path / "sessions" / "a-1").exists()
    assert (tmp_path / "sessions" / "b-1").exists()


def test_of_hundreds_of_candidates_five_are_named_and_all_are_counted(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / "sessions" / f"s{number:04}").mkdir(parents=True)
    put(tmp_path, "other")
    result = invoke(tmp_path, "show", "s")
    assert result.exit_code == 2
    assert "1,200 ids begin with s: s0000, s0001, s0002, s0003, s0004, ...\n" in result.stderr


def test_a_directory_that_holds_no_session_is_no_candidate(tmp_path: Path) -> None:
    put(tmp_path, "session_a")
    for name in ("session_b", "other_a", "other_c"):
        (tmp_path / "sessions" / name / "files").mkdir(parents=True)
    assert invoke(tmp_path, "show", "session_", "-o", "ids").stdout == "session_a\n"
    assert invoke(tmp_path, "show", "_a", "-o", "ids").stdout == "session_a\n"
    missing = invoke(tmp_path, "show", "_c")
    assert missing.exit_code == 2  # no id begins with _
    assert "other_c" not in missing.stderr


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("othr", "other"),
        ("session_20260125_170903_1a2b3c4e", LONG),
        ("20260125_170903_9f8e7d6d", OTHER),
        ("1a2b3d", LONG),
        ("sesion_2026", LONG),
    ],
)
def test_an_id_that_no_session_has_is_answered_with_the_nearest(
    tmp_path: Path, given: str, nearest: str
) -> None:
    for name in (LONG, OTHER, "other"):
        put(tmp_path, name)
    (tmp_path / "sessions" / f"{given}-files").mkdir()  # of the application, no session
    result = invoke(tmp_path, "show", f"{given}-")
    assert result.exit_code == 3
    (told,) = [line for line in result.stderr.splitlines() if line.startswith("nearest: ")]
    assert nearest in told
    assert f"{given}-files" not in told
    assert told.endswith("; to list sessions: sessionstore ls")


def test_nothing_is_near_to_what_is_like_no_id(tmp_path: Path) -> None:
    put(tmp_path, LONG)
    result = invoke(tmp_path, "show", "zzzz")
    assert result.exit_code == 3
    assert "nearest" not in result.stderr
    assert "to list sessions: sessionstore ls" in result.stderr


def test_a_watch_waits_for_an_id_that_no_other_begins_or_ends_like(tmp_path: Path) -> None:
    put(tmp_path, LONG)
    waiting = ("--until", "failed", "--timeout", "0s", "-o", "ids")
    found = invoke(tmp_path, "watch", "3c4d", *waiting)
    assert (found.exit_code, found.stdout) == (7, f"{LONG}\n")
    missing = invoke(tmp_path, "watch", "1a2b3c5d", *waiting)
    assert (missing.exit_code, missing.stdout) == (7, "")
    assert f"1a2b3c5d does not exist yet: waiting for it; nearest: {LONG}\n" in missing.stderr


@pytest.mark.parametrize(
    ("given", "code"), [("none", 3), ("con", 2), ("../x", 2), ("", 2), (HOSTILE, 2)]
)
def test_an_id_that_no_session_has_is_not_found_and_no_id_is_a_usage_error(
    tmp_path: Path, given: str, code: int
) -> None:
    put(tmp_path, "one")
    for args in (("show", given), ("recover", "--assume-dead", given)):
        result = invoke(tmp_path, *args)
        assert (result.exit_code, result.stdout) == (code, "")
        assert not acting(result.stderr)


def test_hostile_names_in_the_directory_reach_no_message(tmp_path: Path) -> None:
    put(tmp_path, "session_a")
    hostile = HOSTILE.replace("\x00", "").replace("/", "")
    for name in (f"session_b{hostile}", f"{hostile}session_a", ".new-session_a"):
        (tmp_path / "sessions" / name).mkdir()
    for given in ("session_", "sesion_b", "n_a"):
        result = invoke(tmp_path, "show", given)
        assert result.exit_code in (0, 3)
        assert not acting(result.stderr)
        assert "red" not in result.stderr


def test_sessions_that_cannot_be_listed_are_an_error_and_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "session_a")

    def refused(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refused)
    result = invoke(tmp_path, "show", "session")
    assert result.exit_code == 1
    assert "Permission denied" in result.stderr


def test_one_listing_of_names_answers_whatever_the_store_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        put(tmp_path, f"session_{number:03}")
    put(tmp_path, LONG)
    listed: list[object] = []
    real = os.listdir

    def counting(path: str) -> list[str]:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", counting)
    assert invoke(tmp_path, "show", "3c4d", "-o", "ids").stdout == f"{LONG}\n"
    assert listed.count(str(tmp_path / "sessions")) == 1
    assert not [entry for entry in real(tmp_path) if entry.startswith("index-")]
