"""A claimed session directory: replace its state, keep its checkpoints, notice what others do."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.version import Version
from sessionstore.errors import (
    ClaimLost,
    DurabilityUncertain,
    SessionCorrupt,
)
from sessionstore.model import mending
from sessionstore.model.ids import random_hex
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.stored import Stored
from sessionstore.storage.claim import Claim
from sessionstore.storage.files import cancel_request, checkpoint_file, quarantine, state_file
from sessionstore.storage.files.claimed_directory import ClaimedDirectory, Use
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.journal_file import JournalFile, opened_journals
from sessionstore.storage.files.layout import STATE, Layout, opened_trash
from sessionstore.storage.files.lock import HeldLock
from sessionstore.storage.journal import JournalAppender

_REPLACED_UNSEEN = (
    "its lock file was removed or replaced, so another may hold it; this last save replaced a state"
    " that the other may have written: look at what is stored before you write it again"
)


class FilesClaim(Claim):
    """The right to write one session directory: its lock, held."""

    def __init__(
        self,
        layout: Layout,
        session_id: str,
        lock: HeldLock,
        identity: tuple[int, int],
        *,
        power: bool,
        two_flushes: str = "",
        copies: bool,
        clock: Clock,
        released: Callable[[str, str], None],
        state: Version | None = None,
        token: str | None = None,
        in_order: bool = False,
    ) -> None:
        super().__init__(session_id, lock.holder, lock.previous_holder)
        self._layout = layout
        self._path = layout.session(session_id)
        self._request = layout.request(session_id, str(lock.holder.token))
        self._lock = lock
        self._claimed = ClaimedDirectory(
            session_id,
            self._path,
            identity,
            lock,
            state,
            in_order=in_order,
            two_flushes=two_flushes,
        )
        self._power = power
        self._copies = copies
        self.keeps_last_save: bool = not copies
        self._clock = clock
        self._released = released
        self._token = token or random_hex(8)
        self._is_live = token is not None
        """Whether every index names the session as live."""
        self._outlives_request = False
        self._attempted: tuple[int, Version] | None = None
        self._cancellable = False
        self._journals: list[JournalFile] = []
        self._anchored = power  # in power mode every step was flushed as it was made

    @property
    def directory(self) -> Path:
        return Path(self._path)

    def opened(self, action: str) -> Use:
        """Return the session's directory, to be used in a ``with`` block while the claim holds."""
        return self._claimed.opened(action)

    # --- reading and writing ---------------------------------------------------------------------

    def read(self) -> Stored:
        with self.opened("read") as directory:
            try:
                payload, found = state_file.read(directory, STATE, self.session_id)
            except FileNotFoundError:
                raise SessionCorrupt(
                    self.session_id, self._layout.state(self.session_id), "state.json is missing"
                ) from None
            known = self._claimed.state
            if known is not None and known.signature != found and not known.has(payload):
                raise self._claimed.conflict(directory, None)
            self._claimed.state = Version.of(found, payload)
        self.foreign_values: Sequence[mending.ForeignValue] = mending.find(payload)
        return Stored(payload, self._layout.state(self.session_id))

    def write(
        self,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        cancellable: bool = False,
    ) -> None:
        self._attempted = None
        self._cancellable = cancellable
        with self._claimed.opened("save", checks_lock=False) as directory:  # but before the swap
            self._name_live()
            if checkpoint_id is None:
                staged = replace.Staged(directory, payload, flush_file=self._power)
                self._swap(directory, staged, revision)
            else:
                self._anchor(directory)
                staged = replace.Staged(directory, payload, flush_file=True)
                with self._kept(staged, payload, checkpoint_id):
                    self._swap(directory, staged, revision)
            self._remove_unmet_request()
            if self._power or staged.is_carried:
                try:
                    if staged.is_carried:
                        replace.flush_carrying(directory, directory, STATE)
                    else:
                        directory.flush()
                except OSError as error:
                    raise DurabilityUncertain(self.session_id, revision, error) from error

    def _heed_request(self) -> None:
        if not os.access(self._request, os.F_OK):  # as nearly always: the cheapest look there is
            return
        request = cancel_request.find(self._layout, self.session_id, self.owner.token)
        if request is not None:
            raise request.to_error(self.session_id)

    def _swap(self, directory: Directory, staged: replace.Staged, revision: int) -> None:
        try:
            # Race: Lock file removed during a save. The look comes after the staged file. If
            # somebody deletes the lock file after this look, the next claim removes the staged
            # file before it reads the state. It reads what was swapped in, or nothing is swapped
            # in any more. With an earlier look, two claims could write the same revision.
            self._claimed.check_held()
            if self._cancellable:
                self._heed_request()
            expected = self._claimed.check_state(directory, revision - 1)
        except BaseException:
            staged.discard()
            raise
        # Race: Exception right after the swap. The version is remembered before it.
        self._attempted = (revision, staged.version)
        try:
            staged.swap_in(STATE, expected)
        except replace.Displaced:
            self._attempted = None
            self._claimed.check_held()
            raise self._claimed.conflict(directory, revision - 1) from None
        except replace.Unseen:
            # Either way what we wrote is in place, and a checkpoint of it has to stay.
            self._claimed.state = staged.version
            if not self._lock.is_in_place():
                # Who came after removed what it took for left over. Others may have been
                # told that they wrote this very revision: nobody is told so twice.
                raise ClaimLost(self.session_id, _REPLACED_UNSEEN) from None
            # Nobody else had the claim: some other software removed what we were about to.
        except FileNotFoundError:
            self._attempted = None
            # Who comes after a removed lock file takes ours for left over.
            self._claimed.check_held()
            self._claimed.check_state(directory, revision - 1)
            raise
        except OSError:
            self._attempted = None
            raise
        except BaseException:
            self.took_effect(revision)
            raise
        self._claimed.state = staged.version

    def _kept(
        self, staged: replace.Staged, payload: bytes, checkpoint_id: str
    ) -> AbstractContextManager[None]:
        return checkpoint_file.kept(
            staged,
            payload,
            f"{checkpoint_id}.json",
            copies=self._copies,
            is_swapped_in=lambda: self._claimed.state == staged.version,
        )

    def took_effect(self, revision: int) -> bool:
        if self._attempted is None or self._attempted[0] != revision:
            return False
        written = self._attempted[1]
        if self._claimed.state != written:
            try:
                with Directory(self._path) as directory:
                    found = written.found_at(directory, STATE)
            except OSError:
                return False
            if found is None:
                return False
            self._claimed.state = written
        return True

    def replace_damaged(
        self, payload: bytes, revision: int, aside: AbstractContextManager[Directory]
    ) -> str:
        """Replace a damaged or missing state, which goes into ``aside`` first; return where.

        Returns "" if there was none: then ``aside`` is not entered.
        """
        with self.opened("repair") as directory:
            self._name_live()
            try:
                status = directory.status(STATE)
                if self._claimed.state is not None:
                    self._claimed.check_state(directory, None)
            except FileNotFoundError:
                self._write_missing(directory, payload)
                return ""
            with aside as target:
                if stat.S_ISREG(status.st_mode) and checkpoint_file.linked(
                    directory, STATE, target, STATE
                ):
                    target.flush()
                    if self._claimed.state is None:
                        self._claimed.state = Version.unread(Signature.of(status))
                    self._replace_linked(directory, payload, revision, target)
                else:
                    # Meanwhile there is no state: a crash leaves one that is missing, not lost.
                    replace.move_new(directory, STATE, target, STATE)
                    target.flush()
                    self._write_missing(directory, payload)
                return target.path

    def _replace_linked(
        self, directory: Directory, payload: bytes, revision: int, target: Directory
    ) -> None:
        try:
            self.write(payload, revision)
        except DurabilityUncertain:
            raise
        except BaseException:
            # The state is still in its place: ``target`` has only a second name of it.
            with suppress(OSError):
                if directory.status(STATE).st_ino == target.status(STATE).st_ino:
                    target.unlink(STATE)
            raise

    def _write_missing(self, directory: Directory, payload: bytes) -> None:
        replace.write_new(directory, STATE, payload, flush_file=True)
        directory.flush()
        self._claimed.state = Version.of(Signature.of(directory.status(STATE)), payload)

    # --- checkpoints -----------------------------------------------------------------------------

    def keep_current(self, checkpoint_id: str) -> None:
        name = f"{checkpoint_id}.json"
        with self.opened("checkpoint") as directory:
            self._claimed.check_state(directory, None)
            self._anchor(directory)
            with checkpoint_file.opened_checkpoints(directory) as checkpoints:
                # In process mode, or by somebody else, it was not flushed.
                replace.flush_file(directory, STATE)
                if self._copies or not checkpoint_file.linked(directory, STATE, checkpoints, name):
                    payload, _ = state_file.read(directory, STATE, self.session_id)
                    replace.write_new(checkpoints, name, payload, flush_file=True)
                checkpoints.flush()

    def keep_original(self, reason: str) -> str:
        with self.opened("keep a copy of") as directory:
            return quarantine.keep_state(
                self._layout, directory, self.session_id, reason, self._clock
            )

    def checkpoint_ids(self) -> list[str]:
        with self.opened("list the checkpoints of") as directory:
            return state_file.checkpoint_ids(directory, self.session_id)

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        with (
            self.opened("remove a checkpoint of") as directory,
            suppress(FileNotFoundError),
            Directory("checkpoints", directory) as checkpoints,
        ):
            checkpoints.unlink(f"{checkpoint_id}.json")

    def _anchor(self, directory: Directory) -> None:
        """Make the way to the checkpoints durable, once for each claim.

        A checkpoint survives a power loss in process mode too, but there nothing has flushed
        the names above it yet.
        """
        if not self._anchored and not directory.commit_order.is_one:  # its commit carries them
            directory.flush()
            with Directory(self._layout.sessions) as parent:
                parent.flush()
            self._anchored = True

    # --- journals --------------------------------------------------------------------------------

    def open_journal(self, name: str, saved: Position) -> JournalAppender:
        with self.opened("open a journal of") as directory:
            with opened_journals(directory) as journals:
                self._name_live()
                journal = JournalFile(
                    self.session_id,
                    journals,
                    name,
                    saved,
                    power=self._power,
                    check=self._check_appends,
                )
            self._journals.append(journal)
            return journal

    def rewrite_journal(
        self, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        from sessionstore.storage.files import journal_copy  # only a prune needs it

        with self.opened("free the space of a journal of") as directory:
            journal_copy.rewrite(directory, self.session_id, name, batches)

    def _check_appends(self, cancellable: bool) -> None:
        self._claimed.check_held()
        if cancellable:
            self._heed_request()

    def _close_journals(self) -> None:
        while self._journals:
            self._journals[-1].close()
            self._journals.pop()

    # --- the end ---------------------------------------------------------------------------------

    def delete(self) -> None:
        trashed = f"{self.session_id}.{random_hex(8)}"
        # Race: Power loss during a delete. Files are removed only after the move is flushed.
        with self.opened("delete"), opened_trash(self._layout) as trash:
            self.move_away("delete", trash, trashed, flush_target=False)
        shutil.rmtree(os.path.join(self._layout.trash, trashed), ignore_errors=True)

    def move_away(
        self, action: str, target: Directory, name: str, *, flush_target: bool = True
    ) -> None:
        """Move the whole session to ``name`` in ``target``, durably, and end the claim.

        Without ``flush_target`` it may be in neither place after a power loss, but never half in
        its own: rmtree in place comes back whole or in part.

        Raises:
            DurabilityUncertain: it was moved, and the claim has ended.
            ClaimLost: nothing was changed.
            StorageError: nothing was changed.
        """
        with self.opened(action), Directory(self._layout.sessions) as sessions:
            with live_names.recorded_move(self._layout, self.session_id, self._token):
                replace.move_new(sessions, self.session_id, target, name)
            self._is_live = True
            try:
                if flush_target:
                    target.flush()
                sessions.flush()
            except OSError as error:
                self.release()
                raise DurabilityUncertain(self.session_id, None, error) from error
        self._lock.remove_file()
        self._end()

    def confirm(self) -> None:
        self._lock.confirm()
        self._outlives_request = True

    def release(self) -> None:
        self._close_journals()
        if self._lock.is_inherited or self._lock.is_closed:
            self._claimed.close()
            self._lock.close()
            return
        self._lock.write_end(self._clock(), self._claimed.last_word())
        self._end()

    def _end(self) -> None:
        self._claimed.close()
        self._lock.close()
        # Race: Release during a request to cancel. An asker that still sees the lock held leaves
        # its request to this holder, so the holder removes it only after it let go.
        cancel_request.remove(self._layout, self.session_id, self.owner.token)
        self._remove_unmet_request()
        if self._is_live:
            self._released(self.session_id, self._token)

    def _remove_unmet_request(self) -> None:
        """Remove what the holder before did not live to meet, now that its death is on record."""
        if self._outlives_request:
            self._outlives_request = False
            if self.previous_owner is not None:
                cancel_request.remove(self._layout, self.session_id, self.previous_owner.token)

    def _name_live(self) -> None:
        """Name the session as live before its file changes for the first time in this claim."""
        if not self._is_live:
            live_names.add(self._layout, self.session_id, self._token)
            self._is_live = True
