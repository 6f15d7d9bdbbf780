"""What can go wrong, each with its facts as fields and a message that says what to do next.

Every refusal of this package is a :class:`SessionStoreError`; the second parent is the builtin
that comes nearest, so that ``except LookupError`` and the like work too. All of them pickle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sessionstore import remedies
from sessionstore.text import printable

__all__ = [
    "ArchiveRefused",
    "CancellationRequested",
    "CheckpointNotFound",
    "ClaimLost",
    "DurabilityUncertain",
    "InvalidQuery",
    "InvalidSessionId",
    "NotResumable",
    "NotStorable",
    "RevisionConflict",
    "SessionClaimed",
    "SessionCorrupt",
    "SessionExists",
    "SessionNotFound",
    "SessionStoreError",
    "StateTypeMismatch",
    "StorageError",
    "WatchTimedOut",
]


class SessionStoreError(Exception):
    """The base of every error that this package raises."""

    advice: str = ""
    """What to do next, in Python: how the message ends. Empty where that depends on the rest."""

    @property
    def fact(self) -> str:
        """What happened: the message without the advice, for those who have better advice."""
        return str(self).removesuffix(f"; {self.advice}") if self.advice else str(self)

    def __str__(self) -> str:
        # An OSError parent would format errno and strerror instead.
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        fields = dict(self.__dict__)
        if isinstance(self, OSError) and self.errno is not None:
            fields["errno"] = self.errno  # OSError keeps it outside of __dict__
        return _rebuild, (type(self), self.args, fields, self.__cause__)


def _because(error: OSError, cause: OSError) -> None:
    error.errno = cause.errno
    error.__cause__ = cause


def _rebuild(
    kind: type[SessionStoreError],
    args: tuple[Any, ...],
    fields: dict[str, Any],
    cause: BaseException | None,
) -> SessionStoreError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in fields.items():
        setattr(error, name, value)
    error.__cause__ = cause
    return error


class InvalidSessionId(SessionStoreError, ValueError):
    """An id that the layout on disk does not allow. Fields: ``session_id``, ``reason``."""

    def __init__(self, session_id: object, reason: str, *, kind: str = "session id") -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(f"{kind} {printable(repr(session_id), limit=80)}: {reason}")


class ArchiveRefused(SessionStoreError, ValueError):
    """What was to be imported is no export, is damaged, or tries something; nothing was imported.

    Fields: ``archive``, ``member`` (its name in there, or None), ``reason``.
    """

    def __init__(self, archive: object, reason: str, *, member: str | None = None) -> None:
        self.archive: str = str(archive)
        self.member = member
        self.reason = reason
        place = f"{printable(archive, limit=400)}"
        if member is not None:
            place += f": {printable(member)}"
        super().__init__(f"{place}: {reason}; nothing was imported: export the sessions again")


class InvalidQuery(SessionStoreError, ValueError):
    """A filter, order or cursor that makes no sense. Fields: ``parameter``, ``reason``."""

    def __init__(self, parameter: str, reason: str) -> None:
        self.parameter = parameter
        self.reason = reason
        super().__init__(f"{parameter}: {reason}")


class SessionNotFound(SessionStoreError, LookupError):
    """No session has this id. Fields: ``session_id``, ``store``."""

    advice = "list what is there with store.find() or `sessionstore ls`"

    def __init__(self, session_id: str, store: object) -> None:
        self.session_id = session_id
        self.store: str = str(store)
        super().__init__(f"{printable(session_id)} is not in {printable(store)}; {self.advice}")


class CheckpointNotFound(SessionStoreError, LookupError):
    """The session has no such checkpoint.

    Fields: ``session_id``, ``checkpoint_id``, ``available`` (ids of those that it has).
    """

    def __init__(
        self, session_id: str, checkpoint_id: object, *, available: Iterable[str] = ()
    ) -> None:
        self.session_id = session_id
        self.checkpoint_id: str = str(checkpoint_id)
        self.available: tuple[str, ...] = tuple(available)
        named = ", ".join(printable(name) for name in self.available[-3:])
        super().__init__(
            f"{printable(session_id)} has no checkpoint {printable(checkpoint_id)};"
            + (f" the newest are: {named}" if named else " it has none at all")
        )


class SessionExists(SessionStoreError, FileExistsError):
    """A session with this id is there already. Fields: ``session_id``."""

    advice = "claim() or resume() it, or create one with another id"

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"{printable(session_id)} exists already; {self.advice}")


class SessionClaimed(SessionStoreError, BlockingIOError):
    """Another claim is in the way. Fields: ``session_id``, ``owner`` (or None), ``reason``.

    ``owner`` is the :class:`~sessionstore.SessionOwner` of the holder as far as it is known.
    ``is_unknown``: whether it cannot be known if that process lives.
    """

    advice: str = "wait with timeout=, or ask that process to release it"

    def __init__(
        self, session_id: str, owner: Any = None, *, reason: str = "", is_unknown: bool = False
    ) -> None:
        self.session_id = session_id
        self.owner = owner
        self.reason = reason
        self.is_unknown = is_unknown
        if is_unknown:
            self.advice = "if you know that it is gone: claim(), resume() or mark() with force=True"
        if owner is not None and (holder := owner.describe()):
            message = f"{printable(session_id)} is held by {holder}"
        else:
            message = f"{printable(session_id)} is held by a process that left no record yet"
        if reason:
            message += f" ({reason})"
        super().__init__(f"{message}; {self.advice}")


class RevisionConflict(SessionStoreError, RuntimeError):
    """The stored state is not the one that was expected; nothing was written over it.

    Fields: ``session_id``, ``expected`` and ``found`` (revisions; ``found`` is None where the
    state on disk cannot be read), ``owner`` (who held the session last, or None).
    """

    advice = "the stored state was kept: load it and decide anew, do not write over it"

    def __init__(
        self,
        session_id: str,
        *,
        expected: int | None,
        found: int | None,
        owner: Any = None,
        detail: str = "",
    ) -> None:
        self.session_id = session_id
        self.expected = expected
        self.found = found
        self.owner = owner
        self.detail = detail
        message = (
            f"{printable(session_id)} is at revision {'?' if found is None else found},"
            f" not {expected}"
        )
        if detail:
            message += f": {detail}"
        if owner is not None and (holder := owner.describe()):
            message += f"; last held by {holder}"
        super().__init__(f"{message}; {self.advice}")


class SessionCorrupt(SessionStoreError, ValueError):
    """A stored state or checkpoint cannot be read. Fields: ``session_id``, ``file``, ``reason``."""

    advice = (
        "it was left as it is: look with store.explain(), mend it with store.check(repair=True),"
        " or resume from another checkpoint"
    )

    def __init__(self, session_id: str, file: object, reason: str) -> None:
        self.session_id = session_id
        self.file: str = str(file)
        self.reason = reason
        super().__init__(
            f"{printable(session_id)}: {printable(file, limit=400)} is damaged: {reason};"
            f" {self.advice}"
        )


class StateTypeMismatch(SessionStoreError, TypeError):
    """The stored state is sound, but not of this store's ``state_type``.

    Fields: ``session_id`` (or None), ``state_type`` (its name), ``reason``.
    """

    def __init__(self, session_id: str | None, state_type: str, reason: str) -> None:
        self.session_id = session_id
        self.state_type = state_type
        self.reason = reason
        subject = printable(session_id) if session_id else "the given state"
        super().__init__(
            f"{subject} is no {state_type}: {reason};"
            " open the store with the state_type= that this session was written with"
        )


class NotStorable(SessionStoreError, ValueError):
    """A value would not read back equal; nothing was written.

    Fields: ``session_id``, ``path`` (of the value), ``reason``.
    """

    def __init__(self, session_id: str, path: str, reason: str) -> None:
        self.session_id = session_id
        self.path = path
        self.reason = reason
        super().__init__(
            f"{printable(path, limit=400)}: {reason} ({printable(session_id)}: nothing was written)"
        )


class NotResumable(SessionStoreError, RuntimeError):
    """This session cannot be resumed as asked, nor forked or compared without a checkpoint.

    Fields: ``session_id``, ``reason``, ``checkpoint_id`` (or None), ``available`` (ids of
    checkpoints that could be named instead).
    """

    def __init__(
        self,
        session_id: str,
        reason: str,
        *,
        checkpoint_id: str | None = None,
        available: Iterable[str] = (),
        wanted: str = "be resumed",
        parameter: str = "checkpoint_id=",
    ) -> None:
        """Say that a session cannot ``wanted``; ``parameter`` is where to name another state."""
        self.session_id = session_id
        self.reason = reason
        self.checkpoint_id = checkpoint_id
        self.available: tuple[str, ...] = tuple(available)
        message = f"{printable(session_id)} cannot {wanted}: {reason}"
        if self.available:
            named = ", ".join(printable(name) for name in self.available[-3:])
            self.advice: str = f"pass {parameter} one of these: {named}"
            message += f"; {self.advice}"
        super().__init__(message)


class ClaimLost(SessionStoreError, RuntimeError):
    """This claim no longer gives the right to write. Fields: ``session_id``, ``reason``."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(
            f"{printable(session_id)}: {reason}; nothing was written: claim() or resume() it again"
        )


class CancellationRequested(SessionStoreError, RuntimeError):
    """Somebody asked this claim to end; what was to be saved was not written.

    Raised by each ``save`` and ``checkpoint`` from then on. Let it leave the ``with`` block, which
    ends the session as cancelled; or store the last word yourself with ``session.cancel()``,
    ``pause()``, ``complete()`` or ``fail()``, which still work.

    Fields: ``session_id``, ``reason`` (as given, or None), ``requested_at`` (ISO 8601), ``by``
    (the :class:`~sessionstore.SessionOwner` of the process that asked, or None).
    """

    def __init__(
        self,
        session_id: str,
        reason: str | None = None,
        *,
        requested_at: str = "",
        by: Any = None,
    ) -> None:
        self.session_id = session_id
        self.reason = reason
        self.requested_at = requested_at
        self.by = by
        super().__init__(
            f"{printable(session_id)}: {self.verdict()}; nothing was written: leave the"
            " with block, or end the session with cancel(), pause(), complete() or fail()"
        )

    def verdict(self) -> str:
        """Return what is stored as the error of a session that ends because of this."""
        asked = self.by.describe() if self.by is not None else ""
        text = f"cancellation was requested by {asked}" if asked else "cancellation was requested"
        return f"{text}: {printable(self.reason, limit=1000)}" if self.reason else text


class DurabilityUncertain(SessionStoreError, OSError):
    """The new state is visible, but may not survive a loss of power. Save again.

    Fields: ``session_id``, ``revision`` (now visible), ``errno``; the OSError is the cause.
    """

    def __init__(self, session_id: str, revision: int | None, cause: OSError) -> None:
        self.session_id = session_id
        self.revision = revision
        super().__init__(
            f"{printable(session_id)}: the new state (revision {revision}) is visible but may not"
            f" survive a power loss: {cause.strerror or cause}; save again"
        )
        _because(self, cause)


class StorageError(SessionStoreError, OSError):
    """The system refused. Fields: ``action``, ``path``, ``errno``; the OSError is the cause."""

    def __init__(self, action: str, path: object, cause: OSError | str) -> None:
        self.action = action
        self.path: str = str(path)
        if isinstance(cause, OSError):
            reason = cause.strerror or str(cause)
            advice = remedies.remedy_for(cause)
        else:
            reason, advice = cause, ""
        message = f"cannot {action} {printable(path, limit=400)}: {reason}"
        super().__init__(f"{message}; {advice}" if advice else message)
        if isinstance(cause, OSError):
            _because(self, cause)


class WatchTimedOut(SessionStoreError, TimeoutError):
    """What a watch waited for did not come in time. Fields: ``seconds``, ``waiting`` (ids)."""

    def __init__(self, seconds: float, waiting: Iterable[str] = ()) -> None:
        self.seconds = seconds
        self.waiting: tuple[str, ...] = tuple(waiting)
        named = ", ".join(printable(name) for name in self.waiting[:3])
        more = f" and {len(self.waiting) - 3:,} more" if len(self.waiting) > 3 else ""
        super().__init__(
            f"after {seconds:g} seconds the end has not come for {named or 'any session'}{more};"
            " watch again, or look into it with `sessionstore show`"
        )
