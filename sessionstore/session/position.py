"""Where a session goes on: count the node that is finished, and name the next one."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from sessionstore.model.state import SessionState
from sessionstore.session.stamp import progress_of


class End(Enum):
    """The type of :data:`END`."""

    END = "end"


END: Final = End.END
"""Pass it as ``next_node=`` where no node follows."""


def move_on(
    state: SessionState, node: str | None, next_node: str | End | None
) -> Callable[[], None]:
    """Set the node at work; with ``next_node`` count it as finished, and go on there.

    Returns what takes this back. It leaves alone what the application has changed since.

    Raises:
        TypeError: ``next_node`` is given without ``node``.
        NotStorable: the application replaced the progress by something else.
    """
    if next_node is not None and node is None:
        raise TypeError("next_node= says where to go on after node=, which is missing")
    progress = progress_of(state)
    current, resume_from = progress.current_node, progress.resume_from
    if node is not None:
        progress.current_node = node
    if next_node is None or node is None:

        def undo() -> None:
            progress.current_node = current

        return undo
    visits = progress.node_visit_counts
    progress.resume_from = None if isinstance(next_node, End) else next_node
    progress.path.append(node)
    progress.steps_executed += 1
    visits[node] = visits.get(node, 0) + 1

    def undo_visit() -> None:
        progress.current_node, progress.resume_from = current, resume_from
        if progress.path and progress.path[-1] == node:
            del progress.path[-1]
        progress.steps_executed -= 1
        visits[node] -= 1
        if not visits[node]:
            del visits[node]

    return undo_visit
