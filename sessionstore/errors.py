"""What can go wrong: each error has its facts as fields, and a message that says what to do next.

Every error of this package is a :class:`SessionStoreError`. Its second parent is the nearest
builtin, so that ``except LookupError`` works too. All of them survive pickling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sessionstore.remedies import remedy_for
from sessionstore.text import printable


class SessionStoreError(Exception):
    """The base of every error that this package raises.

    The errors about one session have its id in ``session_id``.
    """

    advice: str = ""
    """What to do next in Python: the end of the message. Empty where the message has none."""

    @property
    def fact(self) -> str:
        """What happened: the message without the advice."""
        return str(self).removesuffix(f"; {self.advice}") if self.advice else str(self)

    def __str__(self) -> str:
        # As the second parent, OSError would show errno and strerror instead.
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        state = {**vars(self), "args": self.args, "__cause__": self.__cause__}
        if isinstance(self, OSError) and self.errno is not None:
            state["errno"] = self.errno  # OSError keeps it outside __dict__
        return type(self).__new__, (type(self),), state


def _because(error: OSError, cause: OSError) -> None:
    error.errno = cause.errno
    error.__cause__ = cause


class InvalidSessionId(SessionStoreError, ValueError):
    """The layout on disk does not allow ``session_id``; ``reason`` names the rule."""

    def __init__(self, session_id: object, reason: str, *, kind: str = "session id") -> None:
        self.session_id: object = session_id
        self.reason: str = reason
        super().__init__(f"{kind} {printable(repr(session_id), limit=80)}: {reason}")


class ArchiveRefused(SessionStoreError, ValueError):
    """The file or directory is not an export, is damaged, or is hostile; nothing was imported."""

    def __init__(self, archive: object, reason: str, *, member: str | None = None) -> None:
        self.archive: str = str(archive)
        """The export, as it was named."""
        self.member: str | None = member
        """The name of the member that was refused, or None."""
        self.reason: str = reason
        """What is wrong with it."""
        place = printable(archive, limit=400)
        if member is not None:
            place += f": {printable(member)}"
        super().__init__(f"{place}: {reason}; nothing was imported: export the sessions again")


class InvalidQuery(SessionStoreError, ValueError):
    """The filter, order or cursor ``parameter`` cannot be used; ``reason`` says why."""

    def __init__(self, parameter: str, reason: str) -> None:
        self.parameter: str = parameter
        self.reason: str = reason
        super().__init__(f"{parameter}: {reason}")


class SessionNotFound(SessionStoreError, LookupError):
    """No session in ``store`` has the id ``session_id``."""

    advice = "list what is there with store.find() or `sessionstore ls`"

    def __init__(self, session_id: str, store: object) -> None:
        self.session_id: str = session_id
        self.store: str = str(store)
        super().__init__(f"{printable(session_id)} is not in {printable(store)}; {self.advice}")


class CheckpointNotFound(SessionStoreError, LookupError):
    """The session has no checkpoint ``checkpoint_id``; it has those in ``available``."""

    def __init__(
        self, session_id: str, checkpoint_id: object, *, available: Iterable[str] = ()
    ) -> None:
        self.session_id: str = session_id
        self.checkpoint_id: str = str(checkpoint_id)
        self.available: tuple[str, ...] = tuple(available)
        named = ", ".join(printable(name) for name in self.available[-3:])
        super().__init__(
            f"{printable(session_id)} has no checkpoint {printable(checkpoint_id)};"
            + (f" the newest are: {named}" if named else " it has none at all")
        )


class SessionExists(SessionStoreError, FileExistsError):
    """A session with the id ``session_id`` exists already."""

    advice: str = "claim() or resume() it, or create one with another id"

    def __init__(
        self, session_id: str, *, wanted: str = "", found: str = "", is_own: bool = False
    ) -> None:
        """Name the goal that was ``wanted`` and the one that was ``found``, if they differ.

        ``is_own`` says that this process holds the session.
        """
        self.session_id: str = session_id
        held = ", and this process holds it" if is_own else ""
        if is_own:
            self.advice = "use the Session that holds it, or choose another id"
        goal = (
            f" with goal_id {printable(repr(found))}, not {printable(repr(wanted))}"
            if found != wanted
            else ""
        )
        super().__init__(f"{printable(session_id)} exists already{goal}{held}; {self.advice}")


class SessionClaimed(SessionStoreError, BlockingIOError):
    """Another process holds the session, or may hold it; or this one holds it already."""

    advice: str = "wait for it with timeout=, or ask that process to end it with store.cancel()"

    def __init__(
        self, session_id: str, owner: Any = None, *, reason: str = "", is_unknown: bool = False,
        is_orphaned: bool = False, is_own: bool = False,
    ) -> None:  # fmt: skip
        self.session_id: str = session_id
        self.owner: Any = owner
        """The :class:`~sessionstore.SessionOwner` that holds it, or None if no record names it."""
        self.reason: str = reason
        """How that is known; may be empty."""
        self.is_unknown: bool = is_unknown
        """Whether nobody can tell from here if that process lives."""
        self.is_orphaned: bool = is_orphaned
        """Whether that process is gone, and another one has its lock: ``reason`` says more."""
        self.is_own: bool = is_own
        """Whether this process holds it: another Session, of any thread, task or store object."""
        if is_unknown:
            self.advice = (
                "if you know that its process is gone: claim(), resume() or mark() with force=True"
            )
        holder = owner.describe() if owner is not None else ""
        holder = holder or "a process that left no record yet"
        if is_own:
            self.advice = "use the Session that holds it, or release() that one first"
            holder = f"this process: {holder}"
        message = f"{printable(session_id)} is held by {holder}"
        if is_orphaned:
            self.advice = "end the process that has the lock, or wait for its end"
            message = f"{printable(session_id)} is claimed: {reason}"
        elif reason:
            message += f" ({reason})"
        super().__init__(f"{message}; {self.advice}")


class RevisionConflict(SessionStoreError, RuntimeError):
    """The stored state is not the expected one; it was not overwritten."""

    advice = (
        "nothing was overwritten: load() what is stored now, then claim the session again and"
        " repeat the change"
    )

    def __init__(
        self,
        session_id: str,
        *,
        expected: int | None,
        found: int | None,
        owner: Any = None,
        detail: str = "",
    ) -> None:
        self.session_id: str = session_id
        self.expected: int | None = expected
        """The revision that was expected."""
        self.found: int | None = found
        """The revision that is stored; None if the stored state cannot be read."""
        self.owner: Any = owner
        """The :class:`~sessionstore.SessionOwner` that held the session last, or None."""
        self.detail: str = detail
        """How the two differ; may be empty."""
        # Files are compared, not revisions: there may be no number to name, or it is the same.
        message = printable(session_id)
        if found is None and expected is not None:
            message += f" was at revision {expected}, and its state cannot be read now"
        elif found is not None and expected is None:
            message += f" is at revision {found}, not at the state that this claim has read"
        elif found is not None and found == expected:
            message += f" is still at revision {found}, but its content was changed"
        elif found is not None:
            message += f" is at revision {found}, not {expected}"
        if detail:
            message += f": {detail}"
        if owner is not None and (holder := owner.describe()):
            message += f"; last held by {holder}"
        super().__init__(f"{message}; {self.advice}")


class SessionCorrupt(SessionStoreError, ValueError):
    """The state or checkpoint in ``file`` cannot be read; ``reason`` names the damage."""

    advice = (
        "it was left as it is: look at it with store.explain(), repair it with"
        " store.check(repair=True), or resume from another checkpoint"
    )

    def __init__(self, session_id: str, file: object, reason: str) -> None:
        self.session_id: str = session_id
        self.file: str = str(file)
        self.reason: str = reason
        super().__init__(
            f"{printable(session_id)}: {printable(file, limit=400)} is damaged: {reason};"
            f" {self.advice}"
        )


class StateTypeMismatch(SessionStoreError, TypeError):
    """A sound state does not fit ``state_type``, the class of this store; ``reason`` says why.

    ``session_id`` is None for a state that was given to the store.
    """

    def __init__(self, session_id: str | None, state_type: str, reason: str) -> None:
        self.session_id: str | None = session_id
        self.state_type: str = state_type
        self.reason: str = reason
        if session_id is None:
            subject, advice = "the given state", f"pass a {state_type} as state="
        else:
            subject = printable(session_id)
            advice = (
                f"give the new fields of {state_type} a default, or fill and convert them in a"
                ' validator (mode="before"), and this session loads: see'
                " docs/how-to/upgrading.md"
            )
        self.advice: str = advice
        super().__init__(f"{subject} does not fit state_type {state_type}: {reason}; {advice}")


class NotStorable(SessionStoreError, ValueError):
    """The value at ``path`` would not read back equal; nothing was written.

    ``reason`` says why, and what to store instead. A path looks like
    ``data_buffer.fetch.scores[3]``. ``result`` is what a step returned that cannot be kept.
    """

    def __init__(self, session_id: str, path: str, reason: str, result: Any = None) -> None:
        self.result: Any = result
        self.session_id: str = session_id
        self.path: str = path
        self.reason: str = reason
        super().__init__(
            f"{printable(path, limit=400)}: {reason} ({printable(session_id)}: nothing was written)"
        )


class NotResumable(SessionStoreError, RuntimeError):
    """The session cannot be resumed, forked or compared as asked."""

    def __init__(
        self,
        session_id: str,
        reason: str,
        *,
        checkpoint_id: str | None = None,
        available: Iterable[str] = (),
        wanted: str = "be resumed",
        parameter: str = "checkpoint_id=",
        remedy: str = "",
    ) -> None:
        """Make the message "cannot ``wanted``"; ``parameter`` is what takes another checkpoint.

        ``remedy`` is what else to do.
        """
        self.session_id: str = session_id
        self.reason: str = reason
        """Why not."""
        self.checkpoint_id: str | None = checkpoint_id
        """The checkpoint that was asked for, or None."""
        self.available: tuple[str, ...] = tuple(available)
        """The ids of the checkpoints that can be named instead."""
        message = f"{printable(session_id)} cannot {wanted}: {reason}"
        if self.available:
            named = ", ".join(printable(name) for name in self.available[-3:])
            other = f"pass {parameter} one of these: {named}"
            remedy = f"{remedy}, or {other}" if remedy else other
        if remedy:
            self.advice: str = remedy
            message += f"; {remedy}"
        super().__init__(message)


class SessionEnded(NotResumable):
    """The session is COMPLETED or CANCELLED, and ``again=True`` was not given."""

    def __init__(self, session_id: str, state: Any) -> None:
        self.state: Any = state
        """The :class:`~sessionstore.SessionState` that is stored: its result tells what came of
        it."""
        super().__init__(
            session_id,
            f"it is {state.status}",
            remedy=f'store.resume("{printable(session_id)}", again=True) runs it again',
        )


class StepChanged(SessionStoreError, ValueError):
    """The step ``step`` is kept, and its arguments or its type are not those of today."""

    def __init__(
        self, session_id: str, step: str, kept_at: str | None, reason: str | None = None
    ) -> None:
        self.session_id: str = session_id
        self.step: str = step
        self.kept_at: str | None = kept_at
        self.reason: str = reason or "it is called with other arguments now"
        name = printable(step)
        super().__init__(
            f"{printable(session_id)}: the step {name!r} was kept at {kept_at}, and {self.reason};"
            f" give it another name, or run it again with Step({name!r}, rerun=True)"
        )


class StepUnsettled(SessionStoreError, RuntimeError):
    """The step ``step`` may run at most once, has begun, and nobody knows what came of it."""

    def __init__(
        self, session_id: str, step: str, began_at: str, pid: int | None, host: str | None
    ) -> None:
        self.session_id: str = session_id
        self.step: str = step
        self.began_at: str = began_at
        self.pid: int | None = pid
        self.host: str | None = host
        by = f"pid {pid}" if host is None else f"pid {pid} on {printable(host)}"
        name, session = printable(step), printable(session_id)
        super().__init__(
            f"{session}: the step {name!r} was begun at {began_at} by {by}, which died within it;"
            f" find out what came of it, then `sessionstore steps {session} --settle {name}=JSON`,"
            f" or `--rerun {name}` if nothing did"
        )


class ClaimLost(SessionStoreError, RuntimeError):
    """This claim no longer gives the right to write; ``reason`` says how it ended."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(
            f"{printable(session_id)}: {reason}; nothing was written: claim() or resume() it again"
        )


class CancellationRequested(SessionStoreError, RuntimeError):
    """Somebody asked this claim to end; nothing was written.

    Each further ``save`` and ``checkpoint`` raises it. Let it leave the ``with`` block, which ends
    the session as cancelled. Or end the session yourself: ``cancel()``, ``pause()``,
    ``complete()`` and ``fail()`` still work.
    """

    def __init__(
        self, session_id: str, reason: str | None = None, *, requested_at: str = "", by: Any = None
    ) -> None:
        self.session_id: str = session_id
        self.reason: str | None = reason
        """The reason that was given, or None."""
        self.requested_at: str = requested_at
        """ISO 8601 time of the request."""
        self.by: Any = by
        """The :class:`~sessionstore.SessionOwner` of the process that asked, or None."""
        super().__init__(
            f"{printable(session_id)}: {self.verdict()}; nothing was written: leave the"
            " with block, or end the session with cancel(), pause(), complete() or fail()"
        )

    def verdict(self) -> str:
        """Return the error that is stored in a session that ends because of this request."""
        asked = self.by.describe() if self.by is not None else ""
        text = f"cancellation was requested by {asked}" if asked else "cancellation was requested"
        return f"{text}: {printable(self.reason, limit=1000)}" if self.reason else text


class DurabilityUncertain(SessionStoreError, OSError):
    """The new ``revision`` is visible, but may not survive a loss of power. Save again.

    With ``journal`` it is what was appended to that journal. ``errno`` is the number of the
    system's error. The error itself is the ``__cause__``.
    """

    def __init__(
        self, session_id: str, revision: int | None, cause: OSError, journal: str | None = None
    ) -> None:
        self.session_id: str = session_id
        self.revision: int | None = revision
        self.journal: str | None = journal
        if journal is not None:
            what = f"what was appended to the journal {printable(journal)} is visible but"
            advice = "append it again under its key, or go on: the journal is then written anew"
        elif revision is None:  # it was deleted, or put into quarantine
            what, advice = "it was removed, but that", "check after a power loss that it is gone"
        else:
            what, advice = f"the new state (revision {revision}) is visible but", "save again"
        super().__init__(
            f"{printable(session_id)}: {what} may not survive a power loss:"
            f" {cause.strerror or cause}; {advice}"
        )
        _because(self, cause)


class StorageError(SessionStoreError, OSError):
    """The system refused ``action`` on ``path``.

    ``errno`` is the number of its error, or None. The error itself is the ``__cause__``. Where more
    is known than the system says, ``reason`` tells why, and what to do.
    """

    def __init__(
        self, action: str, path: object, cause: OSError | str, reason: str | None = None
    ) -> None:
        self.action: str = action
        self.path: str = str(path)
        if reason is not None:
            advice = ""
        elif isinstance(cause, OSError):
            reason = cause.strerror or str(cause)
            advice = remedy_for(cause)
        else:
            reason, advice = cause, ""
        message = f"cannot {action} {printable(path, limit=400)}: {reason}"
        super().__init__(f"{message}; {advice}" if advice else message)
        if isinstance(cause, OSError):
            _because(self, cause)


class WatchTimedOut(SessionStoreError, TimeoutError):
    """The sessions in ``waiting`` did not end within ``seconds``."""

    def __init__(self, seconds: float, waiting: Iterable[str] = ()) -> None:
        self.seconds: float = seconds
        self.waiting: tuple[str, ...] = tuple(waiting)
        named = ", ".join(printable(name) for name in self.waiting[:3])
        more = f" and {len(self.waiting) - 3:,} more" if len(self.waiting) > 3 else ""
        super().__init__(
            f"timed out after {seconds:g} s waiting for {named or 'any session'}{more} to end;"
            " watch again, or look into it with `sessionstore show`"
        )
