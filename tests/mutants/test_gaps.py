"""What no other test noticed when the package was broken on purpose (see tests/mutants)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from sessionstore import FilesBackend, RevisionConflict, SessionClaimed, SessionStore
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.model.state import SessionOwner
from sessionstore.storage.claim import Claim
from sessionstore.storage.turn import Turn
from tests.faults.support.tally import tally
from tests.support.children import say
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    leftovers,
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
)

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills the child")


# --- in the middle -------------------------------------------------------------------------------


@needs_linux("swaps by exchange")
def test_a_state_that_others_changed_is_not_replaced_even_for_an_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    edit_state(tmp_path, "s1", revision=5)
    foreign = state_path(tmp_path, "s1").read_bytes()
    real, swaps = replace.exchange, list[str]()

    def exchange(directory: Directory, one: str, other: str) -> bool:
        swaps.append(other)
        return real(directory, one, other)

    monkeypatch.setattr(replace, "exchange", exchange)
    for write in (session.save, session.checkpoint, session.pause):
        with pytest.raises(RevisionConflict):
            write()
    assert swaps == []
    assert state_path(tmp_path, "s1").read_bytes() == foreign
    session._writer.free()
    with SessionStore(tmp_path).create("goal", session_id="s2") as other:
        other.save()
    assert swaps  # so it would have been seen


@needs_linux("swaps by exchange")
@pytest.mark.parametrize("end", ["pause", "complete", "fail", "cancel", "release"])
def test_a_claim_is_held_until_its_last_write_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    real, met = replace.exchange, list[str]()

    def exchange(directory: Directory, one: str, other: str) -> bool:
        for when in ("before", "after"):
            with pytest.raises(SessionClaimed):
                SessionStore(tmp_path).claim("s1", force=True)
            met.append(when)
            if when == "before":
                swapped = real(directory, one, other)
        return swapped

    monkeypatch.setattr(replace, "exchange", exchange)
    ends: dict[str, Callable[[], object]] = {
        "pause": session.pause,
        "complete": session.complete,
        "fail": lambda: session.fail("on purpose"),
        "cancel": session.cancel,
        "release": session.release,
    }
    ends[end]()
    assert met == ["before", "after"]
    SessionStore(tmp_path).claim("s1").release()


@needs_linux("swaps by exchange")
def test_an_interrupt_right_after_the_swap_leaves_the_session_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    real = replace.exchange

    def exchange(directory: Directory, one: str, other: str) -> bool:
        real(directory, one, other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replace, "exchange", exchange)
        with pytest.raises(KeyboardInterrupt):
            session.save()
    assert read_state(tmp_path, "s1")["revision"] == 2  # it took effect
    assert leftovers(tmp_path) == []
    assert session.save() == 3
    session.complete()


class LateClaims(FilesBackend):
    """Claims nothing before somebody else has been there."""

    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        with SessionStore(str(self)).resume(session_id) as session:
            session.complete(output={"done": True})
        return super().claim(session_id, owner, timeout=timeout, turn=turn)


def test_a_session_that_ended_between_scan_and_claim_is_not_marked(tmp_path: Path) -> None:
    left_active(tmp_path)
    assert SessionStore(tmp_path).liveness("s1").is_dead  # a sweep would mark it
    report = SessionStore(LateClaims(tmp_path)).recover()
    assert report.swept == ()
    state = read_state(tmp_path, "s1")
    assert state["status"] == "completed"
    assert state["result"]["success"] is True
    assert state["recovery"]["count"] == 1, "the resume that came first recorded the death"


# --- the order of flushes ------------------------------------------------------------------------


@needs_linux("swaps by exchange")
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.usefixtures("two_flushes")
def test_a_checkpoint_is_durable_before_a_state_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Literal["power", "process"]
) -> None:
    session = SessionStore(tmp_path, durability=durability).create("goal", session_id="s1")
    real_flush, real_exchange = os.fsync, replace.exchange
    events = list[Any]()

    def fsync(fd: int) -> None:
        real_flush(fd)
        events.append(os.fstat(fd).st_ino)

    def exchange(directory: Directory, one: str, other: str) -> bool:
        events.append("swap")
        return real_exchange(directory, one, other)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(replace, "exchange", exchange)
    kept = session.checkpoint().checkpoint_id
    monkeypatch.undo()
    directory = session_path(tmp_path, "s1")
    before = events[: events.index("swap")]
    checkpoint = directory / "checkpoints" / f"{kept}.json"
    assert checkpoint.stat().st_ino in before
    assert checkpoint.parent.stat().st_ino in before
    if durability == "power":
        assert directory.stat().st_ino in events[events.index("swap") :]
    else:  # and the way to it: nothing had flushed that before
        assert directory.stat().st_ino in before
        assert directory.parent.stat().st_ino in before
    session.complete()


# --- killed between two system calls -------------------------------------------------------------


def kill_at(call: str, number: int, work: str, *arguments: object) -> bool:
    """Run ``work`` in a child that dies at its ``number``-th ``call``; return whether it did."""
    wrapper = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"]
    wrapper += ["-e", f"inject={call}:signal=KILL:when={number}"]
    work = f"mutants.test_gaps.{work}"
    with Child(work, *arguments, wrapper=wrapper) as child:
        told = list(child.hear_all())
        status = child.wait()
    assert (told == [{"done": True}]) == (status == 0), (told, status)
    return status != 0


def create_one(root: str) -> None:
    SessionStore(root).create("goal", session_id="s1").release()
    say(done=True)


def checkpoint_one(root: str) -> None:
    with SessionStore(root).claim("s1") as session:
        session.state.data_buffer["step"] = session.revision + 1
        session.checkpoint("step")
        session.complete()
    say(done=True)


def delete_one(root: str) -> None:
    SessionStore(root).delete("s1")
    say(done=True)


@needs_linux("strace kills between two calls")
@needs_strace
def test_a_create_that_is_killed_between_two_calls_leaves_a_whole_session_or_none(
    tmp_path: Path,
) -> None:
    new_session(tmp_path, "made-before")
    store = SessionStore(tmp_path)
    number = 1
    while kill_at("mkdirat", number, "create_one", tmp_path):
        assert store.exists("s1") == session_path(tmp_path, "s1").exists(), "half a session"
        if store.exists("s1"):
            store.load("s1")
        store.recover()
        assert leftovers(tmp_path) == []
        if store.exists("s1"):
            store.delete("s1")
        number += 1
    assert number > 2, "the session's directory and its checkpoints were made"
    assert store.load("s1").revision == 2
    tally("kill points", promise=9, cases=number - 1)


@needs_linux("strace kills between two calls")
@needs_strace
def test_a_state_never_names_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    new_session(tmp_path)
    number = 1
    while kill_at("linkat", number, "checkpoint_one", tmp_path):
        state = read_state(tmp_path, "s1")
        named = state["latest_checkpoint_id"]
        assert (session_path(tmp_path, "s1") / "checkpoints" / f"{named}.json").exists()
        assert SessionStore(tmp_path).load_checkpoint("s1").latest_checkpoint_id == named
        number += 1
    assert number > 1, "the checkpoint was linked"
    tally("kill points", promise=1, cases=number - 1)


@needs_linux("strace kills between two calls")
@needs_strace
def test_a_delete_that_is_killed_between_two_calls_leaves_a_whole_session_or_none(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path)
    number, killed = 1, True
    while killed:
        if not store.exists("s1"):
            new_session(tmp_path)
        killed = kill_at("unlinkat", number, "delete_one", tmp_path)
        if store.exists("s1"):
            assert store.load("s1").revision == 2
            assert store.load_checkpoint("s1").revision == 2
        store.recover()
        assert os.listdir(tmp_path / "trash") == []
        number += 1
    assert number > 3, "the state, its checkpoint and the directory were removed"
    assert not store.exists("s1")
    tally("kill points", promise=9, cases=number - 2)
