"""Real processes that die, stop, fork and race for one session."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sessionstore import AsyncSessionStore, SessionClaimed, SessionExists, SessionStore
from tests.support.processes import (
    DEADLINE,
    Child,
    children,
    end,
    is_gone,
    leftovers,
    needs_linux,
    new_session,
    process_letter,
    read_state,
    rounds,
    until,
)

# --- what a held session takes ------------------------------------------------------------------


@needs_linux("limits are given to one process, and /proc names descriptors")
def test_directories_stay_open_only_while_descriptors_are_plenty(tmp_path: Path) -> None:
    with Child("hold_as_many_as_possible", tmp_path, 64) as holder:
        said = holder.hear()
        assert holder.wait() == 0
    assert "ulimit -n" in said["refused"]
    assert said["held"] > 35, "what was kept for convenience took the place of sessions"
    assert 5 < said["kept"] < said["held"] - 20
    assert said["saved"] == said["held"]


# --- who is dead --------------------------------------------------------------------------------


def test_a_killed_owner_is_swept(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        owner.ask("save", step=2)
        owner.crash()
        report = SessionStore(tmp_path).recover()
    assert [item.session_id for item in report.swept] == ["s1"]
    assert report.swept[0].is_resumable
    state = read_state(tmp_path, "s1")
    assert state["status"] == "failed"
    assert state["pid"] is None
    assert state["owner"] is None
    assert state["data_buffer"] == {"step": 2}
    assert state["recovery"]["count"] == 1
    assert state["recovery"]["owner"]["pid"] == owner.pid
    assert state["result"]["success"] is False
    assert f"pid {owner.pid}" in state["result"]["error"]


@needs_linux("reads the state of a process from /proc")
def test_a_stopped_owner_is_alive_and_not_swept(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1")
        before = (tmp_path / "sessions" / "s1" / "state.json").read_bytes()
        owner.signal(signal.SIGSTOP)
        until(lambda: process_letter(owner.pid) == "T", "the stop")
        store = SessionStore(tmp_path)
        assert store.liveness("s1").is_alive
        report = store.recover(assume_dead=["s1"])  # not even when a person says so
        assert [item.session_id for item in report.alive] == ["s1"]
        assert report.swept == ()
        with pytest.raises(SessionClaimed):
            store.claim("s1", force=True)
        assert (tmp_path / "sessions" / "s1" / "state.json").read_bytes() == before
        owner.signal(signal.SIGCONT)
        assert owner.ask("save", step=2) == {"revision": 2}


@needs_linux("reads the state of a process from /proc")
def test_a_zombie_is_dead_and_swept(tmp_path: Path) -> None:
    with Child("act", tmp_path) as parent:
        parent.hear()
        zombie = parent.ask("leave_dead", session_id="s1", reap=False)["pid"]
        until(lambda: process_letter(zombie) == "Z", "the death of the owner")
        store = SessionStore(tmp_path)
        liveness = store.liveness("s1")
        assert liveness.is_dead
        assert liveness.reason == f"pid {zombie} is a zombie"
        assert [item.session_id for item in store.recover().swept] == ["s1"]
        assert process_letter(zombie) == "Z"
        parent.ask("reap", pid=zombie)
    assert read_state(tmp_path, "s1")["status"] == "failed"


# --- forks --------------------------------------------------------------------------------------


@needs_linux("os.fork")
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_cannot_save_and_its_release_takes_nothing(tmp_path: Path, how: str) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1")
        met = owner.ask("fork", how=how)
        assert met["error"] == "ClaimLost"
        assert "forked child" in met["text"]
        assert met["child"] != owner.pid
        assert owner.hear() == {"done": True}
        assert read_state(tmp_path, "s1")["revision"] == 1
        with pytest.raises(SessionClaimed) as caught:  # the parent holds it still
            SessionStore(tmp_path).claim("s1")
        assert caught.value.owner.pid == owner.pid
        assert owner.ask("save", step=2) == {"revision": 2}


@needs_linux("os.fork")
def test_the_lock_is_free_after_the_owner_dies_though_its_child_lives(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        heir = owner.ask("fork_and_stay")["child"]
        try:
            owner.crash()
            assert not is_gone(heir)
            report = SessionStore(tmp_path).recover()
            assert [item.session_id for item in report.swept] == ["s1"]
            assert not is_gone(heir)
        finally:
            end(heir)


# --- a second claim -----------------------------------------------------------------------------


def test_a_second_claim_in_the_same_thread_is_refused_and_names_this_process(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1"):
        for other in (store, SessionStore(tmp_path)):
            with pytest.raises(
                SessionClaimed, match=f"held by this process: pid {os.getpid()} "
            ) as caught:
                other.claim("s1")
            assert caught.value.owner.pid == os.getpid()
            with pytest.raises(SessionClaimed):
                other.delete("s1")
    store.claim("s1").release()


def test_a_second_claim_in_another_thread_is_refused_and_names_this_process(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1"), ThreadPoolExecutor(1) as threads:
        error = threads.submit(store.claim, "s1").exception()
    assert isinstance(error, SessionClaimed)
    assert error.owner.pid == os.getpid()


def test_a_second_claim_in_another_process_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    with Child("act", tmp_path) as other:
        other.hear()
        with SessionStore(tmp_path).create("goal", session_id="s1"):
            refusal = other.ask("claim", session_id="s1")
            assert refusal["error"] == "SessionClaimed"
            assert refusal["owner_pid"] == os.getpid()
            assert f"pid {os.getpid()} " in refusal["text"]
        assert other.ask("claim", session_id="s1") == {"pid": other.pid, "revision": 2}


# --- races --------------------------------------------------------------------------------------

ROUNDS, RACERS = 200, 8


def test_of_eight_racing_resumers_one_wins_and_the_others_learn_who(tmp_path: Path) -> None:
    chance = random.Random(20261122)
    refusals = {"SessionClaimed": 0, "RevisionConflict": 0}
    with children(RACERS, "act", tmp_path) as racers:
        for racer in racers:
            racer.hear()
        for number in rounds("losers that met a claim, and losers that came too late"):
            if number >= ROUNDS and min(refusals.values()) > 0:
                break
            racers[number % RACERS].ask("leave_dead", session_id="s1")
            revision = read_state(tmp_path, "s1")["revision"]
            # Sometimes all at once, sometimes so spread out that winners are done before.
            spread = chance.choice([0.0, 0.0005, 0.005, 0.02])
            for racer in racers:
                racer.tell(
                    "race",
                    session_id="s1",
                    revision=revision,
                    delay=chance.random() * spread,
                    work=chance.choice([0.0, 0.0, 0.002, 0.01]),
                )
            told = [racer.hear() for racer in racers]
            winners = [racer["pid"] for racer in told if racer.get("won")]
            assert len(winners) == 1, f"round {number}: {told}"
            for loser in (racer for racer in told if not racer.get("won")):
                refusals[loser["error"]] += 1
                assert loser["owner_pid"] == winners[0], f"round {number}: {winners} {loser}"
            state = read_state(tmp_path, "s1")
            assert state["data_buffer"]["winner"] == winners[0]
            assert state["revision"] == revision + 3  # resumed, saved, paused: nobody else wrote
    assert sum(refusals.values()) == number * (RACERS - 1)


def test_racing_sweepers_mark_a_dead_session_once(tmp_path: Path) -> None:
    ids = [f"s{number}" for number in range(12)]
    with children(6, "act", tmp_path) as sweepers:
        for sweeper in sweepers:
            sweeper.hear()
        for crash in (1, 2, 3):
            for session_id in ids:
                sweepers[0].ask("leave_dead", session_id=session_id)
            for sweeper in sweepers:
                sweeper.tell("recover")
            told = [sweeper.hear() for sweeper in sweepers]
            assert sorted(name for each in told for name in each["swept"]) == sorted(ids)
            for session_id in ids:
                assert read_state(tmp_path, session_id)["recovery"]["count"] == crash


# --- interruptions ------------------------------------------------------------------------------


def test_an_interrupted_save_leaves_the_session_usable_and_no_gap(tmp_path: Path) -> None:
    least, wanted = 400, 100
    new_session(tmp_path)
    chance = random.Random(1)
    with Child("save_interrupted", tmp_path, "s1", least, wanted) as child:
        told = child.hear()
        while "hit" in told:
            time.sleep(chance.random() * 0.002)
            child.signal(signal.SIGINT)
            told = child.hear()
        assert child.wait() == 0
    assert told["wrong"] == []
    assert told["inside"] > wanted  # so many came in the middle of a save
    assert told["hits"] >= least
    assert SessionStore(tmp_path).load("s1").data_buffer == {"hit": told["hits"] - 1}


@pytest.mark.parametrize("durability", ["power", "process"])
def test_readers_never_see_a_torn_state_nor_an_older_one_again(
    tmp_path: Path, durability: str
) -> None:
    new_session(tmp_path)
    with (
        Child("save_until_told", tmp_path, "s1", durability) as writer,
        children(2, "read_until_told", tmp_path, "s1") as readers,
    ):
        assert writer.hear() == {"ready": True}
        for reader in readers:
            assert reader.hear() == {"ready": True}
        reached = read_state(tmp_path, "s1")["revision"] + 500
        until(lambda: read_state(tmp_path, "s1")["revision"] >= reached, "500 saves")
        for reader in readers:  # it reads on until it saw as many
            assert reader.hear() == {"seen": 21}
        for reader in readers:
            told = reader.ask("stop")
            assert told["wrong"] == []
            assert told["revisions"] > 20, told
        last = writer.ask("stop")["revision"]
    assert read_state(tmp_path, "s1")["revision"] == last


@pytest.mark.parametrize("durability", ["power", "process"])
def test_acknowledged_saves_survive_sigkill_at_any_instant(tmp_path: Path, durability: str) -> None:
    new_session(tmp_path)
    store = SessionStore(tmp_path)
    chance = random.Random(durability)
    acknowledged = 2
    for number in range(10):
        with Child("save_until_killed", tmp_path, "s1", durability, number) as child:
            acknowledged = child.hear()["revision"]
            time.sleep(chance.random() * 0.03)
            child.crash()
            for told in child.hear_all():
                assert told["revision"] == acknowledged + 1
                acknowledged = told["revision"]
        state = read_state(tmp_path, "s1")
        # The last save may have taken effect without having been able to say so.
        assert state["revision"] in (acknowledged, acknowledged + 1)
        assert state["data_buffer"]["step"] == state["revision"]
        assert store.load("s1").revision == state["revision"]
        for kept in store.checkpoints("s1"):
            assert kept.damaged is None
        store.claim("s1").release()  # pauses what the dead process left
        assert leftovers(tmp_path) == []


def test_a_child_program_does_not_inherit_the_lock(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    with subprocess.Popen(["sleep", f"{DEADLINE:g}"], close_fds=False) as program:
        try:
            session.pause()
            with Child("act", tmp_path) as other:
                other.hear()
                assert other.ask("claim", session_id="s1")["pid"] == other.pid
        finally:
            program.kill()


def test_saves_of_many_threads_queue_up(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    gate = threading.Barrier(8)

    def save_often() -> list[int]:
        gate.wait()
        return [session.save() for _ in range(10)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: save_often(), range(8)))
    assert session.revision == 81
    assert read_state(tmp_path, "s1")["revision"] == 81
    session.complete()


def test_who_holds_a_session_in_this_process_is_told_to_use_that_session(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.checkpoint()
        for again in (
            lambda: store.claim("s1"),
            lambda: store.resume("s1", timeout=0.05),
            lambda: store.edit("s1", timeout=0.05).__enter__(),
            lambda: SessionStore(tmp_path).delete("s1"),
        ):
            with pytest.raises(SessionClaimed, match="is held by this process: pid") as caught:
                again()
            assert caught.value.is_own
            assert caught.value.advice.startswith("use the Session that holds it")
        with pytest.raises(
            SessionExists, match="this process holds it; use the Session that holds it"
        ):
            store.create("goal", session_id="s1")
    with pytest.raises(SessionExists) as caught_later:
        store.create("goal", session_id="s1")
    assert "this process" not in str(caught_later.value)


def test_a_task_that_holds_a_session_is_this_process_too(tmp_path: Path) -> None:
    async def twice() -> None:
        async with (
            AsyncSessionStore(tmp_path) as store,
            store.create("goal", session_id="s1"),
        ):
            with pytest.raises(SessionClaimed, match="is held by this process: pid"):
                await store.resume("s1")
            with pytest.raises(SessionClaimed, match="is held by this process: pid"):
                await asyncio.to_thread(SessionStore(tmp_path).claim, "s1")

    asyncio.run(twice())


def test_another_process_that_holds_a_session_is_not_called_this_one(tmp_path: Path) -> None:
    new_session(tmp_path)
    with Child("act", tmp_path) as holder:
        holder.hear()
        assert holder.ask("claim", session_id="s1")["pid"] == holder.pid
        with pytest.raises(SessionClaimed) as caught:
            SessionStore(tmp_path).claim("s1")
        assert not caught.value.is_own
        assert "this very" not in str(caught.value)
