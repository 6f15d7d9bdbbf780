"""Sessions that the start-up loop is to try again."""

from __future__ import annotations

from pathlib import Path

from sessionstore import SessionStore
from tests.support.cli import data, invoke, leave_behind, run
from tests.support.processes import left_active, new_session


def test_retry_marks_those_that_it_may_and_says_so(root: Path) -> None:
    leave_behind(root, "s2")
    new_session(root, "waits")
    left_active(root, "unknown", owner=None, pid=None)
    done = data(root, "retry", "s1", "s2")
    assert done["schema"] == "sessionstore.retries/1"
    revisions = {name: SessionStore(root).load(name).revision for name in ("s1", "s2")}
    assert {item["session_id"]: item["revision"] for item in done["retried"]} == revisions
    assert invoke(root, "ls", "--interrupted", "-o", "ids").stdout.split() == ["s2", "s1"]
    assert invoke(root, "retry", "waits").exit_code == 1
    assert invoke(root, "retry", "unknown").exit_code == 4
    some = invoke(root, "retry", "waits", "s1")
    assert (some.exit_code, some.stdout) == (6, "s1  to be tried again\n")
    assert invoke(root, "retry", "unknown", "--force").exit_code == 0


def test_ids_come_from_a_pipe_and_by_their_beginning(root: Path) -> None:
    new_session(root, "session_1", checkpoint=False)
    piped = run("--root", str(root), "retry", "session", "-", "-o", "ids", input="s1\n", stdin=None)
    assert (piped.returncode, piped.stdout) == (0, "session_1\ns1\n")


def test_the_state_to_go_on_from_can_be_chosen(root: Path) -> None:
    def loaded() -> object:
        return SessionStore(root).load("s1").data_buffer["score"]

    both = invoke(root, "retry", "s1", "--at", "r2", "--from-last-save")
    assert (both.exit_code, "cannot be combined" in both.output) == (2, True)
    assert invoke(root, "retry", "s1", "--at", "r9").exit_code == 3
    assert invoke(root, "retry", "s1", "--at", "r2").exit_code == 0
    assert loaded() == 1
    kept = [one.checkpoint_id for one in SessionStore(root).checkpoints("s1")]
    assert invoke(root, "retry", "s1", "--at", kept[-1][:16]).exit_code == 0  # before_resume
    assert loaded() == 3
    assert invoke(root, "retry", "s1", "--from-last-save").exit_code == 0
    (session,) = SessionStore(root).resume_interrupted()
    with session:
        assert session.state.data_buffer["score"] == 3
        session.complete()


def test_what_has_ended_or_waits_is_taken_only_with_again(root: Path) -> None:
    new_session(root, "waits")
    with SessionStore(root).resume("s1") as session:
        session.complete()
    for name in ("waits", "s1"):
        refused = invoke(root, "retry", name)
        assert refused.exit_code == 1
        assert f"sessionstore explain {name}" in refused.output
        assert f"sessionstore retry {name} --again" in invoke(root, "explain", name).stdout
        assert invoke(root, "retry", name, "--again").exit_code == 0
    assert sorted(invoke(root, "ls", "--interrupted", "-o", "ids").stdout.split()) == [
        "s1",
        "waits",
    ]
