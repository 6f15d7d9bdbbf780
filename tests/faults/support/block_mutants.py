"""The package with a flush missing, or in the wrong place: what a recorded disk has to show."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sessionstore.durable import append, commit_order, linux_calls, replace
from sessionstore.durable.commit_order import CommitOrder
from sessionstore.durable.replace import Staged
from sessionstore.storage.files import claim
from sessionstore.storage.files.checkpoint_file import linked, opened_checkpoints


def no_file_flushed(patch: pytest.MonkeyPatch) -> None:
    """Neither write the bytes of a state to the disk nor flush them."""
    patch.setattr(replace, "write_out", lambda fd: None)
    _flush_only(patch, stat.S_ISDIR)


def not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Begin to write the bytes of a state, but do not wait for the disk."""
    patch.setattr(linux_calls, "WRITE_AND_WAIT", 2)  # SYNC_FILE_RANGE_WRITE alone


def no_directory_flushed(patch: pytest.MonkeyPatch) -> None:
    _flush_only(patch, stat.S_ISREG)


def no_journal_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(append, "_flush_data", lambda fd: None)


def checkpoint_linked_late(patch: pytest.MonkeyPatch) -> None:
    """Link a checkpoint once the state that names it is in its place."""

    @contextmanager
    def kept(self: Any, staged: Staged, payload: bytes, checkpoint_id: str) -> Iterator[None]:
        yield
        time.sleep(0.005)  # meanwhile somebody else commits the journal
        with opened_checkpoints(staged.directory) as checkpoints:
            assert linked(staged.directory, "state.json", checkpoints, f"{checkpoint_id}.json")
            checkpoints.flush()

    patch.setattr(claim.FilesClaim, "_kept", kept)


def one_flush_anywhere(patch: pytest.MonkeyPatch) -> None:
    """Take one flush for enough on every file system."""
    patch.setattr(commit_order, "of", lambda fd: CommitOrder(True, "as if"))


def _flush_only(patch: pytest.MonkeyPatch, kept: Callable[[int], bool]) -> None:
    real = os.fsync

    def flush(fd: int) -> None:
        if kept(os.fstat(fd).st_mode):
            real(fd)

    patch.setattr(os, "fsync", flush)


MUTANTS = {
    "no file flushed": no_file_flushed,
    "not waited for": not_waited_for,
    "no directory flushed": no_directory_flushed,
    "no journal flushed": no_journal_flushed,
    "checkpoint linked late": checkpoint_linked_late,
}
"""What loses something where one flush is enough."""
