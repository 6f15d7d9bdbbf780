"""Whom a session belongs to, when pids, namespaces, users and clocks mislead."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    SessionClaimed,
    SessionOwner,
    SessionStore,
)
from sessionstore.clock import utc_now
from sessionstore.durable import mounts
from sessionstore.process import identity
from tests.faults.support.identity import (
    CONTAINER,
    HIDDEN,
    NOBODY,
    SHIFTED,
    TIMES,
    actor,
)
from tests.faults.support.tally import tally
from tests.support.processes import (
    DEADLINE,
    Child,
    left_active,
    needs_linux,
    needs_root,
    process_letter,
    read_state,
    state_path,
    until,
)


def counted(cases: int) -> None:
    tally("identities", promise=7, cases=cases)


def ids(items: Any) -> list[str]:
    return [item.session_id for item in items]


# --- a pid is given out twice -------------------------------------------------------------------


@needs_root("chooses the next pid")
def test_a_process_that_got_a_dead_owner_s_pid_does_not_keep_its_session(tmp_path: Path) -> None:
    with actor(tmp_path, wrapper=CONTAINER) as inside:
        inside.hear()
        told = inside.ask("leave_to_a_double", session_id="s1", pid=4321)
        assert told == {"first": 4321, "second": 4321}
        assert read_state(tmp_path, "s1")["owner"]["pid"] == 4321
        liveness = inside.ask("liveness", session_id="s1")
        assert liveness == {"verdict": "dead", "reason": "pid 4321 is another process now"}
        assert inside.ask("recover")["swept"] == ["s1"]
        # All that the original stores know is the pid: it runs, so nobody may take it for dead.
        left_active(tmp_path, "bare", owner=None, pid=4321)
        with SessionStore(tmp_path) as store:
            store.find(verify=True)  # written by hand: nobody told the index
        assert inside.ask("liveness", session_id="bare")["verdict"] == "alive"
        assert inside.ask("recover")["alive"] == ["bare"]
        inside.ask("end_double", pid=4321)
        assert inside.ask("recover")["swept"] == ["bare"]
    counted(2)


@needs_root("chooses the next pid")
def test_a_sweeper_with_the_pid_of_the_dead_owner_does_not_take_itself_for_it(
    tmp_path: Path,
) -> None:
    with actor(tmp_path, wrapper=CONTAINER) as inside:
        inside.hear()
        told = inside.ask("sweep_as", session_id="s1", pid=777)
        assert told == {"sweeper": 777, "swept": ["s1"], "alive": [], "unknown": []}
        assert inside.hear() == {"first": 777, "second": 777}
    assert "is another process now" in read_state(tmp_path, "s1")["recovery"]["reason"]
    counted(1)


@needs_root("chooses the next pid")
def test_two_processes_of_one_pid_and_one_tick_are_told_apart(tmp_path: Path) -> None:
    with actor(tmp_path, wrapper=CONTAINER) as inside:
        inside.hear()
        told = inside.ask("doubles_of_one_tick", pid=5000, seconds=DEADLINE / 2)
    if not told["has_inode"]:
        pytest.skip("the kernel is older than 6.9: pidfds have no inodes of their own")
    assert told["same_tick"], told
    assert (told["verdict"], told["reason"]) == ("dead", "pid 5000 is another process now")
    counted(1)


# --- containers ---------------------------------------------------------------------------------


@needs_root("makes PID namespaces")
def test_two_containers_that_share_a_store_sweep_each_other_s_dead_and_never_the_living(
    tmp_path: Path,
) -> None:
    with (
        actor(tmp_path, wrapper=CONTAINER) as one,
        actor(tmp_path, wrapper=CONTAINER) as two,
    ):
        assert one.hear()["pid"] == two.hear()["pid"] == 1
        one.ask("create", session_id="of-one")
        two.ask("create", session_id="of-two")
        mine, theirs = (read_state(tmp_path, f"of-{who}")["owner"] for who in ("one", "two"))
        for same in ("host", "boot_id", "pid"):
            assert mine[same] == theirs[same]
        assert mine["pid_namespace"] != theirs["pid_namespace"]
        for _ in range(20):
            for sweeper in (one, two):
                told = sweeper.ask("recover")
                assert sorted(told.pop("alive")) == ["of-one", "of-two"]
                assert told == {"swept": [], "unknown": []}
        one.ask("save", step=2)
        # A dead one inside the other container, and one whose pid 1 is ours as well.
        one.ask("leave_dead", session_id="dead-inside")
        assert two.ask("recover")["swept"] == ["dead-inside"]
        one.kill()
        until(lambda: two.ask("recover")["swept"] == ["of-one"], "the sweep of a dead container")
        assert read_state(tmp_path, "of-one")["status"] == "failed"
        assert read_state(tmp_path, "of-two")["revision"] == 1
        assert two.ask("save", step=2) == {"revision": 2}
    counted(44)


@needs_root("makes PID namespaces")
def test_a_stopped_container_keeps_its_session(tmp_path: Path) -> None:
    with (
        actor(tmp_path, wrapper=CONTAINER) as held,
        actor(tmp_path, wrapper=CONTAINER) as sweeper,
    ):
        held.hear()
        sweeper.hear()
        held.ask("create", session_id="s1")
        inner = int(Path(f"/proc/{held.pid}/task/{held.pid}/children").read_text())
        os.kill(inner, signal.SIGSTOP)
        try:
            until(lambda: process_letter(inner) == "T", "the container to stop")
            assert sweeper.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
            refused = sweeper.ask("claim_forced", session_id="s1")
            assert refused["error"] == "SessionClaimed"
        finally:
            os.kill(inner, signal.SIGCONT)
        assert held.ask("save", step=2) == {"revision": 2}
    counted(2)


@needs_root("makes PID namespaces")
def test_a_container_that_was_started_again_sweeps_what_it_left_as_the_same_pid(
    tmp_path: Path,
) -> None:
    for run in range(5):
        with actor(tmp_path, wrapper=CONTAINER) as first:
            assert first.hear()["pid"] == 1
            first.ask("create", session_id=f"s{run}")
        with actor(tmp_path, wrapper=CONTAINER) as again:
            assert again.hear()["pid"] == 1
            until(
                lambda: not again.ask("recover")["alive"],
                "the kernel to free the lock of the killed container",
            )
        assert read_state(tmp_path, f"s{run}")["status"] == "failed"
        assert read_state(tmp_path, f"s{run}")["recovery"]["count"] == 1
    counted(5)


# --- another boot -------------------------------------------------------------------------------


def test_this_very_process_of_an_earlier_boot_is_dead(tmp_path: Path) -> None:
    """Pids and start ticks come again after a boot: a container starts as pid 1 each time."""
    mine = identity.new_owner(utc_now())
    left_active(tmp_path, owner={**mine.model_dump(), "boot_id": "earlier"}, pid=os.getpid())
    store = SessionStore(tmp_path)
    assert "rebooted since" in store.liveness("s1").reason
    assert ids(store.recover().swept) == ["s1"]
    counted(1)


@pytest.mark.parametrize("boot_id", ["earlier", "", None])
def test_on_a_shared_file_system_another_boot_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot_id: str | None
) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda path: "nfs4")
    mine = identity.new_owner(utc_now())
    left_active(tmp_path, owner={**mine.model_dump(), "boot_id": boot_id}, pid=os.getpid())
    before = state_path(tmp_path, "s1").read_bytes()
    store = SessionStore(tmp_path)
    assert store.liveness("s1").is_unknown
    assert ids(store.recover().unknown) == ["s1"]
    with pytest.raises(SessionClaimed):
        store.claim("s1")
    assert state_path(tmp_path, "s1").read_bytes() == before
    assert ids(store.recover(assume_dead=["s1"]).swept) == ["s1"]  # a person named it
    counted(1)


# --- clocks -------------------------------------------------------------------------------------


def ten_years(sign: str) -> dict[str, str]:
    """Return the environment of a process whose wall clock is wrong; its files' times are not."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"{sign}10y",
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@needs_linux("libfaketime")
@pytest.mark.parametrize(("owners", "judges"), ["+-", "-+"])
def test_clocks_twenty_years_apart_change_no_verdict(
    tmp_path: Path, owners: str, judges: str
) -> None:
    with (
        actor(tmp_path, env=ten_years(owners)) as held,
        actor(tmp_path, env=ten_years(judges)) as judge,
        ExitStack() as later,
    ):
        for child in (held, judge):
            # libfaketime shares the time with children, and leaves that behind when it is killed.
            for name in (f"faketime_shm_{child.pid}", f"sem.faketime_sem_{child.pid}"):
                later.callback(Path("/dev/shm", name).unlink, missing_ok=True)
        held.hear()
        judge.hear()
        apart = held.ask("tell_pid")["seconds"] - judge.ask("tell_pid")["seconds"]
        assert abs(apart) > timedelta(days=19 * 365).total_seconds()
        held.ask("create", session_id="s1")
        for _ in range(5):
            assert judge.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
            held.ask("save", step=1)
        # Now nothing but the record speaks for it.
        (tmp_path / "locks" / "s1.lock").unlink()
        assert judge.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
        assert "still runs" in judge.ask("liveness", session_id="s1")["reason"]
        held.crash()
        until(lambda: judge.ask("recover")["swept"] == ["s1"], "the sweep of a killed owner")
    assert read_state(tmp_path, "s1")["revision"] == 7
    counted(8)


@pytest.mark.parametrize("when", TIMES, ids=ascii)
def test_no_time_in_a_record_changes_a_verdict(
    tmp_path: Path, running: SessionOwner, when: str
) -> None:
    times = {"started_at": when, "updated_at": when, "completed_at": when}
    shifted = {**running.model_dump(), "claimed_at": when}
    gone = {**shifted, "pid": 2**22 + 1}
    left_active(tmp_path, "live", owner=shifted, pid=running.pid, timestamps=times)
    left_active(tmp_path, "dead", owner=gone, pid=gone["pid"], timestamps=times)
    store = SessionStore(tmp_path)
    report = store.recover()
    assert (ids(report.alive), ids(report.swept)) == (["live"], ["dead"])
    with pytest.raises(SessionClaimed) as refused:
        store.claim("live", force=True)
    assert str(refused.value).isprintable()
    assert store.load("dead").revision == 3
    counted(2)


def test_revisions_decide_who_is_newer_while_the_clock_jumps_both_ways(tmp_path: Path) -> None:
    year = timedelta(days=365)
    start = datetime(2026, 11, 22, 12, tzinfo=UTC)
    jumps = [0, 5, -30, 70, -50, 1, -1, 900, -1900, 0]
    moment = start

    def jumping() -> datetime:
        return moment

    store = SessionStore(tmp_path, clock=jumping)
    session = store.create("goal", session_id="s1")
    seen = list[str]()
    for number, jump in enumerate(jumps):
        moment = start + jump * year
        session.state.data_buffer["number"] = number
        session.checkpoint("step")
        stored = read_state(tmp_path, "s1")
        assert stored["revision"] == number + 2
        seen.append(stored["timestamps"]["updated_at"][:4])
        assert store.liveness("s1").is_alive
        assert store.recover().swept == ()
    assert len(set(seen)) > 5  # the clock did jump
    kept = store.checkpoints("s1")
    assert [item.revision for item in kept] == list(range(2, len(jumps) + 2))
    session.complete()
    assert read_state(tmp_path, "s1")["duration_ms"] == 0
    with store.resume("s1", again=True) as again:
        assert again.state.data_buffer["number"] == len(jumps) - 1
        again.complete()
    counted(len(jumps))


# --- time namespaces ----------------------------------------------------------------------------


@needs_root("makes a time namespace")
@pytest.mark.parametrize("shifted", ["owner", "judge"])
def test_a_time_namespace_changes_start_times_but_no_verdict(tmp_path: Path, shifted: str) -> None:
    wrappers = [SHIFTED if shifted == who else [] for who in ("owner", "judge")]
    with (
        actor(tmp_path, wrapper=wrappers[0]) as held,
        actor(tmp_path, wrapper=wrappers[1]) as judge,
    ):
        held.hear()
        judge.hear()
        pid = held.ask("create", session_id="s1")["pid"]
        told = read_state(tmp_path, "s1")["owner"]
        kernel = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        assert (told["start_token"] != kernel) is (shifted == "owner")
        assert judge.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
        if told["pidfd_inode"] is None:
            pytest.skip("the kernel is older than 6.9: pidfds have no inodes of their own")
        (tmp_path / "locks" / "s1.lock").unlink()
        assert judge.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
        os.kill(pid, signal.SIGKILL)
        held.wait()
        assert judge.ask("recover")["swept"] == ["s1"]
    counted(3)


# --- processes of others ------------------------------------------------------------------------


def give_to_nobody(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


@needs_root("gives up its rights, hides processes")
@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidepid"])
def test_a_process_of_another_user_is_not_taken_for_dead(tmp_path: Path, hidden: bool) -> None:
    root = tmp_path / "root"
    with actor(root) as other:
        pid = other.hear()["pid"]
        other.ask("create", session_id="held")
        told = read_state(root, "held")["owner"]
        left_active(root, "free", owner=told, pid=pid)
        left_active(root, "bare", owner=None, pid=pid)
        left_active(root, "gone", owner={**told, "pid": 2**22 + 1}, pid=2**22 + 1)
        left_active(root, "bare-gone", owner=None, pid=2**22 + 1)
        give_to_nobody(root)
        script = HIDDEN if hidden else HIDDEN.replace("-o hidepid=2", "")
        wrapper = ["unshare", "--mount", "sh", "-c", script, "sh", str(root)]
        with actor("/mnt", wrapper=wrapper) as judge:
            judge.hear()
            assert judge.ask("become_nobody") == {"uid": NOBODY}
            sight = judge.ask("sees", pid=pid)
            assert sight == {"in_proc": not hidden, "signal": "PermissionError"}
            verdicts = {
                name: judge.ask("liveness", session_id=name)["verdict"]
                for name in ("held", "free", "bare", "gone", "bare-gone")
            }
            assert verdicts == {
                "held": "alive",
                "free": "alive",
                "bare": "unknown" if hidden else "alive",
                "gone": "dead",
                "bare-gone": "dead",
            }
            report = judge.ask("recover")
            assert sorted(report["swept"]) == ["bare-gone", "gone"]
            assert report["unknown"] == (["bare"] if hidden else [])
            assert judge.ask("claim_forced", session_id="free")["error"] == "SessionClaimed"
        for name in ("held", "free", "bare"):
            assert read_state(root, name)["status"] == "active"
        assert other.ask("save", step=2) == {"revision": 2}
    counted(6)


# --- zombies ------------------------------------------------------------------------------------


@needs_linux("the first thread of a process can end alone")
def test_a_process_whose_first_thread_has_ended_lives(tmp_path: Path) -> None:
    with Child("faults.support.identity.live_without_leader") as child:
        pid = child.hear()["pid"]
        until(lambda: process_letter(pid) == "Z", "the first thread to end")
        assert len(os.listdir(f"/proc/{pid}/task")) == 2
        left_active(tmp_path, owner=None, pid=pid)
        before = state_path(tmp_path, "s1").read_bytes()
        assert ids(SessionStore(tmp_path).recover().alive) == ["s1"]
        assert state_path(tmp_path, "s1").read_bytes() == before
    assert ids(SessionStore(tmp_path).recover().swept) == ["s1"]
    counted(2)
