"""What a save does when others come between its calls: they come right there, with real files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import ClaimLost, RevisionConflict, SessionStore, StorageError
from sessionstore.durable import replace as durable
from sessionstore.durable.directory import Directory
from tests.support.processes import (
    leftovers,
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
)

swapping = needs_linux("the exchange is a Linux call")

Interposed = Callable[[Directory, str], None]


@pytest.fixture
def interpose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let others act right before or after the n-th exchange, or every one."""

    def interpose(
        *, before: Interposed | None = None, after: Interposed | None = None, nth: int | None = 1
    ) -> list[int]:
        real, calls = durable.exchange, list[int]()

        def exchange(directory: Directory, one: str, other: str) -> bool:
            calls.append(len(calls) + 1)
            is_now = nth in (None, calls[-1])
            if is_now and before is not None:
                before(directory, one)
            done = real(directory, one, other)
            if is_now and after is not None:
                after(directory, one)
            return done

        monkeypatch.setattr(durable, "exchange", exchange)
        return calls

    return interpose


def replaced_by_others(root: Path) -> Callable[..., None]:
    """Return what replaces the state as software does that knows of no claim, each time anew."""
    numbers = iter(range(1, 1000))

    def replace(*_: object) -> None:
        state = {**read_state(root, "s1"), "data_buffer": {"foreign": next(numbers)}}
        theirs = session_path(root, "s1") / "theirs"
        theirs.write_text(json.dumps(state))
        os.replace(theirs, state_path(root, "s1"))

    return replace


# --- others who replace the state ----------------------------------------------------------------


@swapping
@pytest.mark.parametrize("keep", [False, True], ids=["save", "checkpoint"])
def test_of_two_foreign_states_around_a_swap_the_newest_is_in_place(
    tmp_path: Path, interpose: Callable[..., list[int]], keep: bool
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    replace = replaced_by_others(tmp_path)
    calls = interpose(before=replace, after=replace)
    with pytest.raises(RevisionConflict):
        session.checkpoint() if keep else session.save()
    assert read_state(tmp_path, "s1")["data_buffer"] == {"foreign": 2}
    assert len(calls) == 3, "there, back with the first, and with the second that came meanwhile"
    assert leftovers(tmp_path) == []
    assert os.listdir(session_path(tmp_path, "s1") / "checkpoints") == []
    with pytest.raises(RevisionConflict):
        session.release()


@swapping
def test_who_replaces_the_state_without_end_does_not_stop_a_save_for_ever(
    tmp_path: Path, interpose: Callable[..., list[int]]
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    calls = interpose(before=replaced_by_others(tmp_path), nth=None)
    with pytest.raises(RevisionConflict):
        session.save()
    assert 1 < len(calls) < 100
    files = [path for path in session_path(tmp_path, "s1").iterdir() if path.is_file()]
    found = {json.loads(file.read_bytes())["data_buffer"].get("foreign") for file in files}
    assert len(calls) in found, "the newest is nowhere"
    with pytest.raises(RevisionConflict):
        session.release()


# --- others who remove what is ours --------------------------------------------------------------


def remove(directory: Directory, name: str) -> None:
    directory.unlink(name)


@swapping
def test_a_save_took_place_though_others_removed_what_it_displaced(
    tmp_path: Path, interpose: Callable[..., list[int]]
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    interpose(after=remove)
    session.state.data_buffer["n"] = 1
    assert session.save() == 2
    stored = read_state(tmp_path, "s1")
    assert (stored["revision"], stored["data_buffer"]) == (2, {"n": 1})
    assert session.save() == 3
    session.complete()
    assert leftovers(tmp_path) == []


@swapping
def test_a_save_whose_new_file_others_removed_changed_nothing_and_says_so(
    tmp_path: Path, interpose: Callable[..., list[int]]
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    before = state_path(tmp_path, "s1").read_bytes()
    interpose(before=remove)
    with pytest.raises(StorageError, match="cannot save"):  # no conflict: the state is ours
        session.checkpoint()
    assert state_path(tmp_path, "s1").read_bytes() == before
    assert os.listdir(session_path(tmp_path, "s1") / "checkpoints") == []
    assert session.save() == 2
    session.complete()


# --- others who delete the lock file, and who come after it --------------------------------------


class Successor:
    """Who claims a session while another one is saving it, after its lock file was deleted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found = 0
        self.saved = 0

    def __call__(self, *_: object) -> None:
        (self.root / "locks" / "s1.lock").unlink()
        with SessionStore(self.root).claim("s1") as session:
            self.found = session.revision
            session.state.data_buffer["by"] = "the successor"
            self.saved = session.save()


@swapping
@pytest.mark.parametrize("keep", [False, True], ids=["save", "checkpoint"])
def test_who_lost_its_lock_file_before_the_swap_writes_nothing(
    tmp_path: Path, interpose: Callable[..., list[int]], keep: bool
) -> None:
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")
    successor = Successor(tmp_path)
    interpose(before=successor)
    kept = sorted(os.listdir(session_path(tmp_path, "s1") / "checkpoints"))
    session.state.data_buffer["by"] = "the one before"
    with pytest.raises(ClaimLost):
        session.checkpoint() if keep else session.save()
    assert (successor.found, successor.saved) == (2, 3)
    stored = read_state(tmp_path, "s1")
    assert (stored["revision"], stored["data_buffer"]) == (3, {"by": "the successor"})
    assert sorted(os.listdir(session_path(tmp_path, "s1") / "checkpoints")) == kept
    assert leftovers(tmp_path) == []
    session.release()


@swapping
@pytest.mark.parametrize("keep", [False, True], ids=["save", "checkpoint"])
def test_who_lost_its_lock_file_after_the_swap_is_not_told_that_it_saved(
    tmp_path: Path, interpose: Callable[..., list[int]], keep: bool
) -> None:
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")
    successor = Successor(tmp_path)
    interpose(after=successor)
    with pytest.raises(ClaimLost, match="look at what is stored"):
        session.checkpoint() if keep else session.save()
    # What it wrote is in place, the successor stands on it, and a checkpoint that is named stays.
    assert (successor.found, successor.saved) == (3, 4)
    assert read_state(tmp_path, "s1")["revision"] == 4
    store = SessionStore(tmp_path)
    assert store.check().findings == ()
    assert {item.revision for item in store.checkpoints("s1")} == ({2, 3} if keep else {2})
    assert store.load_checkpoint("s1").revision == (3 if keep else 2)
    session.release()


@swapping
def test_the_lock_is_looked_at_after_the_new_file_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpose: Callable[..., list[int]]
) -> None:
    """Whoever claims after that look then finds the new file, and removes it."""
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")
    successor = Successor(tmp_path)
    real = durable.write_file

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(durable, "write_file", real)
        successor()
        return real(*arguments, **options)  # type: ignore[arg-type]  # they are passed on

    monkeypatch.setattr(durable, "write_file", late)
    swaps = interpose(nth=None)
    with pytest.raises(ClaimLost):
        session.save()
    assert len(swaps) == 1, "the successor's: not even for an instant is the other's in place"
    assert read_state(tmp_path, "s1")["data_buffer"] == {"by": "the successor"}
    assert leftovers(tmp_path) == []
    session.release()
