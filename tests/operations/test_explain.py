"""What is told of a session fits what happened to it, and what it advises works."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    Explanation,
    MemoryBackend,
    SessionNotFound,
    SessionState,
    SessionStore,
    Situation,
)
from sessionstore.operations import advice as ways
from tests.support.cli import HOSTILE, acting, put, put_hostile
from tests.support.processes import Child, edit_state, left_active, session_path, state_path

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


def work(store: Store, session_id: str = "s1") -> Any:
    """Return a session that kept a checkpoint at its second step, and saved one more."""
    session = store.create("goal", session_id=session_id)
    for node in ("plan", "fetch", "think"):
        session.state.progress.path.append(node)
        session.state.progress.current_node = node
        session.state.progress.steps_executed += 1
        if node == "fetch":
            session.checkpoint("node_complete", node=node)
        else:
            session.save()
    return session


def advice(told: Explanation) -> list[str]:
    return [way for item in told.next for way in (item.command, item.call) if way]


def called(told: Explanation, store: Store) -> Any:
    """Do the first call that it advises to go on with."""
    calls = [item.call for item in told.next if item.call]
    going_on = [call for call in calls if re.match(r"store\.(resume|fork)\(", call)]
    return eval(going_on[0], {"store": store})


def test_a_killed_process_leaves_a_session_that_explains_itself(
    tmp_path: Path, store: Store
) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        owner.ask("save", step=2)
        running = store.explain("s1")
        owner.crash()
        told = store.explain("s1")
    assert (running.situation, running.is_held) == (Situation.RUNNING, True)
    assert running.holder is not None
    assert running.holder.pid == owner.pid
    assert advice(running)[0] == "sessionstore cancel s1"

    assert (told.situation, told.status, told.is_held) == (Situation.STALE, "active", False)
    assert told.holder is not None
    assert told.holder.pid == owner.pid
    assert f"pid {owner.pid}" in told.ended
    assert "died" in told.summary
    assert told.unresumable is None
    assert told.checkpoint is not None
    assert told.checkpoint.revision == 2
    assert told.lost is not None
    assert (told.lost.revisions, told.lost.steps) == (1, 0)
    assert "sessionstore recover --apply" in advice(told)

    store.recover()
    swept = store.explain("s1")
    assert (swept.situation, swept.status) == (Situation.INTERRUPTED, "failed")
    assert swept.holder is not None
    assert swept.holder.pid == owner.pid  # who ran it, not who marked it
    assert "that was recorded at" in swept.ended
    assert swept.lost == told.lost  # the mark itself is nothing that could be lost
    with called(swept, store) as session:
        assert session.state.data_buffer == {}
        session.complete()


def test_what_a_resume_does_not_bring_back_is_counted(store: Store) -> None:
    session = work(store)
    session.fail("by itself")
    told = store.explain("s1")
    assert (told.situation, told.node, told.steps) == (Situation.FAILED, "think", 3)
    assert "by itself" in told.ended
    assert told.checkpoint is not None
    assert told.checkpoint.node == "fetch"
    assert told.lost is not None
    # One save: the end is none.
    assert (told.lost.revisions, told.lost.steps, told.lost.nodes) == (1, 1, ("think",))
    with called(told, store) as resumed:
        assert resumed.state.progress.path == ["plan", "fetch"]
        kept = [item.checkpoint_type for item in store.checkpoints("s1")]
        assert "before_resume" in kept  # as the text says
    assert "before_resume" in str(told)


@pytest.mark.parametrize("how", ["mark", "cancel"])
def test_who_ran_a_session_is_told_and_not_who_gave_it_up(
    tmp_path: Path, store: Store, how: str
) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        owner.crash()
    if how == "mark":
        store.mark("s1", "failed", reason="given up")
    else:
        store.cancel("s1", reason="given up")
    told = store.explain("s1")
    assert told.holder is not None
    assert told.holder.pid == owner.pid
    assert "given up" in told.ended
    assert f"pid {owner.pid}" in dict(told.facts())["interrupted"]
    with store.resume("s1", again=True) as session:  # from here on somebody else ran it
        session.complete()
    told = store.explain("s1")
    assert told.holder is not None
    assert told.holder.pid == os.getpid()


@pytest.mark.parametrize(
    ("end", "situation"),
    [
        (lambda session: session.pause("ask"), Situation.PAUSED),
        (lambda session: session.complete(), Situation.COMPLETED),
        (lambda session: session.fail("bad"), Situation.FAILED),
        (lambda session: session.cancel("enough"), Situation.CANCELLED),
    ],
)
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_an_end_is_told_and_the_call_that_goes_on_works(
    tmp_path: Path, end: Callable[[Any], object], situation: Situation, kind: str
) -> None:
    store = SessionStore(tmp_path if kind == "files" else MemoryBackend())
    end(work(store))
    told = store.explain("s1")
    assert told.situation is situation
    assert str(situation) in told.summary
    assert told.holder is not None
    assert told.holder.pid == os.getpid()
    assert told.liveness is None
    with called(told, store) as session:
        session.complete()


def test_a_session_that_is_held_without_running_says_so(store: Store) -> None:
    work(store).pause()
    with store.claim("s1"):
        told = store.explain("s1")
    assert (told.situation, told.is_held) == (Situation.PAUSED, True)
    assert "Right now a process holds it" in told.summary


def test_an_unknown_owner_is_left_to_a_person(tmp_path: Path, store: Store) -> None:
    left_active(tmp_path, "s1", owner=None, pid=None)
    told = store.explain("s1")
    assert told.situation is Situation.UNKNOWN
    assert "no owner recorded" in told.ended
    assert advice(told)[0] == "sessionstore recover --apply --assume-dead s1"
    call = told.next[0].call
    assert call is not None
    report = eval(call, {"store": store})
    assert [item.session_id for item in report.swept] == ["s1"]


def test_a_process_without_a_lock_is_not_said_to_be_askable(tmp_path: Path, store: Store) -> None:
    left_active(tmp_path, "s1", owner=None, pid=os.getppid())
    told = store.explain("s1")
    assert (told.situation, told.is_held) == (Situation.RUNNING, False)
    assert told.holder is not None
    assert told.holder.pid == os.getppid()
    assert advice(told) == ["sessionstore recover --apply", "store.recover()"]
    assert "yourself" in told.next[0].text


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_a_checkpoint_that_does_not_load_is_named_with_what_there_is_instead(
    tmp_path: Path, store: Store, kind: str
) -> None:
    session = work(store)
    session.checkpoint()
    session.fail("bad")
    latest = store.load("s1").latest_checkpoint_id
    file = session_path(tmp_path, "s1") / "checkpoints" / f"{latest}.json"
    file.unlink()
    if kind == "damaged":
        file.write_text("{")
    told = store.explain("s1")
    assert told.shows_damage
    assert told.unresumable is not None
    assert str(latest) in told.unresumable
    assert told.lost is None
    assert len(told.alternatives) == 1
    assert "sessionstore fsck --repair" in advice(told)
    with called(told, store) as resumed:  # from the other one
        assert resumed.state.progress.path == ["plan", "fetch"]
        resumed.complete()


def test_a_session_without_a_checkpoint_says_that_it_goes_on_from_its_last_save(
    store: Store,
) -> None:
    with store.create("goal", session_id="s1") as session:
        session.state.data_buffer["saved"] = 1
        session.fail("bad")
    told = store.explain("s1")
    assert (told.unresumable, told.checkpoint, told.is_from_last_save) == (None, None, True)
    assert not told.shows_damage
    facts = dict(told.facts())
    assert facts["resume"].startswith("from the state that was saved last (revision 2 of ")
    assert facts["not restored"] == "nothing that was saved"
    with called(told, store) as resumed:
        assert resumed.state.data_buffer == {"saved": 1}
        resumed.complete()
    assert "resume: only with --again, from the state" in str(store.explain("s1"))


def test_newer_saves_than_the_checkpoint_can_be_gone_on_from_as_it_says(store: Store) -> None:
    work(store).fail("bad")
    call = next(item.call for item in store.explain("s1").next if "saved last" in item.text)
    assert call == 'store.resume("s1", from_last_save=True)'
    with eval(call, {"store": store}) as resumed:
        assert resumed.state.progress.path == ["plan", "fetch", "think"]
        resumed.checkpoint()
        resumed.complete()
    told = store.explain("s1")  # its end is nothing that a resume would lose
    assert told.lost is not None
    assert (told.lost.revisions, len(told.next)) == (0, 1)


@pytest.mark.parametrize("how", ["with", "retried"])
def test_the_end_of_a_traceback_is_told_below_its_causes(store: Store, how: str) -> None:
    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        else:
            try:
                raise KeyError("city")
            except KeyError as error:
                raise ValueError("no such city") from error

    with pytest.raises(ValueError), work(store):
        dive(9)
    if how == "retried":
        store.retry("s1")
    told = store.explain("s1")
    assert str(told.error).endswith("ValueError: no such city")
    assert len(told.traceback) == 7
    assert told.traceback[0] == "caused by KeyError: 'city'"
    assert told.traceback[-1].strip() == 'raise ValueError("no such city") from error'
    facts = list(told.facts())
    start = [label for label, _ in facts].index("traceback")
    assert [text for _, text in facts[start : start + 7]] == list(told.traceback)
    assert {label for label, _ in facts[start + 1 : start + 7]} == {""}


def test_the_lines_of_an_error_without_a_traceback_are_told(store: Store) -> None:
    work(store).fail("the service said:\nno such city\ntry another")
    told = store.explain("s1")
    assert told.error == "the service said:"
    assert told.traceback == ("no such city", "try another")
    assert dict(told.facts())["error"] == "no such city"


def test_a_stop_is_not_told_as_a_death(store: Store) -> None:
    session = work(store)
    session.state.data_buffer["edited"] = 1
    session.checkpoint()
    session.state.data_buffer["edited"] = 2
    with pytest.raises(KeyboardInterrupt), session:
        raise KeyboardInterrupt
    told = store.explain("s1")
    assert (told.situation, told.status) == (Situation.INTERRUPTED, "paused")
    assert "it was stopped by KeyboardInterrupt" in told.ended
    assert "died" not in told.ended
    assert dict(told.facts())["interrupted"] == (
        "its process died 0 times, and it was stopped 1 time"
    )
    assert told.lost is not None
    assert told.lost.revisions == 1  # what the stop saved
    assert "sessionstore cancel s1" in advice(told)
    assert "sessionstore retry s1" not in advice(told)  # the loop offers it as it is


def test_what_the_start_up_loop_leaves_out_is_told_with_the_way_back(
    tmp_path: Path, store: Store
) -> None:
    work(store).fail("bad")
    for counts, why in (
        ({"count": 4}, "more than 3 processes died while they ran it"),
        ({"count": 0, "stops": 11}, "it was stopped more than 10 times"),
    ):
        recovery = {"at": "", "reason": "r", **counts}
        edit_state(tmp_path, "s1", recovery=recovery, result={"success": False, "error": "r"})
        assert list(store.resume_interrupted()) == []
        told = store.explain("s1")
        assert f"The start-up loop leaves it out: {why}." in told.summary
        (retry,) = (item.call for item in told.next if item.command == "sessionstore retry s1")
        assert retry is not None
        eval(retry, {"store": store})
        assert "leaves it out" not in store.explain("s1").summary
    with next(iter(store.resume_interrupted())) as session:
        session.complete()


def test_too_many_is_what_the_start_up_loop_takes_by_default() -> None:
    options = inspect.signature(SessionStore.resume_interrupted).parameters
    assert options["max_recoveries"].default == ways.MAX_RECOVERIES
    assert options["max_stops"].default == ways.MAX_STOPS


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_damaged_state_names_the_repair_and_whether_it_can_be_restored(
    tmp_path: Path, store: Store, has_checkpoint: bool
) -> None:
    session = store.create("goal", session_id="s1")
    if has_checkpoint:
        session.checkpoint()
        session.save()  # else the checkpoint shares the bytes
    session.fail("bad")
    state_path(tmp_path, "s1").write_text("{")
    told = store.explain("s1")
    assert (told.situation, told.status, told.shows_damage) == (Situation.DAMAGED, None, True)
    assert told.file == str(state_path(tmp_path, "s1"))
    assert told.next[0].command == "sessionstore fsck --repair"
    assert ("can be repaired" in told.summary) is has_checkpoint
    assert bool(told.alternatives) is has_checkpoint
    if has_checkpoint:
        assert store.load(called(told, store)).forked_from is not None
    assert store.check(repair=True).findings[0].is_repaired
    assert store.exists("s1") is has_checkpoint


def test_damage_that_a_live_process_holds_is_told_as_held(tmp_path: Path, store: Store) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        state_path(tmp_path, "s1").write_text("{")
        told = store.explain("s1")
        assert told.is_held
        assert told.holder is not None
        assert told.holder.pid == owner.pid
        assert told.next[0].call is None
        owner.crash()


def test_a_session_that_is_not_there_is_not_explained(store: Store) -> None:
    with pytest.raises(SessionNotFound):
        store.explain("none")


def test_a_session_of_the_original_framework_is_explained(tmp_path: Path, store: Store) -> None:
    file = put(tmp_path, "s1")
    edit_state(
        tmp_path,
        "s1",
        checkpoint_enabled=True,
        latest_checkpoint_id="cp_1",
        status="failed",
        progress={"path": ["a", "b", "c"]},
    )
    (file.parent / "checkpoints").mkdir()
    (file.parent / "checkpoints" / "cp_1.json").write_text(
        json.dumps({"checkpoint_id": "cp_1", "session_id": "s1", "execution_path": ["a"]})
    )
    told = store.explain("s1")
    assert told.lost is not None
    assert (told.lost.revisions, told.lost.steps, told.lost.nodes) == (None, 2, ("b", "c"))
    assert "at c, 3 nodes visited, saved" in str(told)
    assert "2 nodes visited since then (b > c); a resume keeps that state first" in str(told)


def test_hostile_text_cannot_act_in_what_is_told(tmp_path: Path, store: Store) -> None:
    put_hostile(tmp_path)
    for session_id in ("h-active", "h-unknown", "h-paused", "h-failed", "h-damaged", "h-torn"):
        told = store.explain(session_id)
        assert acting(str(told)) == set()
        assert all(HOSTILE not in way for way in advice(told))


def test_the_awaited_explanation_is_the_same(tmp_path: Path, store: Store) -> None:
    work(store).fail("bad")

    async def explain() -> Explanation:
        async with AsyncSessionStore(tmp_path) as awaited:
            return await awaited.explain("s1")

    assert asyncio.run(explain()) == store.explain("s1")


def test_what_a_resume_keeps_of_the_journals_is_told(tmp_path: Path) -> None:
    for place in (tmp_path, MemoryBackend()):
        store = SessionStore(place)
        with store.create("goal", session_id="j1") as session:
            assert "journals" not in dict(store.explain("j1").facts())
            session.journal().append("a", "b")
            session.checkpoint("step")
            session.journal().append("c")
            session.fail(error="no")
        told = store.explain("j1")
        assert (told.records, told.records_since) == (3, 1)
        said = dict(told.facts())["journals"]
        assert "3 records; a resume keeps them all, 1 record since that checkpoint included" in said
