"""Where a session goes on: count the node that is finished, and name the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from sessionstore.model.state import SessionProgress, SessionState
from sessionstore.session.stamp import progress_of


class End(Enum):
    """The type of :data:`END`."""

    END = "end"


END: Final = End.END
"""Pass it as ``next_node=`` where no node follows."""


@contextmanager
def moved_on(
    state: SessionState, node: str | None, next_node: str | End | None
) -> Iterator[Callable[[], None]]:
    """Set the node at work; with ``next_node`` count it as finished, and go on there.

    Yields what takes this back, which an exception does, too. It leaves alone what the application,
    or a checkpoint that was queued after this one, has set since.

    Raises:
        TypeError: ``next_node`` is given without ``node``.
        NotStorable: the application replaced the progress by something else.
    """
    if next_node is not None and node is None:
        raise TypeError("next_node= needs node=, the node that is finished")
    progress = progress_of(state)
    before = progress.current_node, progress.resume_from
    if node is not None:
        progress.current_node = node
    if next_node is not None:
        progress.resume_from = None if isinstance(next_node, End) else next_node
    said = progress.current_node, progress.resume_from
    take_visit_back = _count_visit(progress, node) if next_node is not None else None

    def undo() -> None:
        if (progress.current_node, progress.resume_from) == said:
            progress.current_node, progress.resume_from = before
        if take_visit_back is not None:
            take_visit_back()

    try:
        yield undo
    except BaseException:
        undo()
        raise


def _count_visit(progress: SessionProgress, node: str | None) -> Callable[[], None] | None:
    """Count a visit of ``node``; return what takes it back, wherever others were counted since."""
    path, visits = progress.path, progress.node_visit_counts
    if node is None or not isinstance(path, list) or not isinstance(visits, dict):
        return None  # the write that follows refuses such a progress, with the path of the value
    path.append(node)
    progress.steps_executed += 1
    visits[node] = visits.get(node, 0) + 1

    def take_back() -> None:
        if node not in path or visits.get(node, 0) < 1:
            return  # the application has begun to count anew
        del path[len(path) - 1 - path[::-1].index(node)]
        progress.steps_executed -= 1
        visits[node] -= 1
        if not visits[node]:
            del visits[node]

    return take_back
