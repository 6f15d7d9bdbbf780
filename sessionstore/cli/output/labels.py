"""The words and colours of statuses, verdicts and sizes in tables."""

from __future__ import annotations

from collections.abc import Mapping

from sessionstore.cli.output.tables import Cell
from sessionstore.model.liveness import Liveness
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary
from sessionstore.text import printable

_STYLES = {
    SessionStatus.ACTIVE: "green",
    SessionStatus.PAUSED: "cyan",
    SessionStatus.COMPLETED: "blue",
    SessionStatus.FAILED: "red",
    SessionStatus.CANCELLED: "bright_black",
}
DAMAGED = Cell("damaged", "bold magenta")
REASON_LIMIT = 400


def status_cell(
    status: SessionStatus | None, liveness: Liveness | None, *, is_interrupted: bool
) -> Cell:
    """Return the status in words; None is the status of a damaged session."""
    if status is None:
        return DAMAGED
    if status is SessionStatus.ACTIVE and liveness is not None:
        if liveness.is_dead:
            return Cell("active, stale", "bold red", short="stale")
        if liveness.is_unknown:
            return Cell("active, unknown", "yellow", short="unknown")
    if is_interrupted:
        return Cell(f"{status}, interrupted", "yellow", short="interrupted")
    return Cell(str(status), _STYLES[status])


def liveness_words(liveness: Liveness) -> str:
    """Return the verdict with its reason."""
    return printable(str(liveness), limit=REASON_LIMIT)


def liveness_style(liveness: Liveness) -> str:
    """Return the colour of a verdict."""
    return "bold red" if liveness.is_dead else "green" if liveness.is_alive else "yellow"


def where(current_node: str | None, paused_at: str | None = None) -> str:
    """Return the node at which a session stands."""
    return printable(current_node or paused_at or "-", limit=60)


def yes_or_no(value: bool) -> Cell:
    """Return yes or no."""
    return Cell("yes", "green") if value else Cell("no")


def resumable(item: SessionSummary) -> Cell:
    """Return yes, no, or ``again``: an ended session is resumed only with ``again=True``."""
    if item.is_resumable and item.is_finished:
        return Cell("again", "bright_black")
    return yes_or_no(item.is_resumable)


def journals_words(numbers: Mapping[str, int]) -> str:
    """Return how far each journal had come: ``main 12, messages 4``."""
    return printable(", ".join(f"{name} {last:,}" for name, last in sorted(numbers.items())))


def size_words(count: int) -> str:
    """Return a number of bytes as ``4.2 KiB``."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024 or unit == "GiB":
            break
    return f"{size:.1f} {unit}"
