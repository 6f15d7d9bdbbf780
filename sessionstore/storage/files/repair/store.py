"""Check and repair a store of files apart from its sessions: root, locks, trash, foreign entries.

A repair removes nothing that could be data, or that a live process uses.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from sessionstore.clock import Clock
from sessionstore.durable import making
from sessionstore.durable.directory import LINK_IN_STORE, Directory
from sessionstore.durable.replace import is_temporary
from sessionstore.errors import StorageError
from sessionstore.model.ids import is_id
from sessionstore.process import identity
from sessionstore.storage.files import cancel_request, store_marker
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.index import index_directory, live_names
from sessionstore.storage.files.layout import (
    MARKER,
    QUARANTINE,
    Layout,
    built_session,
    is_trashed,
)
from sessionstore.storage.files.quarantine import quarantine
from sessionstore.storage.files.repair.access import Places, Rule, check_access
from sessionstore.storage.files.repair.mended import mended
from sessionstore.storage.report import Finding, FindingKind

_STAYS = 60.0
"""Seconds after which a temporary file in locks/, which no lock guards, is left over."""


class StoreCheck:
    """One check of everything in a store that is no session."""

    def __init__(self, layout: Layout, *, repair: bool, now: Clock) -> None:
        self._layout = layout
        self._repair = repair
        self._now = now
        self._quarantine = partial(quarantine, layout, now=now)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings, repaired if that was asked for and is possible."""
        parts = (*self._layout.directories, self._layout.quarantine)
        linked = list(filter(os.path.islink, parts))
        for part in linked:
            yield Finding(
                FindingKind.UNREADABLE, None, part, LINK_IN_STORE, "move it by hand", is_damage=True
            )
        for look in (self._root, self._sessions, self._locks, self._trash):
            try:
                yield from look()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.filename in linked:
                    continue
                trouble = StorageError("look at", error.filename or self._layout.root, error)
                yield Finding(
                    FindingKind.UNREADABLE,
                    None,
                    self._layout.root,
                    str(trouble),
                    "remove the cause that the system names, then check again",
                    is_damage=True,
                )

    def _done(self, finding: Finding, mend: Callable[[], str]) -> Finding:
        return mended(finding, mend) if self._repair else finding

    def _leftover(
        self, directory: Directory, name: str, detail: str, session_id: str | None = None
    ) -> Finding:
        file = os.path.join(directory.path, name)
        finding = Finding(FindingKind.LEFTOVER, session_id, file, detail, "it would be removed")
        return self._done(finding, partial(_unlink, directory, name))

    def _root(self) -> Iterator[Finding]:
        with Directory(self._layout.root) as root:
            for name in store_marker.unfinished_markers(root):
                yield self._leftover(root, name, "left over from writing the marker of the store")
            ours = [MARKER, "sessions", "locks", "trash", QUARANTINE]
            indexes = [os.path.basename(path) for path in index_directory.paths(self._layout)]
            yield from self._check_access([(root, [*ours, *indexes])])
            for name in indexes:
                with suppress(FileNotFoundError), Directory(name, root) as index:
                    yield from self._check_access([(index, index.names())])

    def _check_access(self, places: Places) -> list[Finding]:
        return check_access(self._layout, places, None, repair=self._repair)

    # --- sessions/ -------------------------------------------------------------------------------

    def _sessions(self) -> Iterator[Finding]:
        with Directory(self._layout.sessions) as sessions:
            for name in sorted(sessions.names()):
                try:
                    mode = sessions.status(name).st_mode
                except FileNotFoundError:
                    continue
                if not is_id(name):
                    # Plain files that begin with a dot are what file managers and the like leave.
                    if not (stat.S_ISREG(mode) and name.startswith(".")):
                        yield self._wrong_id(sessions, name, "its name is not a session id")
                elif stat.S_ISLNK(mode):
                    yield self._link(sessions, name)
                elif not stat.S_ISDIR(mode):
                    yield self._wrong_id(sessions, name, "it is not a directory")

    def _wrong_id(self, sessions: Directory, name: str, detail: str) -> Finding:
        return Finding(
            FindingKind.WRONG_ID,
            None,
            os.path.join(sessions.path, name),
            f"{detail}: no session can be read from it",
            "rename it, or move it away, by hand",
        )

    def _link(self, sessions: Directory, name: str) -> Finding:
        detail = "it is a symbolic link, which is not followed"

        def mend() -> str:
            with self._locked(name) as lock:
                place = self._quarantine(
                    sessions, name, called="session", session_id=name, reason=detail
                )
                lock.remove_file()
            return f"put into {place}"

        finding = Finding(
            FindingKind.DAMAGED_STATE,
            name,
            os.path.join(sessions.path, name),
            detail,
            "the link would be put into quarantine",
            is_damage=True,
        )
        return self._done(finding, mend)

    # --- locks/ and trash/ -----------------------------------------------------------------------

    def _locks(self) -> Iterator[Finding]:
        rule = Rule(self._layout)
        with Directory(self._layout.locks) as directory:
            wrong: list[str] = []
            for name in sorted(directory.names()):
                if is_temporary(name) and _is_old(directory, name):
                    detail = "left over from a cancel request that was not completed"
                    yield self._leftover(directory, name, detail)
                if request := cancel_request.NAME.fullmatch(name):
                    yield from self._request(directory, name, request["session_id"])
                session_id = name.removesuffix(".lock")
                if session_id == name or not is_id(session_id):
                    continue
                try:
                    status = directory.status(name)
                except FileNotFoundError:
                    continue
                if not stat.S_ISREG(status.st_mode):
                    yield self._no_lock(directory, name, session_id)
                elif os.path.lexists(self._layout.session(session_id)):
                    if rule.is_broken(status) and not self._is_held(session_id):
                        wrong.append(name)
                elif not self._is_held(session_id):
                    yield self._stray_lock(session_id)
            with ExitStack() as stack:
                # The names of live sessions in an index are second names of these files.
                live = [(place, place.names()) for place in self._live_names(stack)]
                yield from self._check_access([(directory, wrong), *live])

    def _live_names(self, stack: ExitStack) -> Iterator[Directory]:
        for index in index_directory.paths(self._layout):
            with suppress(OSError):
                yield stack.enter_context(Directory(live_names.directory(index)))

    def _request(self, directory: Directory, name: str, session_id: str) -> Iterator[Finding]:
        """Yield a finding if the claim that a request to cancel names has ended."""
        if not is_id(session_id) or cancel_request.may_be_heeded(self._layout, session_id, name):
            return
        # No later claim has the token of this one.
        detail = "a cancel request to a claim that has ended"
        yield self._leftover(directory, name, detail, session_id)

    def _no_lock(self, directory: Directory, name: str, session_id: str) -> Finding:
        detail = "it is not a regular file: nobody can claim the session"
        finding = Finding(
            FindingKind.STRAY_LOCK,
            session_id,
            os.path.join(directory.path, name),
            detail,
            "it would be put into quarantine",
            is_damage=True,
        )

        def mend() -> str:
            return "put into " + self._quarantine(
                directory, name, called="lock", session_id=session_id, reason=detail
            )

        return self._done(finding, mend)

    def _stray_lock(self, session_id: str) -> Finding:
        def mend() -> str:
            with self._locked(session_id) as lock:
                # Look again under the lock: the session may have been made since.
                if os.path.lexists(self._layout.session(session_id)):
                    return "kept: the session was created again"
                lock.remove_file()
            return "removed"

        finding = Finding(
            FindingKind.STRAY_LOCK,
            session_id,
            self._layout.lock(session_id),
            "its session no longer exists",
            "it would be removed",
        )
        return self._done(finding, mend)

    def _trash(self) -> Iterator[Finding]:
        with Directory(self._layout.trash) as trash:
            names = sorted(trash.names())
            for name in names:
                if not is_trashed(name) and not name.startswith("."):
                    yield Finding(
                        FindingKind.TRASH,
                        None,
                        os.path.join(trash.path, name),
                        "sessionstore did not put it here: a delete gives other names",
                        "look at it, and move it away, by hand",
                    )
            names = list(filter(is_trashed, names))
            if names and self._repair:
                # Before anything is removed: half a session must not come back after a power
                # loss, should the delete have died before it flushed this.
                with Directory(self._layout.sessions) as sessions:
                    sessions.flush()
            for name in names:
                built = built_session(name)
                session_id = built or name.rpartition(".")[0]
                if is_id(session_id) and self._is_held(session_id):
                    continue  # it is being made or deleted right now
                yield self._done(
                    Finding(
                        FindingKind.TRASH,
                        session_id if is_id(session_id) else None,
                        os.path.join(trash.path, name),
                        f"left over from {'making' if built else 'deleting'} a session",
                        "it would be removed",
                    ),
                    partial(_remove_tree, trash, name),
                )

    # --- locks -----------------------------------------------------------------------------------

    def _is_held(self, session_id: str) -> bool:
        try:
            return locks.probe(self._layout.lock(session_id))[0]
        except OSError:
            return True  # unknown, so it may be held

    @contextmanager
    def _locked(self, session_id: str) -> Iterator[locks.HeldLock]:
        path = self._layout.lock(session_id)
        making.make_directory(self._layout.locks)  # other software's store may have none
        try:
            lock = locks.acquire(path, identity.new_owner(self._now()), timeout=0.0)
        except locks.Held:
            raise StorageError("repair", path, "a live process holds its lock") from None
        try:
            yield lock
        finally:
            if not os.path.lexists(self._layout.session(session_id)):
                lock.remove_file()
            lock.write_end(self._now())
            lock.close()


def _is_old(directory: Directory, name: str) -> bool:
    try:
        return time.time() - directory.status(name).st_mtime > _STAYS
    except FileNotFoundError:
        return False


def _unlink(directory: Directory, name: str) -> str:
    with suppress(FileNotFoundError):
        directory.unlink(name)
    return "removed"


def _remove_tree(parent: Directory, name: str) -> str:
    path = os.path.join(parent.path, name)
    try:
        if stat.S_ISDIR(parent.status(name).st_mode):
            shutil.rmtree(path)  # follows no link
        else:
            parent.unlink(name)
    except FileNotFoundError:
        pass  # another process removed it
    return "removed"
