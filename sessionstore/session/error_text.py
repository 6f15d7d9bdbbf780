"""An exception as text that can be stored: its name and message, then its traceback, bounded.

The first line is what a listing shows: ``ValueError: no such city``. The traceback names files,
lines and the source, as Python does. It has no values of variables. A failure of the application
must be stored whatever its exception does when somebody looks at it, so nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sessionstore.text import count_of, first_line, printable

if TYPE_CHECKING:
    from types import TracebackType

MESSAGE_LIMIT = 4_000
"""Characters that are kept of the message of an exception."""
LINE_LIMIT = 200
"""Characters that are kept of each line of a traceback."""
FRAMES = 20
"""Frames that are kept of the exception: the last ones, next to where it was raised."""
FRAMES_OF_RELATED = 3
"""The same of each cause, and of each member of a group."""
RELATED = 6
"""Causes and members that are told."""
BEGIN = "Traceback (most recent call last):"
"""The line above the frames of the exception itself."""
CAUSE, CONTEXT, MEMBER = "caused by", "while handling", "a member of the group:"
"""How the line of a related exception begins."""
NOTES = 3
"""Notes that are told, as ``add_note()`` adds them."""


def describe_error(error: BaseException | str) -> str:
    """Return an exception as text that can be stored: ``ValueError: no such city``."""
    return _storable(error if isinstance(error, str) else _headline(error))


def record_error(error: BaseException | str) -> str:
    """Return the text of :func:`describe_error` and, below it, the traceback of an exception."""
    told = describe_error(error)
    if isinstance(error, str):
        return told
    try:
        lines = [_storable(line) for line in _traceback(error)]
    except Exception:  # whatever the exception of an application does when it is looked at
        lines = ["its traceback cannot be told"]
    return "\n".join([told, *lines])


def _storable(text: str) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()


def _headline(error: BaseException) -> str:
    name = type(error).__name__
    try:
        message = str(error)
    except Exception as trouble:
        message = f"its message cannot be told: str() raised {type(trouble).__name__}"
    if left_out := max(0, len(message) - MESSAGE_LIMIT):
        message = f"{message[:MESSAGE_LIMIT]}… ({count_of(left_out, 'character')} left out)"
    return f"{name}: {message}" if message else name


def _traceback(error: BaseException) -> Iterator[str]:
    """Yield what led to ``error``, the nearest first, and then where it was raised itself."""
    for note in list(getattr(error, "__notes__", ()))[:NOTES]:
        yield f"note: {_line(note)}"
    related = _related(error)
    for how, other in related[:RELATED]:
        yield f"{how} {_line(first_line(_headline(other)))}"
        yield from _places(other, FRAMES_OF_RELATED)
    if left_out := max(0, len(related) - RELATED):
        yield f"{count_of(left_out, 'further exception')} left out"
    places = list(_places(error, FRAMES))
    if places:
        yield BEGIN
        yield from places


def _related(error: BaseException) -> list[tuple[str, BaseException]]:
    """Return the causes of an exception and the members of a group, each once, and how related."""
    found: list[tuple[str, BaseException]] = []
    seen: set[int] = set()
    ahead = [("", error)]
    while ahead:
        how, one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one is not error:
            found.append((how, one))
        ahead += reversed(list(_next(one)))
    return found


def _next(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    if error.__cause__ is not None:
        yield CAUSE, error.__cause__
    elif error.__context__ is not None and not error.__suppress_context__:
        yield CONTEXT, error.__context__
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield MEMBER, member


def _places(error: BaseException, limit: int) -> Iterator[str]:
    """Yield the frames of an exception, the last ``limit`` of them, and the line of a SyntaxError.

    Each takes two lines: the place, and what stands there.
    """
    yield from _frames(error.__traceback__, limit)
    if isinstance(error, SyntaxError) and error.filename is not None:
        yield _line(f'  File "{error.filename}", line {error.lineno}')
        if error.text:
            yield f"    {_line(str(error.text).strip())}"


def _frames(trace: TracebackType | None, limit: int) -> Iterator[str]:
    from traceback import StackSummary, walk_tb

    total = sum(1 for _ in walk_tb(trace))
    if total > limit:
        yield f"  {count_of(total - limit, 'frame')} left out"
    for frame in StackSummary.extract(walk_tb(trace), limit=-limit):
        yield _line(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            yield f"    {_line(frame.line)}"


def _line(text: object) -> str:
    return printable(text, limit=LINE_LIMIT)
