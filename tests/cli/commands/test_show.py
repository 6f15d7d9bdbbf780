"""What ``show`` tells beyond the portrait: states, raw bytes, checkpoints, several sessions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import (
    InvalidSessionId,
    MemoryBackend,
    Session,
    SessionNotFound,
    SessionState,
    SessionStore,
)
from tests.support.cli import (
    HOSTILE,
    acting,
    environment,
    invoke,
    leave_behind,
    on_terminal,
    put,
    run,
    state,
)
from tests.support.processes import DEADLINE, read_state


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A session ``one`` with a checkpoint of each of two nodes, and ``two`` without any."""
    store = SessionStore(tmp_path)
    with store.create("a-goal", session_id="one") as session:
        session.state.progress.path = ["plan", "fetch", "fetch"]
        session.state.progress.node_visit_counts = {"plan": 1, "fetch": 2}
        session.state.progress.retry_details = {"fetch": 3}
        session.state.problems = [
            {"severity": "high", "description": f"problem {number}"} for number in range(7)
        ]
        session.state.data_buffer["plan"] = "draft"
        session.checkpoint("node_complete", node="plan")
        session.state.data_buffer["plan"] = "final"
        session.checkpoint("manual", node="fetch")
        session.complete(output={"answer": 42})
    put(tmp_path, "two")
    return tmp_path


def facts_of(output: str) -> dict[str, str]:
    lines = output.split("\n\n", maxsplit=1)[0].splitlines()
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}


def checkpoint_ids(root: Path, session_id: str = "one") -> list[str]:
    return sorted(file.stem for file in (root / "sessions" / session_id / "checkpoints").iterdir())


# --- the portrait --------------------------------------------------------------------------------


def test_path_visits_retries_and_problems_are_told(kept: Path) -> None:
    result = invoke(kept, "show", "one")
    facts = facts_of(result.stdout)
    assert facts["path"] == "plan > fetch > fetch"
    assert facts["visits"] == "fetch x2 (3 retries), plan x1"
    assert facts["problems"] == "high: problem 2"  # the last five, oldest first
    assert "high: problem 6" in result.stdout
    assert "problem 1" not in result.stdout
    assert "and 2 before" in result.stdout


def test_the_size_on_disk_is_what_the_store_measures(kept: Path) -> None:
    used = SessionStore(kept).usage("one")
    assert used.bytes > 0
    session = json.loads(invoke(kept, "show", "one", "-o", "json").stdout)["session"]
    assert session["usage"]["bytes"] == used.bytes
    assert facts_of(invoke(kept, "show", "one").stdout)["on disk"].endswith(")")


def test_problems_of_any_shape_are_told(tmp_path: Path) -> None:
    problems = [{}, {"message": HOSTILE}, {"severity": 3, "nested": {"a": [1]}}]
    put(tmp_path, "one", state("one", problems=problems))
    result = invoke(tmp_path, "show", "one")
    assert result.exit_code == 0
    assert "nested" in result.stdout
    assert not acting(result.stdout)


# --- --at ----------------------------------------------------------------------------------------


def test_at_shows_the_session_as_it_was_in_a_checkpoint(kept: Path) -> None:
    (earlier,) = [name for name in checkpoint_ids(kept) if "node_complete" in name]
    result = invoke(kept, "show", "one", "--at", "cp_node")
    assert result.exit_code == 0, result.stderr
    facts = facts_of(result.stdout)
    assert facts["as of checkpoint"] == earlier
    assert facts["status"] == "active"
    assert "owner" not in facts  # of then, not of now
    session = json.loads(invoke(kept, "show", "one", "--at", earlier, "-o", "json").stdout)
    assert session["session"]["state"]["data_buffer"] == {"plan": "draft"}
    assert session["session"]["at"] == earlier
    by_revision = invoke(kept, "show", "one", "--at", f"r{session['session']['state']['revision']}")
    assert by_revision.stdout == result.stdout


def test_at_refuses_what_is_ambiguous_or_missing(kept: Path) -> None:
    ambiguous = invoke(kept, "show", "one", "--at", "cp_")
    assert ambiguous.exit_code == 2
    assert all(name in ambiguous.stderr for name in checkpoint_ids(kept))
    missing = invoke(kept, "show", "one", "--at", HOSTILE.replace("\x00", ""))
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert checkpoint_ids(kept)[-1] in missing.stderr, "those that there are"
    assert not acting(missing.stderr)


# --- --state and --raw ---------------------------------------------------------------------------


def test_state_is_the_stored_state_as_ascii_json(tmp_path: Path) -> None:
    written = state("one", goal_id=HOSTILE, data_buffer={HOSTILE: ["ž", 1.5, None]})
    put(tmp_path, "one", written)
    result = invoke(tmp_path, "show", "one", "--state")
    assert result.exit_code == 0
    assert result.stdout.isascii()
    assert not acting(result.stdout)
    shown = json.loads(result.stdout)
    assert {name: shown[name] for name in written if name != "timestamps"} == {
        name: value for name, value in written.items() if name != "timestamps"
    }


def test_state_at_a_checkpoint_is_that_of_then(kept: Path) -> None:
    shown = json.loads(invoke(kept, "show", "one", "--state", "--at", "cp_node").stdout)
    assert shown["data_buffer"] == {"plan": "draft"}


def test_raw_is_every_byte_as_it_is_stored(kept: Path) -> None:
    file = kept / "sessions/one/state.json"
    done = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(kept), "show", "one", "--raw"],
        check=True, capture_output=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    assert done.stdout == file.read_bytes()
    (name,) = [name for name in checkpoint_ids(kept) if "node_complete" in name]
    done = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(kept),
         "show", "one", "--raw", "--at", name],
        check=True, capture_output=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    assert done.stdout == (kept / f"sessions/one/checkpoints/{name}.json").read_bytes()


def test_raw_gives_a_damaged_state_too(tmp_path: Path) -> None:
    file = put(tmp_path, "torn")
    damaged = b'{"session_id": "torn\xff\x00'
    file.write_bytes(damaged)
    done = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(tmp_path), "show", "torn", "--raw"],
        check=True, capture_output=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    assert done.stdout == damaged


def test_raw_bytes_reach_a_terminal_escaped(tmp_path: Path) -> None:
    put(tmp_path, "torn").write_bytes(b'{\n"a": "\x1b[31m\xff\xe2\x80\xae"\n')
    shown = on_terminal("--root", str(tmp_path), "show", "torn", "--raw", both=True)
    assert shown.replace("\r\n", "\n") == '{\n"a": "\\x1b[31m\\xff\\u202e"\n'


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("one", "--state", "--raw"), "--state and --raw cannot be combined"),
        (("one", "--raw", "-o", "json"), "cannot be combined with -o"),
        (("one", "two", "--raw"), "takes one ID"),
        (("-", "--at", "cp"), "one session id from stdin, which has none"),
        ((), "Missing argument"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    kept: Path, args: tuple[str, ...], said: str
) -> None:
    result = invoke(kept, "show", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


# --- several -------------------------------------------------------------------------------------


def test_several_ids_and_those_on_stdin_are_shown_in_order(kept: Path) -> None:
    args = ("--root", str(kept), "show")
    assert run(*args, "two", "on", "-o", "ids").stdout == "two\none\n"
    piped = run(*args, "two", "-", "-o", "ids", input="\n one \n\ntw\n", stdin=None)
    assert (piped.returncode, piped.stdout) == (0, "two\none\ntwo\n")


def test_a_listing_can_be_piped_into_show(kept: Path) -> None:
    listed = run("--root", str(kept), "ls", "-o", "ids").stdout
    shown = run("--root", str(kept), "show", "-", "-o", "jsonl", input=listed, stdin=None)
    ids = [json.loads(line)["session_id"] for line in shown.stdout.splitlines()]
    assert ids == listed.split()


def test_several_as_json_are_one_object(kept: Path) -> None:
    answer = json.loads(invoke(kept, "show", "one", "two", "-o", "json").stdout)
    assert answer["schema"] == "sessionstore.several/1"
    assert [item["session_id"] for item in answer["sessions"]] == ["one", "two"]


def test_no_ids_on_stdin_is_nothing_to_show(kept: Path) -> None:
    done = run("--root", str(kept), "show", "-", "--state", input="\n", stdin=None)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_damaged_among_several_shows_in_the_exit_code(kept: Path) -> None:
    put(kept, "torn", "{")
    result = invoke(kept, "show", "torn", "two", "-o", "ids")
    assert (result.exit_code, result.stdout) == (5, "torn\ntwo\n")


def test_an_id_on_stdin_that_no_session_has_ends_it(kept: Path) -> None:
    done = run("--root", str(kept), "show", "-", "-o", "ids", input="one\nnone\ntwo\n", stdin=None)
    assert (done.returncode, done.stdout) == (3, "one\n")


def test_raw_of_any_backend_is_what_was_stored() -> None:
    store = SessionStore(MemoryBackend())
    with store.create("a-goal", session_id="one") as session:
        kept = session.checkpoint("manual")
        session.complete()
    assert json.loads(store.raw("one"))["status"] == "completed"
    assert json.loads(store.raw("one", kept.checkpoint_id))["status"] == "active"
    with pytest.raises(SessionNotFound):
        store.raw("none")
    with pytest.raises(InvalidSessionId):
        store.raw("one", "../state")


# --- owner, damage, checkpoints ------------------------------------------------------------------


def test_show_tells_status_owner_liveness_progress_and_checkpoints(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    result = invoke(tmp_path, "show", "left")
    assert result.exit_code == 0, result.stderr
    facts = {
        line.split("  ")[0]: line.split("  ", 1)[1].strip()
        for line in result.stdout.split("\n\n")[0].splitlines()
    }
    pid = read_state(tmp_path, "left")["pid"]
    assert facts["status"] == "active, stale"
    assert facts["owner"].startswith(f"pid {pid} (")
    assert facts["liveness"] == f"dead: pid {pid} is gone"
    assert facts["node"] == "plan"
    assert facts["resumable"] == "yes"
    assert facts["sizes"].startswith("state ")
    kept = [file.stem for file in (tmp_path / "sessions/left/checkpoints").iterdir()]
    last = result.stdout.splitlines()[-1]
    assert last.startswith(kept[0])
    assert last.endswith("latest")


def test_show_as_json_gives_the_whole_state(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    answer = json.loads(invoke(tmp_path, "show", "left", "-o", "json").stdout)
    assert answer["schema"] == "sessionstore.session/1"
    session = answer["session"]
    assert session["state"] == read_state(tmp_path, "left")
    assert session["liveness"]["verdict"] == "dead"
    assert session["is_stale"]
    assert [item["node"] for item in session["checkpoints"]] == ["plan"]
    line = json.loads(invoke(tmp_path, "show", "left", "-o", "jsonl").stdout)
    assert line == {"schema": "sessionstore.several.line/1", **session}


def test_checkpoints_are_shown_oldest_first(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("a-goal", session_id="one") as session:
        for node in ("first", "second", "third"):
            session.checkpoint("node_complete", node=node)
        session.complete()
    answer = json.loads(invoke(tmp_path, "show", "one", "-o", "json").stdout)
    assert [item["node"] for item in answer["session"]["checkpoints"]] == [
        "first", "second", "third",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_show_of_a_damaged_session_says_what_is_damaged_and_exits_with_5(
    tmp_path: Path, form: str
) -> None:
    file = put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "show", "torn", "-o", form)
    assert result.exit_code == 5
    if form != "ids":
        assert str(file) in result.stdout
        assert "EOF" in result.stdout


@pytest.mark.parametrize("damage", ["file", "directory"])
def test_a_damaged_checkpoint_is_damage_too(tmp_path: Path, damage: str) -> None:
    changes = {"checkpoint_enabled": True, "latest_checkpoint_id": "cp"}
    kept = put(tmp_path, "one", state("one", **changes)).parent / "checkpoints"
    if damage == "file":
        kept.mkdir()
        (kept / "cp.json").write_text("{")
    else:
        kept.write_text("no directory")
    result = invoke(tmp_path, "show", "one")
    assert result.exit_code == 5
    assert "damaged: " in result.stdout
    answer = json.loads(invoke(tmp_path, "show", "one", "-o", "json").stdout)
    assert not answer["session"]["is_resumable"]
    assert answer["session"]["unresumable"]


def test_show_names_the_holder_of_a_live_session(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    result = invoke(tmp_path / "store", "show", "held")
    assert result.exit_code == 0
    assert f"alive: held by pid {held.owner.pid}" in result.stdout
