"""Look after all sessions of a store: sweep, check, measure, prune, carry and watch them.

Each method is one file in :mod:`sessionstore.operations`, which it loads when it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Unpack

from sessionstore.errors import InvalidQuery
from sessionstore.model.ids import check_id
from sessionstore.model.query import Filters
from sessionstore.model.status import SessionStatus
from sessionstore.store.queries import StoreQueries

if TYPE_CHECKING:  # loaded by the method that needs it: most programs use few of them
    from sessionstore.operations.prune import PruneReport
    from sessionstore.operations.recovery import MarkAs, RecoveryReport
    from sessionstore.operations.retention import RetentionPolicy
    from sessionstore.operations.stats import Counted, StoreStats
    from sessionstore.operations.transfer.export import ExportReport
    from sessionstore.operations.transfer.export_target import Place
    from sessionstore.operations.transfer.import_ import ImportReport
    from sessionstore.operations.transfer.import_source import Source
    from sessionstore.operations.watch import SessionChange, Watched
    from sessionstore.storage.report import CheckReport, Diagnosis, Progress


class StoreMaintenance(StoreQueries):
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

        Nothing is resumed. A session whose owner may live, which cannot be known from here, is
        reported as unknown and not touched, unless ``assume_dead`` names it.

        Args:
            dry_run: only report.
            mark_as: the status of a session that was left behind.
            assume_dead: ids of sessions whose unknown owners count as dead. A session whose
                owner is known to live is still not touched.
            progress: called with the number of judged ACTIVE sessions, and of all.

        Raises:
            SessionNotFound: ``assume_dead`` names no session.
            InvalidSessionId: ``assume_dead`` has an id that is not safe.
            StorageError: the store cannot be listed.

        Examples:
            >>> report = store.recover()
            >>> for item in report.swept:
            ...     print(item.session_id, item.reason, item.is_resumable)
        """
        from sessionstore.operations import recovery

        if mark_as not in ("failed", "paused", "cancelled"):
            raise ValueError(f"mark_as must be 'failed', 'paused' or 'cancelled', not {mark_as!r}")
        named = [assume_dead] if isinstance(assume_dead, str) else assume_dead
        return recovery.sweep(
            self._backend,
            dry_run=dry_run,
            mark_as=mark_as,
            assume_dead=[check_id(name) for name in named],
            progress=progress,
        )

    def check(self, *, repair: bool = False, progress: Progress | None = None) -> CheckReport:
        """Look for damage and for leftovers; with ``repair`` mend what can be mended.

        A damaged state is replaced by its newest sound checkpoint, under a new incarnation. If
        that checkpoint says ACTIVE, the session is marked failed, and interrupted unless it is
        known that the session had ended since. A session without a sound checkpoint goes into
        quarantine, and so does a damaged checkpoint. Nothing is deleted that could be data, and
        nothing is touched that a live process holds or may hold: such a finding stays, with the
        reason. One session that cannot be mended does not stop the others.

        Args:
            repair: also mend. A second repair finds nothing more to change.
            progress: called with the number of checked sessions, and of all.

        Raises:
            StorageError: the store cannot be listed.

        Examples:
            >>> store.check().findings
            ()
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

        Counting takes as long as a listing. Measuring looks at every session: about 50 µs for a
        small one. A damaged session is counted as such, and stops nothing.

        Args:
            sizes: also measure what each takes, and see whether its checkpoint loads.
            progress: called with the number of sessions that were measured, and of all.
            counted: called with the counts, before anything is measured.

        Raises:
            StorageError: the store cannot be listed.

        Examples:
            >>> store.stats(sizes=False).sessions
            1
        """
        from sessionstore.operations import stats

        return stats.count(self._backend, sizes=sizes, progress=progress, counted=counted)

    def prune(
        self, policy: RetentionPolicy, *, apply: bool = False, progress: Progress | None = None
    ) -> PruneReport:
        """Delete the sessions and checkpoints that ``policy`` lets go; by default only say which.

        Never touched are: ACTIVE sessions, and any that a live process holds; the checkpoint
        that a resume would use; damaged sessions, which are reported. Each session is claimed
        and judged again just before: a session that was resumed or changed meanwhile is spared.
        One that cannot be deleted does not stop the others. After an interruption, the next call
        goes on.

        Where a policy limits checkpoints, the journals of the sessions that stay lose the records
        that a resume or a rewrite has left behind, once no checkpoint goes back to them.

        Args:
            policy: what may go.
            apply: delete; else nothing is changed.
            progress: called with the number of steps done, and of all that are known so far.

        Raises:
            StorageError: the store cannot be listed.

        Examples:
            >>> from datetime import timedelta
            >>> from sessionstore import RetentionPolicy
            >>> policy = RetentionPolicy(older_than=timedelta(days=30), keep_checkpoints=3)
            >>> report = store.prune(policy, apply=True)
        """
        from sessionstore.operations import prune

        return prune.prune(self._backend, policy, apply=apply, progress=progress)

    def export_sessions(
        self,
        target: Place,
        session_ids: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        **filters: Unpack[Filters],
    ) -> ExportReport:
        """Write sessions, with their checkpoints and the application's files, to take elsewhere.

        Live sessions are exported, too: each as it was at one moment, state and checkpoints
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
            InvalidSessionId: an id is not safe; nothing was written.
            InvalidQuery: a filter makes no sense; nothing was written.
            StorageError: the target cannot be written. An open one raises errors of its own.

        Examples:
            >>> report = store.export_sessions("backup.tar.gz", status="paused")
        """
        from sessionstore.operations.transfer import export

        if session_ids is None:
            wanted = sorted(self._ids(filters))
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

        Everything is compared with the checksums before the first session becomes visible. Each
        session is then there complete, or not at all. A session that is there already is not
        touched. States and checkpoints arrive as the bytes that they were, with their revisions,
        but nobody holds them: a session that was ACTIVE becomes failed and interrupted, as by a
        sweep, which is one revision more. No name in an archive leads out of the store.

        Args:
            source: a path to an archive or a directory, or something binary that is open.
            session_id: the id that the one session in it gets.
            max_bytes: how many bytes at most, unpacked, are taken in; by default 16 GiB.
            progress: called with the number of steps done, and of all that are known so far.

        Raises:
            ArchiveRefused: it is damaged, or holds what no export does; nothing was imported.
            InvalidSessionId: the id is not safe; nothing was imported.
            StorageError: it cannot be read, or the store cannot be written.

        Examples:
            >>> exported = store.export_sessions("one.tar", ["ticket-1"])
            >>> report = store.import_sessions("one.tar", session_id="ticket-1-copy")
            >>> [item.session_id for item in report.imported]
            ['ticket-1-copy']
        """
        from sessionstore.operations.transfer import import_

        if session_id is not None:
            check_id(session_id)
        limit = import_.MAX_BYTES if max_bytes is None else max_bytes
        return import_.import_(
            self._backend, source, session_id=session_id, max_bytes=limit, progress=progress
        )

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
        there yet. The death of an owner changes no state: see :meth:`recover`.

        Args:
            session_ids: which ones; by default all, or those that match the filters.
            until: end once each of ``session_ids`` has one of these statuses, or was deleted;
                without them, once there are sessions that match and all of them have.
            timeout: end after so many seconds.
            poll: how many seconds between two looks, where no events tell of changes; a store
                that takes long to look through is looked at less often.
            events: let the file system tell, if watchfiles is installed (the extra ``watch``).
            filters: as for :meth:`~sessionstore.SessionStore.find`; a session that no longer
                matches is not told, unless it was told before and has a status of ``until`` now.

        Raises:
            WatchTimedOut: the time is up, and ``until`` has not come.
            InvalidSessionId: an id is not safe.
            InvalidQuery: a filter makes no sense.
            ValueError: ``poll``, ``timeout`` or ``until`` makes no sense.
            StorageError: the store cannot be listed.

        Examples:
            >>> for change in store.watch(["ticket-1"], until=["paused", "completed"]):
            ...     print(change.kind, change.session_id, change.summary.status)
            found ticket-1 paused
        """
        from sessionstore.operations import watch

        return watch.watch(
            watch.make_watch(
                self._backend,
                session_ids,
                until=until,
                timeout=timeout,
                poll=poll,
                events=events,
                filters=filters,
            )
        )

    def diagnose(self) -> Sequence[Diagnosis]:
        """Try whether the place of this store is fit for it; see :func:`sessionstore.diagnose`.

        Examples:
            >>> for finding in store.diagnose():
            ...     assert finding.fitness != "fail", finding
        """
        return self._backend.diagnose()

    def _ids(self, filters: Filters) -> Iterable[str]:
        if not filters:
            return self._backend.ids()
        query = self._query(filters, limit=None, cursor=None, order="session_id")
        return [item.session_id for item in self._matches(query)]
