"""Do one thing to several sessions: a refusal stops only its own, and the exit code tells all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sessionstore.cli.errors import refused
from sessionstore.cli.exits import Exit
from sessionstore.errors import SessionStoreError


def for_each(ids: Sequence[str], act: Callable[[str], Exit]) -> Exit:
    """Do ``act`` to each session; return the exit code of all of it."""
    codes: list[Exit] = []
    for session_id in ids:
        try:
            codes.append(act(session_id))
        except SessionStoreError as error:
            codes.append(refused(error))
    return combined(codes)


def combined(codes: Sequence[Exit]) -> Exit:
    """Return 0 if all went well, 6 if some did, else what the failures share, or 1.

    That something did not come in time counts for more than that the others did.
    """
    failures = {code for code in codes if code is not Exit.OK}
    if not failures:
        return Exit.OK
    if failures == {Exit.TIMED_OUT}:
        return Exit.TIMED_OUT
    if Exit.OK in codes:
        return Exit.PARTLY
    return failures.pop() if len(failures) == 1 else Exit.ERROR
