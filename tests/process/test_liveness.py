"""Who is alive: the table of the design row by row, with real processes where it can be."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import Liveness, SessionClaimed, SessionOwner, SessionStore, Verdict
from sessionstore.clock import utc_now
from sessionstore.durable import mounts
from sessionstore.process import identity, kernel
from sessionstore.process import liveness as processes
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    needs_linux,
    needs_root,
    new_session,
    read_state,
    state_path,
)


def record(**changes: object) -> dict[str, Any]:
    """Return the owner record of this process, as a claim of its own would write it, changed."""
    return {**identity.new_owner(utc_now()).model_dump(), **changes}


@pytest.fixture
def running() -> Iterator[SessionOwner]:
    """The record of another process that runs, and holds nothing."""
    with Child("identify") as child:
        yield SessionOwner.model_validate(child.hear()["owner"])


@pytest.fixture
def gone() -> SessionOwner:
    """The record of a process that has ended and was reaped."""
    with Child("identify") as child:
        return SessionOwner.model_validate(child.hear()["owner"])


def judged(root: Path) -> Liveness:
    """Return the verdict, having seen that the sweep acts on it and touches nothing else."""
    store = SessionStore(root)
    before = state_path(root, "s1").read_bytes()
    liveness = store.liveness("s1")
    assert [item.session_id for item in store.find(stale=True).items] == (
        ["s1"] if liveness.is_dead else []
    )
    if not liveness.is_dead:
        with pytest.raises(SessionClaimed):
            store.claim("s1")
    report = store.recover()
    groups = {Verdict.ALIVE: report.alive, Verdict.UNKNOWN: report.unknown}
    found = groups.get(liveness.verdict, report.swept)
    assert [item.session_id for item in found] == ["s1"]
    if liveness.is_dead:
        assert read_state(root, "s1")["status"] == "failed"
        assert read_state(root, "s1")["recovery"]["count"] == 1
    else:
        assert state_path(root, "s1").read_bytes() == before
    return liveness


def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the root's file system be one that other hosts share."""
    monkeypatch.setattr(mounts, "kind_of", lambda path: "nfs4")


# --- the lock is held ---------------------------------------------------------------------------


def test_a_held_lock_means_alive_whatever_the_record_says(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    for changes in ({"owner": None, "pid": None}, {"owner": record(pid=2**22 + 1, boot_id="x")}):
        edit_state(tmp_path, "s1", **changes)
        assert store.liveness("s1").is_alive
        assert [item.session_id for item in store.recover(assume_dead=["s1"]).alive] == ["s1"]
    session._writer.free()


# --- the lock is free, the record is ours, the file system local --------------------------------


def test_an_owner_that_is_gone_is_dead(tmp_path: Path, gone: SessionOwner) -> None:
    left_active(tmp_path, owner=gone.model_dump(), pid=gone.pid)
    assert judged(tmp_path).reason == f"pid {gone.pid} is gone"


def test_an_owner_that_still_runs_is_alive_though_its_lock_is_free(
    tmp_path: Path, running: SessionOwner
) -> None:
    left_active(tmp_path, owner=running.model_dump(), pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_alive
    assert "its lock file was replaced" in liveness.reason
    with pytest.raises(SessionClaimed) as caught:
        SessionStore(tmp_path).claim("s1", force=True)
    assert caught.value.owner.pid == running.pid


@needs_linux("start ticks of the kernel, pidfd")
def test_a_pid_that_was_reused_does_not_keep_a_session_alive(
    tmp_path: Path, running: SessionOwner
) -> None:
    other = running.model_copy(update={"start_token": "1", "pidfd_inode": None})
    left_active(tmp_path, owner=other.model_dump(), pid=running.pid)
    assert judged(tmp_path).reason == f"pid {running.pid} is another process now"


@needs_linux("pidfd")
def test_a_pid_that_was_reused_within_one_tick_is_told_by_its_pidfd(
    tmp_path: Path, running: SessionOwner
) -> None:
    if running.pidfd_inode is None:
        pytest.skip("the kernel is older than 6.9: pidfds have no inodes of their own")
    other = running.model_copy(update={"pidfd_inode": running.pidfd_inode + 1})
    left_active(tmp_path, owner=other.model_dump(), pid=running.pid)
    assert judged(tmp_path).reason == f"pid {running.pid} is another process now"


def test_a_running_pid_whose_start_is_unknown_is_dead_since_its_lock_is_free(
    tmp_path: Path, running: SessionOwner
) -> None:
    other = running.model_copy(update={"start_token": None, "pidfd_inode": None})
    left_active(tmp_path, owner=other.model_dump(), pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_dead
    assert "its lock is free" in liveness.reason


def test_a_claim_that_this_process_dropped_is_dead(tmp_path: Path) -> None:
    left_active(tmp_path, owner=record(), pid=os.getpid())
    assert judged(tmp_path).is_dead


ELSEWHERE = [
    ({"boot_id": "another-boot"}, "rebooted since"),
    ({"boot_id": "another-boot", "host": "web7"}, "on another host"),
    ({"boot_id": None, "host": "web7"}, "on another host"),
    ({"pid_namespace": "pid:[1]"}, "another PID namespace"),
]


@pytest.mark.parametrize(("changes", "reason"), ELSEWHERE)
def test_a_free_lock_on_a_local_file_system_is_proof_wherever_the_owner_was(
    tmp_path: Path, running: SessionOwner, changes: dict[str, object], reason: str
) -> None:
    """The pid runs here, but it is another process: one kernel has all the locks."""
    left_active(tmp_path, owner={**running.model_dump(), **changes}, pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_dead
    assert reason in liveness.reason


# --- a network file system ----------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "reason"), ELSEWHERE)
def test_on_a_network_file_system_what_ran_elsewhere_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], reason: str
) -> None:
    network(monkeypatch)
    left_active(tmp_path, owner=record(**changes), pid=1)
    liveness = judged(tmp_path)
    assert liveness.is_unknown
    assert reason in liveness.reason


def test_on_a_network_file_system_the_same_boot_is_judged_by_its_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    running: SessionOwner,
    gone: SessionOwner,
) -> None:
    network(monkeypatch)
    left_active(tmp_path, owner=running.model_dump(), pid=running.pid)
    assert judged(tmp_path).is_alive
    edit_state(tmp_path, "s1", owner=gone.model_dump(), pid=gone.pid)
    assert judged(tmp_path).is_dead


def test_a_person_may_name_what_cannot_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network(monkeypatch)
    left_active(tmp_path, owner=record(boot_id="x", host="web7"), pid=1)
    store = SessionStore(tmp_path)
    with pytest.raises(SessionClaimed, match=r"on another host.*force=True"):
        store.claim("s1")
    with store.claim("s1", force=True) as session:
        assert session.state.recovery is not None
        assert "assumed dead by a person" in session.state.recovery.reason
    left_active(tmp_path, "s2", owner=record(boot_id="x", host="web7"), pid=1)
    assert [item.session_id for item in store.recover(assume_dead=["s2"]).swept] == ["s2"]
    assert "assumed" in read_state(tmp_path, "s2")["recovery"]["reason"]


# --- a look that failed, and a place that is not known ------------------------------------------


def looks(monkeypatch: pytest.MonkeyPatch, state: Any, why: str = "") -> None:
    """Let every look at a process find this."""
    monkeypatch.setattr(kernel, "process_state", lambda pid: kernel.ProcessLook(state, why))


@pytest.mark.parametrize("where", ["local", "network"])
def test_a_look_that_failed_is_unknown_whatever_the_lock_proves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: SessionOwner, where: str
) -> None:
    """Its lock file may have been replaced: it may be that very process."""
    if where == "network":
        network(monkeypatch)
    looks(monkeypatch, "failed", "Too many open files")
    left_active(tmp_path, owner=running.model_dump(), pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_unknown
    assert liveness.reason == f"pid {running.pid} cannot be looked at: Too many open files"


@pytest.mark.parametrize("where", ["local", "network"])
def test_a_process_that_nobody_may_look_at_is_dead_only_where_its_free_lock_is_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: SessionOwner, where: str
) -> None:
    if where == "network":
        network(monkeypatch)
    looks(monkeypatch, "unreadable")
    monkeypatch.setattr(kernel, "pidfd_inode", lambda pid: None)
    monkeypatch.setattr(kernel, "start_token", lambda pid: None)
    left_active(tmp_path, owner=running.model_dump(), pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_dead == (where == "local")
    assert liveness.is_unknown == (where == "network")
    assert "runs, but cannot be inspected" in liveness.reason


@pytest.mark.parametrize("unknown", ["boot_id", "pid_namespace"])
@needs_linux("PID namespaces")
def test_without_a_boot_id_or_a_namespace_nobody_who_may_run_is_dead(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    running: SessionOwner,
    gone: SessionOwner,
    unknown: str,
) -> None:
    here = identity.this_process()
    monkeypatch.setattr(identity, "this_process", lambda: here | {unknown: None})
    left_active(tmp_path, owner=running.model_dump(), pid=running.pid)
    liveness = judged(tmp_path)
    assert liveness.is_unknown
    assert f"pid {running.pid} still runs" in liveness.reason
    assert "cannot be known" in liveness.reason
    edit_state(tmp_path, "s1", owner=gone.model_dump(), pid=gone.pid)
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "kind_of", lambda path: "fuse.sshfs")
        assert SessionStore(tmp_path).liveness("s1").is_unknown
    assert judged(tmp_path).is_dead


def test_a_bare_pid_that_cannot_be_looked_at_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: SessionOwner
) -> None:
    left_active(tmp_path, owner=None, pid=running.pid)
    looks(monkeypatch, "failed", "Cannot allocate memory")
    assert "Cannot allocate memory" in judged(tmp_path).reason
    looks(monkeypatch, "unreadable")
    assert judged(tmp_path).is_unknown


# --- nothing but a pid ---------------------------------------------------------------------------


@pytest.mark.parametrize("pid", [-(2**70), -1, 0])
def test_what_is_no_process_id_is_unknown(tmp_path: Path, pid: int) -> None:
    left_active(tmp_path, owner=None, pid=pid)
    assert judged(tmp_path).is_unknown


@pytest.mark.parametrize("pid", [2**31, 2**63, 2**70, 2**31 - 1])
def test_a_pid_that_no_process_can_have_is_gone(tmp_path: Path, pid: int) -> None:
    left_active(tmp_path, owner=None, pid=pid)
    assert judged(tmp_path).reason == f"pid {pid} is gone"


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["init", "this process"])
def test_a_bare_pid_that_runs_is_alive(tmp_path: Path, pid: int) -> None:
    left_active(tmp_path, owner=None, pid=pid)
    assert judged(tmp_path).is_alive


def test_a_bare_pid_that_is_gone_is_dead(tmp_path: Path, gone: SessionOwner) -> None:
    left_active(tmp_path, owner=None, pid=gone.pid)
    assert judged(tmp_path).is_dead


@needs_linux("threads have ids of their own")
def test_the_id_of_a_thread_is_no_process(tmp_path: Path) -> None:
    found, done = threading.Event(), threading.Event()
    ids = list[int]()

    def run() -> None:
        ids.append(threading.get_native_id())
        found.set()
        done.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        found.wait()
        left_active(tmp_path, owner=None, pid=ids[0])
        assert judged(tmp_path).reason == f"pid {ids[0]} is gone"
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("changes", [{"owner": None, "pid": None}, {"owner": {}, "pid": None}])
def test_an_active_session_without_an_owner_is_unknown(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    left_active(tmp_path, **changes)
    assert judged(tmp_path).reason == "no owner recorded"


def test_a_session_that_nobody_holds_says_so(tmp_path: Path) -> None:
    new_session(tmp_path)
    liveness = SessionStore(tmp_path).liveness("s1")
    assert liveness.is_dead
    assert "paused" in liveness.reason


# --- PID namespaces ------------------------------------------------------------------------------

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


@needs_root("makes a PID namespace")
def test_a_live_owner_in_another_pid_namespace_is_never_swept(tmp_path: Path) -> None:
    with Child("act", tmp_path, wrapper=NAMESPACE) as inside:
        assert inside.hear()["pid"] == 1
        inside.ask("create", session_id="s1")
        store = SessionStore(tmp_path)
        assert store.liveness("s1").is_alive
        assert [item.session_id for item in store.recover(assume_dead=["s1"]).alive] == ["s1"]
        assert read_state(tmp_path, "s1")["status"] == "active"
        assert inside.ask("save", step=2) == {"revision": 2}


@needs_root("makes a PID namespace")
def test_a_dead_owner_of_another_pid_namespace_is_swept(tmp_path: Path) -> None:
    with Child("act", tmp_path, wrapper=NAMESPACE) as inside:
        inside.hear()
        inside.ask("leave_dead", session_id="s1")
        liveness = judged(tmp_path)  # while its namespace lives on
    assert "another PID namespace" in liveness.reason


@needs_root("makes a PID namespace")
def test_from_inside_a_namespace_the_living_outside_are_left_and_the_dead_are_swept(
    tmp_path: Path,
) -> None:
    with Child("act", tmp_path) as outside, Child("act", tmp_path, wrapper=NAMESPACE) as inside:
        outside.hear()
        inside.hear()
        outside.ask("leave_dead", session_id="dead")
        outside.ask("create", session_id="live")
        told = inside.ask("recover")
        assert told == {"swept": ["dead"], "alive": ["live"], "unknown": []}
        assert inside.ask("liveness", session_id="live")["verdict"] == "alive"
        assert outside.ask("save", step=2) == {"revision": 2}
    assert read_state(tmp_path, "dead")["status"] == "failed"


def test_a_held_lock_is_no_evidence_where_the_process_alone_is_looked_up() -> None:
    mine = identity.new_owner(utc_now())
    identity.hold(mine)
    elsewhere = {"pid_namespace": "pid:[1]"}
    try:
        assert processes.look_up(mine) is Verdict.ALIVE
        assert processes.look_up(mine.model_copy(update=elsewhere)) is Verdict.UNKNOWN
        other = {"boot_id": "another", "host": "another"}
        assert processes.look_up(mine.model_copy(update=other)) is Verdict.UNKNOWN
        assert processes.look_up(mine.model_copy(update={"boot_id": "another"})) is Verdict.DEAD
        assert processes.look_up(mine.model_copy(update={"pid": None})) is Verdict.UNKNOWN
        # judge_owner takes the lock for free, and says another thing.
        kept = processes.judge_owner(mine.model_copy(update=elsewhere), lock_is_proof=False)
        assert kept.is_unknown
        kept = processes.judge_owner(mine.model_copy(update=elsewhere), lock_is_proof=True)
        assert kept.is_dead
    finally:
        identity.let_go(mine)
