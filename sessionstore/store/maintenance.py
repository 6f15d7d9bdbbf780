"""What people and start-up code do to the sessions of a store: sweep, check, and clean up.

The facade inherits these from here, so that a file holds either the life of a session or its
care. Each method hands over to a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Unpack, cast

from sessionstore.errors import InvalidQuery
from sessionstore.model.ids import check_id
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.status import SessionStatus
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.store.queries import Listings

if TYPE_CHECKING:  # loaded by the method that needs it: most programs use few of them
    from sessionstore.operations.prune import PruneReport
    from sessionstore.operations.recovery import MarkAs, RecoveryReport
    from sessionstore.operations.retention import RetentionPolicy
    from sessionstore.operations.stats import Counted, StoreStats
    from sessionstore.operations.transfer.export import ExportReport
    from sessionstore.operations.transfer.export_target import Place
    from sessionstore.operations.transfer.import_ import ImportReport
    from sessionstore.operations.transfer.import_source import Source
    from sessionstore.operations.watch import SessionChange, Watch, Watched
    from sessionstore.storage.report import CheckReport, Diagnosis, Progress


class Operations(Listings):
    """The methods of :class:`~sessionstore.SessionStore` that look after all sessions."""

    def recover(
        self,
        *,
        dry_run: bool = False,
        mark_as: MarkAs = "failed",
        assume_dead: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> RecoveryReport:
        """Mark the ACTIVE sessions whose process died, so that they can be resumed.

        Nothing is resumed. What cannot be known is reported as unknown and not touched, unless
        ``assume_dead`` names it.

        Args:
            dry_run: only report.
            mark_as: the status of a session that was left behind.
            assume_dead: ids of sessions of unknown owners that are to count as dead; one that
                is known to live is still not touched.
            progress: called with the number of judged ACTIVE sessions, and of all.

        Raises:
            SessionNotFound, InvalidSessionId: ``assume_dead`` names no session.
            StorageError: the store cannot be listed.
        """
        from sessionstore.operations import recovery

        if mark_as not in ("failed", "paused", "cancelled"):
            raise ValueError(f"mark_as is 'failed', 'paused' or 'cancelled', not {mark_as!r}")
        named = [assume_dead] if isinstance(assume_dead, str) else assume_dead
        return recovery.sweep(
            self._backend,
            dry_run=dry_run,
            mark_as=mark_as,
            assume_dead=[check_id(name) for name in named],
            progress=progress,
        )

    def check(self, *, repair: bool = False, progress: Progress | None = None) -> CheckReport:
        """Look for damage and for what is left over; with ``repair`` mend what can be mended.

        A damaged state is replaced by its newest sound checkpoint, under a new incarnation, and
        marked failed if that says ACTIVE, and interrupted unless it is known that the session had
        ended since; without one the whole session goes into quarantine.
        A damaged checkpoint goes there too. Nothing is deleted that could be data, and nothing
        is touched that a live process holds or may hold: such findings stay, with the reason.
        One session that cannot be mended does not stop the others.

        Args:
            repair: also mend. A second repair finds nothing more to change.
            progress: called with the number of checked sessions, and of all.

        Raises:
            StorageError: the store cannot be listed.
        """
        from sessionstore.operations.check import session

        return session.check(self._backend, repair=repair, progress=progress)

    def stats(
        self,
        *,
        sizes: bool = True,
        progress: Progress | None = None,
        counted: Counted | None = None,
    ) -> StoreStats:
        """Return how many sessions there are of each kind, and what they take.

        Counting takes as long as a listing. To measure, every session is looked at: about 50 µs
        for a small one. A damaged one is counted as such, and stops nothing.

        Args:
            sizes: also measure what each takes, and see whether its checkpoint loads.
            progress: called with the number of sessions that were measured, and of all.
            counted: called with the counts, before anything is measured.

        Raises:
            StorageError: the store cannot be listed.
        """
        from sessionstore.operations import stats

        return stats.count(self._backend, sizes=sizes, progress=progress, counted=counted)

    def diagnose(self) -> Sequence[Diagnosis]:
        """Try whether the place of this store is fit for it; see :func:`sessionstore.diagnose`."""
        return self._backend.diagnose()

    # --- retention -------------------------------------------------------------------------------

    def prune(
        self,
        policy: RetentionPolicy,
        *,
        apply: bool = False,
        progress: Progress | None = None,
    ) -> PruneReport:
        """Delete the sessions and checkpoints that ``policy`` lets go; by default only say which.

        Never touched are: ACTIVE sessions, and any that a live process holds; the checkpoint
        that a resume would use; damaged sessions, which are reported. Each session is claimed
        and judged again just before: one that was resumed or changed meanwhile is spared. One
        that cannot be deleted does not stop the others. Interrupted, the next call goes on.

        Args:
            policy: what may go.
            apply: delete; else nothing is changed.
            progress: called with the number of steps done, and of all that are known so far.

        Raises:
            StorageError: the store cannot be listed.
        """
        from sessionstore.operations import prune

        return prune.prune(self._backend, policy, apply=apply, progress=progress)

    # --- whole sessions out and in ---------------------------------------------------------------

    def export_sessions(
        self,
        target: Place,
        session_ids: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        **filters: Unpack[Filters],
    ) -> ExportReport:
        """Write sessions, with their checkpoints and the application's files, to take elsewhere.

        Live sessions, too: each is exported as it was at one moment, state and checkpoints
        together. The application's files follow the state, each as it is when it is read: an
        application that wants them to fit together pauses first. Links, sockets and the like
        are left out and reported. What cannot be read does not stop the others.

        Args:
            target: a path, which must not exist: ``….tar.gz`` or ``….tar`` is an archive, any
                other a directory, but for names of other archives (``….zip``); or something
                binary that is open for writing. A path is there complete, and durable, or not
                at all.
            session_ids: which ones; by default all, or those that match the filters.
            progress: called with the number of sessions done, and of all.
            filters: as for :meth:`~sessionstore.SessionStore.find`.

        Raises:
            InvalidSessionId, InvalidQuery: nothing was written.
            StorageError: the target cannot be written. An open one raises errors of its own.
        """
        from sessionstore.operations.transfer import export

        if session_ids is None:
            query = make_query(filters, limit=None, cursor=None, order="session_id")
            ids = self._backend.ids() if not filters else _ids(self._backend, query)
            wanted = sorted(ids)
        elif filters:
            raise InvalidQuery("session_ids", "name the sessions or give filters, not both")
        else:
            named = [session_ids] if isinstance(session_ids, str) else session_ids
            wanted = [check_id(name) for name in named]
        return export.export(self._backend, wanted, target, progress=progress)

    def import_sessions(
        self,
        source: Source,
        *,
        session_id: str | None = None,
        max_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Take in sessions that :meth:`export_sessions` wrote.

        Everything is compared with the checksums before the first session becomes visible; each
        then is there complete, or not at all. One that is there already is not touched. States
        and checkpoints arrive as the bytes that they were, with their revisions, but nobody
        holds them: a session that was ACTIVE becomes failed and interrupted, as by a sweep,
        which is one revision more. Nothing that an archive says leads out of the store.

        Args:
            source: a path to an archive or a directory, or something binary that is open.
            session_id: the id that the one session in it gets.
            max_bytes: how many bytes at most, unpacked, are taken in; by default 16 GiB.
            progress: called with the number of steps done, and of all that are known so far.

        Raises:
            ArchiveRefused: it is damaged, or holds what no export does; nothing was imported.
            InvalidSessionId: nothing was imported.
            StorageError: it cannot be read, or the store cannot be written.
        """
        from sessionstore.operations.transfer import import_

        if session_id is not None:
            check_id(session_id)
        limit = import_.MAX_BYTES if max_bytes is None else max_bytes
        return import_.import_(
            self._backend, source, session_id=session_id, max_bytes=limit, progress=progress
        )

    # --- watching --------------------------------------------------------------------------------

    def watch(
        self,
        session_ids: Iterable[str] | None = None,
        *,
        until: str | SessionStatus | Iterable[str | SessionStatus] | None = None,
        timeout: float | None = None,
        poll: float = 1.0,
        events: bool = True,
        **filters: Unpack[Watched],
    ) -> Iterator[SessionChange]:
        """Yield sessions as they change, beginning with how they are now.

        A burst of saves may come as one change, but the last state of a session always comes,
        and an earlier one never after a later one. Sessions, and the store itself, need not be
        there yet. That an owner dies changes no state: see ``recover``.

        Args:
            session_ids: which ones; by default all, or those that match the filters.
            until: end once each of ``session_ids`` has one of these statuses, or was deleted;
                without them, once there are sessions that match and all of them have.
            timeout: end after so many seconds.
            poll: how many seconds between two looks, where no events tell of changes; a store
                that takes long to look through is looked at less often.
            events: let the file system tell, if watchfiles is installed (the extra ``watch``).
            filters: as for :meth:`~sessionstore.SessionStore.find`; a session that no longer
                matches is not told.

        Raises:
            WatchTimedOut: the time is up, and ``until`` has not come.
            InvalidSessionId, InvalidQuery, ValueError: an argument makes no sense.
            StorageError: the store cannot be listed.
        """
        from sessionstore.operations import watch

        return watch.watch(self._watching(session_ids, until, timeout, poll, events, filters))

    def _watching(
        self,
        session_ids: Iterable[str] | None,
        until: str | SessionStatus | Iterable[str | SessionStatus] | None,
        timeout: float | None,
        poll: float,
        events: bool,
        filters: Watched,
    ) -> Watch:
        from sessionstore.operations import watch

        if not poll > 0 or (timeout is not None and not timeout >= 0):
            raise ValueError("poll is more than 0 seconds, timeout 0 or more, or None")
        named = [session_ids] if isinstance(session_ids, str) else session_ids
        return watch.Watch(
            self._backend,
            None if named is None else [check_id(name) for name in named],
            make_query(cast("Filters", filters), limit=None, cursor=None, order="session_id"),
            until=watch.statuses(until),
            timeout=timeout,
            poll=poll,
            uses_events=events,
        )


def _ids(backend: Backend, query: SessionQuery) -> Iterable[str]:
    matches = backend.find(query, lambda item: inspect.examine(backend, item))
    return [item.session_id for item in matches]
