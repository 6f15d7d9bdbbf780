"""The word of a holder that left in order: what it spares the next claim, and when it counts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore, StorageError
from sessionstore.durable import mounts, replace
from sessionstore.durable.directory import Directory
from sessionstore.storage.files import last_word, lock_record
from sessionstore.storage.files.lock import HeldLock
from tests.support.processes import leftovers, new_session, session_path

NAME = ".new-0123456789abcdef"

Record = dict[str, Any]


def lock_path(root: Path) -> Path:
    return root / "locks" / "s1.lock"


def record(root: Path) -> Record:
    found: Record = json.loads(lock_path(root).read_bytes()[1:])
    return found


def write_record(root: Path, changed: Record) -> None:
    with open(lock_path(root), "r+") as file:  # the same file: not a new one
        file.truncate(0)
        file.write("\n" + json.dumps(changed) + "\n")


def renewed(root: Path) -> Record:
    """Return the record with a word that vouches for what lies in the session now."""
    status = lock_path(root).stat()
    word = last_word.give(str(session_path(root, "s1")), (status.st_dev, status.st_ino))
    return record(root) | {"in_order": word}


def plant(root: Path, where: str = "") -> None:
    path = session_path(root, "s1") / where / NAME
    path.write_bytes(b"torn")
    path.chmod(0o600)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories whose names are read."""
    read, names = list[str](), Directory.names

    def noted(directory: Directory) -> list[str]:
        read.append(directory.path)
        return names(directory)

    monkeypatch.setattr(Directory, "names", noted)
    return read


# --- what the word spares -----------------------------------------------------------------------


def test_a_claim_reads_no_directory_of_a_session_that_was_left_in_order(
    tmp_path: Path, looks: list[str]
) -> None:
    new_session(tmp_path)
    store = SessionStore(tmp_path)
    store.claim("s1").release()
    with store.edit("s1") as edited:
        edited.state.data_buffer["n"] = 1
    with store.resume("s1") as session:
        session.checkpoint("node")
    store.claim("s1").release()
    assert looks == []
    assert record(tmp_path)["in_order"]["version"]


@pytest.mark.parametrize("where", ["", "checkpoints"])
def test_a_file_that_came_after_the_word_is_found(tmp_path: Path, where: str) -> None:
    new_session(tmp_path)
    plant(tmp_path, where)
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


# --- whose word counts --------------------------------------------------------------------------


def unchanged(found: Record) -> None:
    pass


def of_another_boot(found: Record) -> None:
    found["in_order"]["boot_id"] = "another"


def of_another_version(found: Record) -> None:
    found["in_order"]["version"] = "0.0.1"


def of_another_lock_file(found: Record) -> None:
    found["in_order"]["lock"][1] += 1


def of_another_directory(found: Record) -> None:
    found["in_order"]["places"][""][1] += 1


def of_an_earlier_time(found: Record) -> None:
    found["in_order"]["places"]["checkpoints"][3] -= 1


def of_a_holder_that_died(found: Record) -> None:
    del found["released_at"]


def of_one_that_died_while_it_looked(found: Record) -> None:
    before = dict(found)
    found |= {"tentative": True, "before": before}


def of_one_that_could_not_clear_up(found: Record) -> None:
    found["in_order"] = None


def of_what_is_no_word(found: Record) -> None:
    found["in_order"] = True


@pytest.mark.parametrize(
    "change",
    [
        of_another_boot,
        of_another_version,
        of_another_lock_file,
        of_another_directory,
        of_an_earlier_time,
        of_a_holder_that_died,
        of_one_that_died_while_it_looked,
        of_one_that_could_not_clear_up,
        of_what_is_no_word,
    ],
)
def test_a_word_vouches_only_for_what_it_names(
    tmp_path: Path, change: Callable[[Record], None]
) -> None:
    new_session(tmp_path)
    plant(tmp_path)
    for way, found in ((unchanged, [NAME]), (change, [])):
        changed = renewed(tmp_path)
        way(changed)
        write_record(tmp_path, changed)
        SessionStore(tmp_path).claim("s1").release()
        assert [os.path.basename(path) for path in leftovers(tmp_path)] == found


def test_a_word_counts_nothing_where_a_free_lock_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    plant(tmp_path)
    write_record(tmp_path, renewed(tmp_path))
    monkeypatch.setattr(mounts, "has_one_kernel", lambda kind: False)
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


def test_a_copy_of_a_store_trusts_no_word_of_the_original(tmp_path: Path) -> None:
    here, copy = tmp_path / "here", tmp_path / "copy"
    new_session(here)
    plant(here)
    write_record(here, renewed(here))
    shutil.copytree(here, copy)
    SessionStore(copy).claim("s1").release()
    assert leftovers(copy) == []
    assert leftovers(here) != []


def test_a_lock_file_that_was_put_back_from_a_copy_vouches_for_nothing(tmp_path: Path) -> None:
    new_session(tmp_path)
    plant(tmp_path)
    write_record(tmp_path, renewed(tmp_path))
    copy = tmp_path / "kept.lock"
    shutil.copy2(lock_path(tmp_path), copy)
    os.replace(copy, lock_path(tmp_path))
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


# --- who gives no word --------------------------------------------------------------------------

DIE = """
import os, signal, sys
from sessionstore import SessionStore
from sessionstore.durable import replace
from sessionstore.storage.files.lock import HeldLock
session = SessionStore(sys.argv[1]).claim("s1")
{die}
session.save()
session.release()
"""
IN_A_SAVE = "replace.exchange = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
AFTER_ITS_WORD = "HeldLock.close = lambda _: os.kill(os.getpid(), signal.SIGKILL)"


def die(root: Path, how: str) -> None:
    ended = subprocess.run([sys.executable, "-c", DIE.format(die=how), str(root)], check=False)
    assert ended.returncode == -signal.SIGKILL


def test_the_word_of_the_holder_before_does_not_vouch_for_one_that_was_killed(
    tmp_path: Path,
) -> None:
    new_session(tmp_path)
    assert record(tmp_path)["in_order"]
    die(tmp_path, IN_A_SAVE)
    assert len(leftovers(tmp_path)) == 1
    assert "in_order" not in record(tmp_path)
    with suppress(Exception):
        SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


def test_a_holder_that_was_killed_after_its_word_left_nothing(
    tmp_path: Path, looks: list[str]
) -> None:
    new_session(tmp_path)
    die(tmp_path, AFTER_ITS_WORD)
    assert leftovers(tmp_path) == []
    store = SessionStore(tmp_path)
    store.claim("s1").release()
    assert looks == []


def test_on_a_full_disk_the_old_word_is_withdrawn_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(lock_record, "write", lambda file, record: False)
        session = SessionStore(tmp_path).claim("s1")
        assert lock_path(tmp_path).read_bytes() == b""
        plant(tmp_path)  # as it would lie about after a crash
        session.release()
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


def test_a_claim_that_cannot_withdraw_the_old_word_is_refused_and_frees_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)

    def refuse(lock: HeldLock) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(HeldLock, "write_record", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            SessionStore(tmp_path).claim("s1")
    SessionStore(tmp_path).claim("s1").release()


def test_who_could_not_remove_what_a_save_replaced_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")

    def refuse(directory: Directory, name: str) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "unlink", refuse)
        session.save()
    session.release()
    assert len(leftovers(tmp_path)) == 1
    assert record(tmp_path)["in_order"] is None
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []
    assert record(tmp_path)["in_order"]


def test_who_was_interrupted_in_a_save_gives_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replace, "exchange", interrupt)
        patch.setattr(Directory, "unlink", interrupt)  # a second Ctrl-C
        with pytest.raises(KeyboardInterrupt):
            session.save()
    session.release()
    assert len(leftovers(tmp_path)) == 1
    assert record(tmp_path)["in_order"] is None


def test_what_a_claim_keeps_for_a_check_is_looked_at_by_the_next_claim_too(tmp_path: Path) -> None:
    new_session(tmp_path)
    path = session_path(tmp_path, "s1") / NAME
    path.write_text('{"a": "state of somebody else"}')
    for _ in range(2):
        SessionStore(tmp_path).claim("s1").release()
        assert path.exists()
        assert record(tmp_path)["in_order"] is None


def test_a_claim_that_is_used_after_an_interrupted_release_takes_its_word_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    session = SessionStore(tmp_path).claim("s1")

    def interrupt(lock: HeldLock) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeldLock, "close", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.release()
    assert record(tmp_path)["in_order"]
    session.save()
    assert "in_order" not in record(tmp_path)
    session.release()
    assert record(tmp_path)["in_order"]


def test_the_names_of_journals_are_flushed_unless_the_last_holder_left_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that dies after it wrote a journal anew leaves a name that was not flushed."""
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal().append("a")
        session.checkpoint()
    flushed: list[str] = []
    flush = Directory.flush

    def note(self: Directory) -> None:
        flushed.append(os.path.basename(self.path))
        flush(self)

    monkeypatch.setattr(Directory, "flush", note)
    store.claim("s1").release()
    assert "journals" not in flushed
    record_without_word = record(tmp_path)
    record_without_word.pop("in_order")
    write_record(tmp_path, record_without_word)
    store.claim("s1").release()
    assert "journals" in flushed
