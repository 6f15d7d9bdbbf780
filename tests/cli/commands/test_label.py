"""Labels on the command line: set, removed, shown, and what finds sessions by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from sessionstore import RetentionPolicy, SessionStore
from sessionstore.cli.options.fields import complete_fields
from tests.support.cli import GONE, HOSTILE, acting, data, invoke, put, run, state
from tests.support.processes import Child, left_active


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with SessionStore(tmp_path) as store:
        store.create("triage", session_id="one", labels={"user": "42", "title": "Letters"}).pause()
        store.create("triage", session_id="two", labels={"user": "42", "env": "test"}).complete()
        store.create("triage", session_id="three").complete()
    return tmp_path


def labels(root: Path, session_id: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        (root / "sessions" / session_id / "state.json").read_bytes()
    )["labels"]
    return found


def ids(root: Path, *args: str) -> list[str]:
    result = invoke(root, "ls", "-o", "ids", "--sort", "session_id", *args)
    assert result.exit_code == 0, result.stderr
    return result.stdout.split()


def test_labels_are_set_and_removed_and_what_comes_of_it_is_shown(root: Path) -> None:
    done = invoke(root, "label", "one", "user=43", "note=a=b, c", "empty=", "title-")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()] == [
        ["LABEL", "VALUE"], ["empty"], ["note", "a=b, c"], ["user", "43"],
    ]  # fmt: skip
    assert labels(root, "one") == {"user": "43", "note": "a=b, c", "empty": ""}
    invoke(root, "label", "one", "--remove", "note", "--remove", "empty")
    assert labels(root, "one") == {"user": "43"}
    assert SessionStore(root).load("one").status == "paused"


def test_without_pairs_it_prints_the_labels_and_changes_nothing(root: Path) -> None:
    before = (root / "sessions/one/state.json").read_bytes()
    assert invoke(root, "label", "one").stdout.split() == [
        "LABEL", "VALUE", "title", "Letters", "user", "42",
    ]  # fmt: skip
    told = data(root, "label", "one")
    assert told == {
        "schema": "sessionstore.labels/1",
        "session_id": "one",
        "revision": SessionStore(root).load("one").revision,
        "labels": {"user": "42", "title": "Letters"},
    }
    none = invoke(root, "label", "three")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "it has no labels\n")
    assert (root / "sessions/one/state.json").read_bytes() == before


def test_what_is_not_there_is_removed_with_a_word(root: Path) -> None:
    before = SessionStore(root).load("one").revision
    result = invoke(root, "label", "one", "nothing-")
    assert (result.exit_code, result.stderr) == (0, "one has no label nothing\n")
    assert SessionStore(root).load("one").revision == before


@pytest.mark.parametrize(
    "words",
    [
        ("user",), ("-",), ("=42",), ("a b=1",), ("user=1", "user=2"), ("user=1", "user-"),
        ("user-", "--remove", "user"), ("\x1b[31m=1",),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error_and_changes_nothing(
    root: Path, words: tuple[str, ...]
) -> None:
    result = invoke(root, "label", "one", "fine=1", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert acting(result.stderr) == set()
    assert labels(root, "one") == {"user": "42", "title": "Letters"}


def test_too_much_is_refused_whole(root: Path) -> None:
    long = invoke(root, "label", "one", "fine=1", f"user={'x' * 257}")
    assert long.exit_code == 1
    assert "257 characters are more than 256" in long.stderr
    many = invoke(root, "label", "one", *(f"k{number}=1" for number in range(63)))
    assert many.exit_code == 1
    assert "65 labels are more than 64" in many.stderr
    assert labels(root, "one") == {"user": "42", "title": "Letters"}


def test_a_session_that_a_process_holds_is_refused_and_its_holder_named(root: Path) -> None:
    with Child("act", root) as other:
        pid = other.hear()["pid"]
        other.ask("create", session_id="held")
        result = invoke(root, "label", "held", "user=42")
        assert (result.exit_code, result.stdout) == (4, "")
        assert f"held by pid {pid}" in result.stderr
        assert labels(root, "held") == {}
        assert invoke(root, "label", "held").exit_code == 0


def test_the_death_of_its_process_goes_on_record_first(root: Path) -> None:
    left_active(root, "left")
    assert invoke(root, "label", "left", "user=42").exit_code == 0
    found = SessionStore(root).load("left")
    assert (found.status, found.labels) == ("failed", {"user": "42"})
    assert found.recovery is not None
    assert found.recovery.count == 1


def test_one_id_comes_from_a_pipe_and_by_its_beginning(root: Path) -> None:
    piped = run("--root", str(root), "label", "-", "user=1", input="thr\n", stdin=None)
    assert piped.returncode == 0
    assert labels(root, "three") == {"user": "1"}


# --- found by them --------------------------------------------------------------------------------


def test_ls_finds_those_that_have_all_labels(root: Path) -> None:
    assert ids(root, "--label", "user=42") == ["one", "two"]
    assert ids(root, "--label", "user=42", "--label", "env=test") == ["two"]
    assert ids(root, "--label", "user=42", "-s", "paused") == ["one"]
    assert ids(root, "--label", "user=4") == []
    for args in (["user"], ["user=1", "--label", "user=2"], ["a b=1"], ["user=\udc80"]):
        assert invoke(root, "ls", "--label", *args).exit_code == 2


def test_a_label_is_a_column_and_all_of_them_are_one(root: Path) -> None:
    result = invoke(root, "ls", "--sort", "session_id", "--fields", "id,label:user,labels,goal")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["ID", "USER", "LABELS", "GOAL"],
        ["one", "42", "title=Letters,", "user=42", "triage"],
        ["three", "-", "-", "triage"],
        ["two", "42", "env=test,", "user=42", "triage"],
    ]
    assert invoke(root, "ls", "--fields", "label:").exit_code == 2


def test_a_shell_completes_the_beginning_of_a_label_s_column() -> None:
    context, option = click.Context(click.Command("ls")), click.Option(["--fields"])
    assert complete_fields(context, option, "id,lab") == ["id,labels", "id,label:"]


def test_json_has_the_labels(root: Path) -> None:
    found = {item["session_id"]: item["labels"] for item in data(root, "ls")["sessions"]}
    assert found == {
        "one": {"user": "42", "title": "Letters"},
        "two": {"user": "42", "env": "test"},
        "three": {},
    }
    chosen = data(root, "ls", "--label", "title=Letters", "--fields", "id,label:user")
    assert chosen["sessions"] == [
        {"session_id": "one", "labels": {"user": "42", "title": "Letters"}}
    ]
    assert data(root, "show", "one")["session"]["state"]["labels"]["user"] == "42"


def test_the_title_stands_in_the_place_of_the_goal(root: Path) -> None:
    shown = {line.split()[0]: line for line in invoke(root, "ls").stdout.splitlines()}
    assert "GOAL" in shown["ID"]
    assert "Letters" in shown["one"]
    assert "triage" not in shown["one"]
    assert "triage" in shown["two"]


def test_show_and_diff_tell_of_labels(root: Path) -> None:
    lines = invoke(root, "show", "one").stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("labels"))
    assert [line.split()[-1] for line in lines[place : place + 2]] == ["title=Letters", "user=42"]
    invoke(root, "label", "one", "user=43", "title-")
    changed = data(root, "diff", "one")["differences"]
    assert {(item["kind"], item["path"]) for item in changed} >= {
        ("changed", "labels.user"), ("removed", "labels.title"),
    }  # fmt: skip


def test_labels_choose_what_is_pruned_exported_and_watched(root: Path, tmp_path: Path) -> None:
    would = invoke(root, "prune", "--older-than", "0s", "--label", "user=42", "-o", "ids")
    assert would.stdout.split() == ["two"]
    archive = str(tmp_path / "labelled.tar")
    out = invoke(root, "export", "--label", "user=42", "-O", archive, "-o", "ids")
    assert sorted(out.stdout.split()) == ["one", "two"]
    other = tmp_path / "other"
    assert invoke(other, "import", "--create", archive).exit_code == 0
    assert ids(other, "--label", "env=test") == ["two"]
    seen = invoke(root, "watch", "--label", "env=test", "--timeout", "0.1s", "-o", "ids")
    assert seen.stdout.split() == ["two"]
    assert (
        invoke(root, "prune", "--keep-last", "0", "--label", "env=test", "--apply").exit_code == 0
    )
    assert ids(root) == ["one", "three"]


def test_a_policy_lets_go_only_what_has_its_labels(root: Path) -> None:
    store = SessionStore(root)
    policy = RetentionPolicy(keep_last=0, labels={"env": "test"})
    assert hash(policy) == hash(RetentionPolicy(keep_last=0, labels={"env": "test"}))
    assert [item.session_id for item in store.prune(policy).sessions] == ["two"]
    bad: Any = {"env": 1}
    with pytest.raises(ValueError, match="labels"):
        RetentionPolicy(keep_last=0, labels=bad)


def test_foreign_labels_reach_the_terminal_escaped(tmp_path: Path) -> None:
    theirs = {"title": HOSTILE, HOSTILE: HOSTILE}
    put(tmp_path, "theirs", state("theirs", labels=theirs, status="paused", pid=GONE))
    for args in (
        ["ls"], ["ls", "--fields", "id,labels,label:title"], ["show", "theirs"],
        ["label", "theirs"], ["ls", "-o", "json"], ["label", "theirs", "user=42"],
    ):  # fmt: skip
        result = invoke(tmp_path, *args)
        assert result.exit_code == 0, args
        assert acting(result.stdout) == set(), args
    assert invoke(tmp_path, "label", "theirs", "--remove", HOSTILE).exit_code == 0
    assert labels(tmp_path, "theirs") == {"title": HOSTILE, "user": "42"}
