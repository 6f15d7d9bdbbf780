"""A policy lets go what it says and no more; whatever lives, is needed or is damaged stays."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    FilesBackend,
    MemoryBackend,
    RetentionPolicy,
    SessionState,
    SessionStatus,
    SessionStore,
)
from tests.support.ages import DAY, NOW, Time, make
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    new_session,
    session_path,
    state_path,
    tree,
    until,
)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["files", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, time: Time) -> SessionStore[SessionState]:
    backend = (
        FilesBackend(tmp_path, clock=time)
        if request.param == "files"
        else MemoryBackend(clock=time)
    )
    return SessionStore(backend, clock=time)


def names(items: Any) -> list[str]:
    return [item.session_id for item in items]


# --- which sessions go --------------------------------------------------------------------------


def test_nothing_is_changed_unless_asked(
    store: SessionStore[SessionState], time: Time, tmp_path: Path
) -> None:
    make(store, time, "old", 31)
    make(store, time, "new", 1)
    before = tree(tmp_path)
    report = store.prune(RetentionPolicy(older_than=30 * DAY))
    assert names(report.sessions) == ["old"]
    assert report.dry_run
    assert report.freed > 0
    assert tree(tmp_path) == before
    assert store.exists("old")


def test_the_old_go_and_the_new_stay(store: SessionStore[SessionState], time: Time) -> None:
    make(store, time, "old", 31)
    make(store, time, "just", 30)
    make(store, time, "new", 29)
    report = store.prune(RetentionPolicy(older_than=30 * DAY), apply=True)
    assert names(report.sessions) == ["old", "just"]
    assert "last updated 31 days ago" in report.sessions[0].reason
    assert [store.exists(name) for name in ("old", "just", "new")] == [False, False, True]


def test_the_last_stay_however_old(store: SessionStore[SessionState], time: Time) -> None:
    for age in range(40, 45):
        make(store, time, f"s{age}", age)
    report = store.prune(RetentionPolicy(older_than=30 * DAY, keep_last=2), apply=True)
    assert names(report.sessions) == ["s44", "s43", "s42"]


def test_keep_last_alone_lets_all_others_go(store: SessionStore[SessionState], time: Time) -> None:
    for age in (1, 2, 3):
        make(store, time, f"s{age}", age)
    assert names(store.prune(RetentionPolicy(keep_last=1)).sessions) == ["s3", "s2"]


def test_paused_sessions_wait_for_somebody_and_go_only_if_named(
    store: SessionStore[SessionState], time: Time
) -> None:
    for end in ("pause", "complete", "fail", "cancel"):
        make(store, time, end, 50, end)
    assert names(store.prune(RetentionPolicy(older_than=DAY)).sessions) == [
        "cancel", "complete", "fail",
    ]  # fmt: skip
    only = RetentionPolicy(older_than=DAY, statuses=["paused"])
    assert names(store.prune(only).sessions) == ["pause"]


def test_the_oldest_go_until_the_rest_fits(store: SessionStore[SessionState], time: Time) -> None:
    for age in (1, 2, 3, 4):
        make(store, time, f"s{age}", age)
    sizes = {f"s{age}": store.usage(f"s{age}").bytes for age in (1, 2, 3, 4)}
    limit = sizes["s1"] + sizes["s2"]
    report = store.prune(RetentionPolicy(max_total_size=limit), apply=True)
    assert names(report.sessions) == ["s4", "s3"]
    assert report.total_bytes == sum(sizes.values())
    assert report.freed == sizes["s4"] + sizes["s3"]
    assert store.prune(RetentionPolicy(max_total_size=limit)).sessions == ()


def test_a_size_limit_never_takes_the_last(store: SessionStore[SessionState], time: Time) -> None:
    for age in (1, 2, 3):
        make(store, time, f"s{age}", age)
    report = store.prune(RetentionPolicy(max_total_size=0, keep_last=1), apply=True)
    assert names(report.sessions) == ["s3", "s2"]


def test_a_time_that_cannot_be_read_is_never_old(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path, clock=time)
    make(store, time, "odd", 50)
    times = {"started_at": "long ago", "updated_at": "long ago"}
    edit_state(tmp_path, "odd", timestamps=times)
    policy = RetentionPolicy(older_than=0, max_total_size=0)
    assert store.prune(policy, apply=True).sessions == ()


# --- checkpoints --------------------------------------------------------------------------------


def with_checkpoints(store: SessionStore[Any], time: Time, end: str = "complete") -> list[str]:
    """Make a session with a checkpoint for each of the last six days; return them, oldest first."""
    time.now = NOW - 7 * DAY
    kept = []
    with store.create("goal", session_id="s1") as session:
        session.state.data_buffer["bulk"] = "x" * 20_000
        for days in (6, 5, 4, 3, 2, 1):
            time.now = NOW - days * DAY
            kept.append(session.checkpoint("step").checkpoint_id)
        getattr(session, end)()
    time.now = NOW
    return kept


def left(store: SessionStore[Any]) -> list[str]:
    return [item.checkpoint_id for item in store.checkpoints("s1")]


def test_the_newest_checkpoints_stay(store: SessionStore[SessionState], time: Time) -> None:
    kept = with_checkpoints(store, time)
    before = store.usage("s1").bytes
    planned = store.prune(RetentionPolicy(keep_checkpoints=2))
    report = store.prune(RetentionPolicy(keep_checkpoints=2), apply=True)
    assert left(store) == kept[-2:]
    (entry,) = report.checkpoints
    assert list(entry.checkpoints) == kept[:4]
    assert report.freed == planned.freed == before - store.usage("s1").bytes >= 80_000
    assert report.sessions == ()


def test_old_checkpoints_go_and_the_newest_stay_however_old(
    store: SessionStore[SessionState], time: Time
) -> None:
    kept = with_checkpoints(store, time)
    old = RetentionPolicy(checkpoints_older_than=4 * DAY)
    assert store.prune(old).checkpoints[0].checkpoints == tuple(kept[:3])
    both = RetentionPolicy(checkpoints_older_than=4 * DAY, keep_checkpoints=5)
    assert store.prune(both).checkpoints[0].checkpoints == tuple(kept[:1])


@pytest.mark.parametrize("keep", [6, 7, 8, 11, 12, 100])
def test_who_has_no_more_checkpoints_than_are_kept_loses_none(
    store: SessionStore[SessionState], time: Time, keep: int
) -> None:
    kept = with_checkpoints(store, time)
    for policy in (
        RetentionPolicy(keep_checkpoints=keep),
        RetentionPolicy(keep_checkpoints=keep, checkpoints_older_than=0),
    ):
        assert policy.choose_checkpoints(store.checkpoints("s1"), None, NOW) == []
        assert store.prune(policy, apply=True).checkpoints == ()
    assert left(store) == kept


def test_the_checkpoint_that_a_resume_would_use_stays_however_old(
    store: SessionStore[SessionState], time: Time
) -> None:
    kept = with_checkpoints(store, time)
    with store.resume("s1", checkpoint_id=kept[0], again=True) as session:
        session.fail("went back")
    report = store.prune(RetentionPolicy(keep_checkpoints=0), apply=True)
    assert set(kept[1:]) == set(report.checkpoints[0].checkpoints)
    assert left(store) == [kept[0]]
    with store.resume("s1") as session:
        assert session.state.latest_checkpoint_id == kept[0]
        session.complete()


def test_what_the_store_keeps_by_itself_counts_apart(
    store: SessionStore[SessionState], time: Time
) -> None:
    kept = with_checkpoints(store, time)
    for _ in range(4):  # each keeps the newer state that it goes back from
        with store.resume("s1", again=True) as session:
            session.save()
            session.fail("down")
    store.prune(RetentionPolicy(keep_checkpoints=3), apply=True)
    types = [item.checkpoint_type for item in store.checkpoints("s1")]
    assert types.count("before_resume") == 3
    assert len(types) == 6
    assert kept[-3:] == [name for name in left(store) if name in kept]


def test_without_a_latest_one_the_newest_checkpoint_stays(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path, clock=time)
    kept = with_checkpoints(store, time)
    edit_state(tmp_path, "s1", latest_checkpoint_id=None)
    store.prune(RetentionPolicy(keep_checkpoints=0), apply=True)
    assert left(store) == kept[-1:]


def test_the_checkpoint_that_a_power_cut_made_newer_than_its_state_stays(
    tmp_path: Path, time: Time
) -> None:
    store = SessionStore(tmp_path, clock=time)
    kept = with_checkpoints(store, time)
    edit_state(tmp_path, "s1", latest_checkpoint_id=kept[0], revision=2)
    store.prune(RetentionPolicy(keep_checkpoints=0), apply=True)
    assert left(store) == [kept[0], kept[-1]]


def test_no_checkpoint_goes_while_the_one_to_resume_is_damaged(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path, clock=time)
    kept = with_checkpoints(store, time)
    (session_path(tmp_path, "s1") / "checkpoints" / f"{kept[-1]}.json").write_bytes(b"{")
    assert store.prune(RetentionPolicy(keep_checkpoints=0), apply=True).checkpoints == ()
    assert len(left(store)) == 6


def test_a_damaged_checkpoint_is_kept(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path, clock=time)
    kept = with_checkpoints(store, time)
    (session_path(tmp_path, "s1") / "checkpoints" / f"{kept[1]}.json").write_bytes(b"{")
    store.prune(RetentionPolicy(keep_checkpoints=1), apply=True)
    assert set(left(store)) == {kept[1], kept[-1]}


# --- what is never touched ----------------------------------------------------------------------


def test_an_active_session_stays_whether_its_owner_lives_or_not(tmp_path: Path, time: Time) -> None:
    left_active(tmp_path, "dead")
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="alive", checkpoint=True)
        report = SessionStore(tmp_path).prune(
            RetentionPolicy(older_than=0, keep_checkpoints=0), apply=True
        )
        assert report.sessions == report.checkpoints == report.failed == ()
        assert SessionStore(tmp_path).exists("alive")
    assert SessionStore(tmp_path).exists("dead")


@pytest.mark.parametrize("apply", [True, False])
def test_what_a_live_process_holds_is_spared_and_its_holder_named(
    tmp_path: Path, apply: bool
) -> None:
    new_session(tmp_path, "held", checkpoint=False)
    new_session(tmp_path, "free", checkpoint=False)
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("claim", session_id="held")  # it stays failed: a claim changes no status
        report = SessionStore(tmp_path).prune(RetentionPolicy(older_than=0), apply=apply)
        assert names(report.sessions) == ["free"]
        assert names(report.spared) == ["held"]
        assert f"pid {holder.pid}" in report.spared[0].reason
        assert holder.ask("save", still="here")["revision"] > 0


def test_a_session_that_was_resumed_meanwhile_is_spared(
    store: SessionStore[SessionState], time: Time
) -> None:
    make(store, time, "first", 50, "pause")
    make(store, time, "second", 40, "pause")

    def resume(done: int, total: int) -> None:
        if done == 3:  # both were judged, and the first is deleted: now somebody is faster
            with store.resume("second") as session:
                session.pause()

    policy = RetentionPolicy(older_than=DAY, statuses=["paused"])
    report = store.prune(policy, apply=True, progress=resume)
    assert names(report.sessions) == ["first"]
    assert names(report.spared) == ["second"]
    assert "it changed meanwhile" in report.spared[0].reason
    assert store.load("second").status is SessionStatus.PAUSED


def test_a_checkpoint_that_became_the_latest_meanwhile_is_spared(
    store: SessionStore[SessionState], time: Time
) -> None:
    kept = with_checkpoints(store, time)

    def go_back(done: int, total: int) -> None:
        if (done, total) == (1, 2):
            with store.resume("s1", checkpoint_id=kept[0], again=True) as session:
                session.fail("went back")

    report = store.prune(RetentionPolicy(keep_checkpoints=1), apply=True, progress=go_back)
    assert names(report.spared) == ["s1"]
    assert set(kept) <= set(left(store))


def test_a_session_that_somebody_else_deleted_meanwhile_is_no_trouble(
    store: SessionStore[SessionState], time: Time
) -> None:
    make(store, time, "s1", 50)

    def delete(done: int, total: int) -> None:
        if (done, total) == (1, 2):
            store.delete("s1")

    report = store.prune(RetentionPolicy(older_than=DAY), apply=True, progress=delete)
    assert report.sessions == report.spared == report.failed == ()
    assert report.freed == 0


def test_damage_is_reported_and_kept(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path, clock=time)
    make(store, time, "torn", 50)
    make(store, time, "old", 50)
    state_path(tmp_path, "torn").write_bytes(b"{")
    report = store.prune(RetentionPolicy(older_than=0, max_total_size=0), apply=True)
    assert (names(report.damaged), names(report.sessions)) == (["torn"], ["old"])
    assert state_path(tmp_path, "torn").read_bytes() == b"{"


def test_one_that_cannot_be_deleted_does_not_stop_the_others(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(tmp_path, clock=time)
    for age in (52, 51, 50):
        make(store, time, f"s{age}", age)
    lock = tmp_path / "locks" / "s51.lock"
    lock.unlink()
    lock.mkdir()  # nobody can claim it now
    report = store.prune(RetentionPolicy(older_than=DAY), apply=True)
    assert (names(report.sessions), names(report.failed)) == (["s52", "s50"], ["s51"])
    assert os.strerror(errno.EISDIR) in report.failed[0].reason
    lock.rmdir()
    assert names(store.prune(RetentionPolicy(older_than=DAY), apply=True).sessions) == ["s51"]


# --- what it frees ------------------------------------------------------------------------------


def test_it_frees_what_it_says(tmp_path: Path, time: Time) -> None:
    store = SessionStore(tmp_path / "root", clock=time)
    with_checkpoints(store, time)
    application = session_path(tmp_path / "root", "s1") / "work"
    application.mkdir()
    (application / "file").write_bytes(b"y" * 100_000)
    os.link(application / "file", tmp_path / "elsewhere")
    said = subprocess.run(
        ["du", "-s", "-B1", str(session_path(tmp_path / "root", "s1"))],
        check=True,
        capture_output=True,
        text=True,
    )
    measured = int(said.stdout.split()[0])
    stays = (tmp_path / "elsewhere").stat().st_blocks * 512
    report = store.prune(RetentionPolicy(older_than=0), apply=True)
    assert report.freed == measured - stays
    assert (tmp_path / "elsewhere").stat().st_nlink == 1


# --- interrupted --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_and_started_again_it_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    count = 40
    for number in range(count):
        new_session(tmp_path, f"s{number:02}", checkpoint=False)
        (session_path(tmp_path, f"s{number:02}") / "file").write_bytes(b"x")
    whole = {name: tree(session_path(tmp_path, name)) for name in os.listdir(tmp_path / "sessions")}
    # Wherever the signal hits, it is before the end: the last one stays until a word comes.
    with Child("prune_slowly", tmp_path, 1) as child:
        until(lambda: len(os.listdir(tmp_path / "sessions")) < count - 5, "some to be gone")
        child.signal(how)
        assert child.wait() == -how
    there = sorted(path.name for path in (tmp_path / "sessions").iterdir())
    assert 0 < len(there) < count - 5
    for name in there:  # what is left is whole
        assert tree(session_path(tmp_path, name)) == whole[name]
    report = SessionStore(tmp_path).prune(RetentionPolicy(older_than=0), apply=True)
    assert names(report.sessions) == there
    assert list((tmp_path / "sessions").iterdir()) == list((tmp_path / "trash").iterdir()) == []


def test_two_at_once_delete_each_session_once(tmp_path: Path) -> None:
    for number in range(30):
        new_session(tmp_path, f"s{number:02}", checkpoint=False)
    with Child("prune_slowly", tmp_path) as one, Child("prune_slowly", tmp_path) as two:
        said = [*one.hear_all(), *two.hear_all()]
    deleted = [name for message in said for name in message["sessions"]]
    assert sorted(deleted) == [f"s{number:02}" for number in range(30)]
    assert all(message["failed"] == [] for message in said)
    assert list((tmp_path / "sessions").iterdir()) == []


def test_progress_ends_where_everything_is_done(
    store: SessionStore[SessionState], time: Time
) -> None:
    for age in (1, 2, 3):
        make(store, time, f"s{age}", age)
    seen: list[tuple[int, int]] = []
    store.prune(
        RetentionPolicy(keep_last=1),
        apply=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 5), (4, 5), (5, 5)]


def test_it_can_be_awaited(tmp_path: Path) -> None:
    new_session(tmp_path)

    async def work() -> list[str]:
        async with AsyncSessionStore(tmp_path) as store:
            policy = RetentionPolicy(older_than=0, statuses=["paused"])
            return names((await store.prune(policy, apply=True)).sessions)

    assert asyncio.run(work()) == ["s1"]
    assert not state_path(tmp_path, "s1").exists()
