"""The order of the calls that make a save durable, with one flush and with two."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import DurabilityUncertain, Session, SessionStore, StorageError
from sessionstore.durable import append, commit_order, linux_calls, replace
from sessionstore.durable.commit_order import CommitOrder
from sessionstore.durable.directory import Directory
from tests.support.processes import leftovers, read_state

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc names what is open")

Patch = pytest.MonkeyPatch


class Calls:
    """Notes the calls on which durability rests, by what they are made on."""

    def __init__(self, monkeypatch: Patch) -> None:
        self.made: list[str] = []
        self.fails: dict[str, int] = {}
        """The code that a call answers with, by the beginning of what is noted."""
        flags = {linux_calls.RENAME_EXCHANGE: "exchange", linux_calls.RENAME_NOREPLACE: "move"}
        renameat2, link, rename = linux_calls.renameat2, os.link, os.replace

        def flush_of(call: Callable[[int], Any], name: str) -> Callable[[int], None]:
            def flush(fd: int) -> None:
                self.note(f"{name} {place_of(fd)}")
                call(fd)

            return flush

        def noted_renameat2(one: int, name: str, other: int, target: str, flag: int) -> None:
            self.note(f"{flags[flag]} {place_of(other)}{plain(target)}")
            renameat2(one, name, other, target, flag)

        def noted_link(name: str, target: str, **where: Any) -> None:
            self.note(f"link {place_of(where['dst_dir_fd'])}")
            link(name, target, **where)

        def noted_replace(name: str, target: str, **where: Any) -> None:
            self.note(f"rename {plain(target)}")
            rename(name, target, **where)

        written_out = flush_of(linux_calls.sync_file_range, "write out")
        monkeypatch.setattr(linux_calls, "sync_file_range", written_out)
        monkeypatch.setattr(linux_calls, "renameat2", noted_renameat2)
        monkeypatch.setattr(os, "fsync", flush_of(os.fsync, "flush"))
        monkeypatch.setattr(append, "_flush_data", flush_of(os.fdatasync, "flush"))
        monkeypatch.setattr(os, "link", noted_link)
        monkeypatch.setattr(os, "replace", noted_replace)

    def note(self, call: str) -> None:
        self.made.append(call)
        for begin, code in self.fails.items():
            if call.startswith(begin):
                raise OSError(code, os.strerror(code))

    def of(self, action: Callable[[], object]) -> list[str]:
        self.made.clear()
        action()
        return list(self.made)


def plain(name: str) -> str:
    return "new" if name.startswith(".new-") else name


def place_of(fd: int) -> str:
    path = os.readlink(f"/proc/self/fd/{fd}")
    name = plain(os.path.basename(path))
    return f"{name}/" if os.path.isdir(path) else name


def decide(monkeypatch: Patch, order: CommitOrder) -> None:
    monkeypatch.setattr(commit_order, "of", lambda _: order)


@pytest.fixture
def one(monkeypatch: Patch) -> None:
    decide(monkeypatch, CommitOrder(True, "of a test"))


@pytest.fixture
def two(monkeypatch: Patch) -> None:
    decide(monkeypatch, CommitOrder(False, "of a test"))


@pytest.fixture
def calls(monkeypatch: Patch) -> Calls:
    return Calls(monkeypatch)


Hold = Callable[..., Session[Any]]


@pytest.fixture
def hold(tmp_path: Path, calls: Calls) -> Iterator[Hold]:
    """What creates a session, which is held until the test ends."""
    sessions: list[Session[Any]] = []

    def create(**options: Any) -> Session[Any]:
        sessions.append(SessionStore(tmp_path, **options).create("goal", session_id="s1"))
        return sessions[-1]

    yield create
    calls.fails.clear()
    for session in sessions:
        session.release()


# --- the orders ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one")
def test_with_one_flush_bytes_are_written_out_before_the_exchange_that_a_flush_carries(
    tmp_path: Path, hold: Hold, calls: Calls
) -> None:
    session = hold()
    save = ["write out new", "exchange s1/state.json", "flush s1/"]
    kept = ["write out new", "link checkpoints/", "exchange s1/state.json", "flush s1/"]
    assert calls.of(session.save) == save
    assert calls.of(session.checkpoint) == kept
    assert calls.of(lambda: session.checkpoint("node_complete")) == kept
    assert calls.of(session.pause) in (kept, save)
    store = SessionStore(tmp_path)
    resumed: list[Session[Any]] = []
    assert calls.of(lambda: resumed.append(store.resume("s1")))[-3:] == save
    assert calls.of(resumed[0].complete) == save


@pytest.mark.usefixtures("two")
def test_with_two_flushes_each_comes_before_what_relies_on_it(
    tmp_path: Path, hold: Hold, calls: Calls
) -> None:
    session = hold()
    assert calls.of(session.save) == ["flush new", "exchange s1/state.json", "flush s1/"]
    kept = ["flush new", "link checkpoints/", "flush checkpoints/"]
    kept += ["exchange s1/state.json", "flush s1/"]
    assert calls.of(session.checkpoint) == kept


@pytest.mark.usefixtures("one")
def test_in_process_mode_a_checkpoint_takes_one_flush_with_all_names_above_it(
    tmp_path: Path, hold: Hold, calls: Calls
) -> None:
    session = hold(durability="process")
    assert calls.of(session.save) == ["exchange s1/state.json"]
    kept = ["write out new", "link checkpoints/", "exchange s1/state.json", "flush s1/"]
    assert calls.of(session.checkpoint) == kept


@pytest.mark.usefixtures("one")
def test_a_create_takes_one_flush_after_its_directory_was_moved_in(
    tmp_path: Path, calls: Calls
) -> None:
    store = SessionStore(tmp_path)
    store.create("goal").complete()
    sessions: list[Session[Any]] = []
    made = calls.of(lambda: sessions.append(store.create("goal", session_id="s1")))
    sessions[0].release()
    assert made == ["write out state.json", "move sessions/s1", "flush sessions/"]


@pytest.mark.usefixtures("one")
def test_a_state_that_is_moved_without_its_directory_is_flushed_first(
    tmp_path: Path, calls: Calls
) -> None:
    store = SessionStore(tmp_path)
    store.create("goal").complete()
    store.directory("s1").mkdir()
    sessions: list[Session[Any]] = []
    made = calls.of(lambda: sessions.append(store.create("goal", session_id="s1")))
    sessions[0].release()
    assert made.index("flush state.json") < made.index("move s1/state.json")
    assert made[-1] == "flush s1/"


@pytest.mark.usefixtures("one")
def test_a_copied_checkpoint_is_flushed_whole_before_the_exchange(
    tmp_path: Path, hold: Hold, calls: Calls, monkeypatch: Patch
) -> None:
    session = hold()
    calls.fails["link"] = errno.EPERM
    made = calls.of(session.checkpoint)
    copied = ["flush new", "move checkpoints/", "flush checkpoints/", "exchange s1/state.json"]
    assert [call.partition("cp_")[0] for call in made[2:]] == [*copied, "flush s1/"]


@pytest.mark.parametrize(
    ("order", "anchors"),
    [
        (CommitOrder(True, "of a test"), []),
        (CommitOrder(False, "of a test"), ["flush journals/", "flush s1/"]),
    ],
)
def test_the_first_record_of_a_journal_is_flushed_with_the_names_above_it(
    tmp_path: Path,
    hold: Hold,
    calls: Calls,
    monkeypatch: Patch,
    order: CommitOrder,
    anchors: list[str],
) -> None:
    decide(monkeypatch, order)
    journal = hold().journal("events")
    made = calls.of(lambda: journal.append({"n": 1}))
    assert [call for call in made if call.startswith("flush")] == [*anchors, "flush events.jsonl"]
    assert calls.of(lambda: journal.append({"n": 2})) == ["flush events.jsonl"]


def test_a_store_that_was_told_to_takes_two_flushes_whatever_the_file_system_is(
    tmp_path: Path, hold: Hold, calls: Calls, one: None
) -> None:
    session = hold(flushes="two")
    assert "flush new" in calls.of(session.save)
    assert not [call for call in calls.made if call.startswith("write out")]


# --- what refuses a call -------------------------------------------------------------------------


@pytest.mark.usefixtures("one")
def test_where_a_rename_stands_in_for_the_exchange_all_is_flushed_before_it(
    tmp_path: Path, hold: Hold, calls: Calls
) -> None:
    session = hold()
    calls.fails["exchange"] = errno.ENOSYS
    made = calls.of(session.checkpoint)
    assert made[2:] == [
        *("exchange s1/state.json", "flush new", "flush checkpoints/"),
        *("rename state.json", "flush s1/"),
    ]


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_bytes_cannot_be_written_out_the_file_is_flushed(
    tmp_path: Path, hold: Hold, calls: Calls, code: int
) -> None:
    session = hold()
    calls.fails["write out"] = code
    made = calls.of(session.save)
    assert made == ["write out new", "flush new", "exchange s1/state.json", "flush s1/"]


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_bytes_that_fail_to_be_written_out_are_thrown_away_and_never_flushed(
    tmp_path: Path, hold: Hold, calls: Calls, code: int
) -> None:
    session = hold()
    before = read_state(tmp_path, "s1")
    calls.fails["write out"] = code
    with pytest.raises(StorageError) as caught:
        session.checkpoint()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == code
    assert calls.made[-1] == "write out new"
    assert read_state(tmp_path, "s1") == before
    assert leftovers(tmp_path) == []
    calls.fails.clear()
    session.checkpoint()


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_flush_that_fails_after_the_exchange_leaves_the_checkpoint_and_says_so(
    tmp_path: Path, hold: Hold, calls: Calls, durability: str
) -> None:
    session = hold(durability=durability)
    calls.fails["flush s1/"] = errno.EIO
    with pytest.raises(DurabilityUncertain):
        session.checkpoint()
    assert calls.made.count("flush s1/") == 1
    stored = read_state(tmp_path, "s1")
    kept = os.listdir(tmp_path / "sessions" / "s1" / "checkpoints")
    assert kept == [f"{stored['latest_checkpoint_id']}.json"]


@pytest.mark.usefixtures("one")
def test_where_directories_cannot_be_flushed_the_file_is(
    tmp_path: Path, hold: Hold, calls: Calls
) -> None:
    SessionStore(tmp_path).create("goal", session_id="first").release()
    calls.fails |= {"flush s1/": errno.EINVAL, "flush sessions/": errno.EINVAL}
    session = hold()
    assert calls.made[-2:] == ["flush sessions/", "flush state.json"]
    assert calls.of(session.save)[-2:] == ["flush s1/", "flush state.json"]


def test_what_is_renamed_into_its_place_is_flushed_even_where_an_exchange_carries_bytes(
    tmp_path: Path, calls: Calls, one: None
) -> None:
    with Directory(str(tmp_path)) as directory:
        made = calls.of(lambda: replace.write_new(directory, "file", b"bytes", flush_file=True))
    assert made == ["flush new", f"move {tmp_path.name}/file"]
