"""``sessionstore tail``: the saves of one session, one a line, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options import units
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit, flushed
from sessionstore.errors import SessionCorrupt, SessionNotFound, SessionStoreError
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.model.summary import SessionSummary
    from sessionstore.operations.history import HistoryEntry
    from sessionstore.operations.step_counts import StepCounts
    from sessionstore.storage.backend import Backend
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.save/1"


@dataclass(frozen=True, slots=True)
class Line:
    """One save."""

    summary: SessionSummary
    checkpoint_id: str | None = None
    """The checkpoint that kept it; None for the current state."""
    unseen: int = 0
    """How many saves since the line before came too fast to be seen."""
    journals: dict[str, int] = field(default_factory=dict)
    """The number of the last record that was in each journal for sure, by name."""
    kept_steps: int | None = None
    """How many results of steps were kept by then; None if unknown."""


@click.command(
    epilog="""\b
Examples:
  sessionstore tail session_20260125_17
  sessionstore tail session_20260125_17 -n 3 -f
  sessionstore tail session_20260125_17 -n 0 -f
  sessionstore tail session_20260125_17 -f -o jsonl | jq .session.revision"""
)
@session_argument
@click.option("-f", "--follow", is_flag=True, help="Follow later saves, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Number of kept saves to show, the current state included; 0: only what comes with -f.",
)
@output_option("the session id for each save")
@shared_options()
@click.pass_obj
def tail(settings: Settings, form: str, session_id: str, follow: bool, count: int) -> int:
    """Show the last kept saves of a session: its checkpoints and its current state.

    With -f, also show each later save until the session is deleted. Of several quick saves only the
    last is shown, with the number of those before it. A line tells the number of the last record of
    each journal, and how many steps were kept by then; the commands journal and steps show them. -o
    json writes an object a line, as jsonl does. ID is a session id, or a unique prefix or suffix of
    one; - reads it from stdin.

    Exits with 5 if the state is damaged.
    """
    last: SessionSummary | None = None
    steps: StepCounts | None = None  # they go on from the last save: no step is read twice

    def follow_saves() -> Iterator[Line]:
        nonlocal last, steps
        # To follow, the current state is looked at even if it is not shown.
        for line in _last(store, chosen, max(count, int(follow))):
            last = line.summary
            if count:
                yield line
        if follow:
            _say_if_finished(last)
        for change in changes:
            if change.kind == "deleted":
                streams.notice(f"{chosen} was deleted")
                return
            new = change.summary
            if last is not None and _is_shown(last, new):
                continue
            if steps is None or last is None or last.incarnation != new.incarnation:
                steps = StepCounts(backend, chosen)
            unseen, last = _unseen(last, new), new
            yield _told(new, _present(backend, steps), unseen)
            _say_if_finished(new)

    from sessionstore.operations.step_counts import StepCounts
    from sessionstore.store.store import SessionStore

    backend = settings.open_backend()
    with SessionStore(backend, clock=settings.clock) as store:
        chosen = resolve_one(store, session_id, settings.root)
        # The watch begins before the state is read, so that no save falls in between.
        changes = store.watch([chosen]) if follow else iter(())
        lines = flushed(follow_saves())
        report = Report(
            schema=SCHEMA,
            lines=(_item(line) for line in lines),
            fields=None,
            ids=(line.summary.session_id for line in lines),
            table=lambda: _write(lines, settings),
        )
        emit(report, form)
    return Exit.DAMAGE if last is not None and last.damaged is not None else Exit.OK


def _say_if_finished(item: SessionSummary | None) -> None:
    if item is not None and item.is_finished:
        streams.notice(
            f"{item.session_id} is {item.status}: only a resume with again=True saves to it again"
        )


def _is_shown(last: SessionSummary, new: SessionSummary) -> bool:
    """Return whether this state, or a later one, was shown already."""
    if last.damaged is not None or new.damaged is not None:
        return last.damaged == new.damaged
    return last.incarnation == new.incarnation and new.revision <= last.revision


def _unseen(last: SessionSummary | None, new: SessionSummary) -> int:
    if last is None or last.damaged or new.damaged or last.incarnation != new.incarnation:
        return 0
    return max(new.revision - last.revision - 1, 0)


def _last(store: SessionStore[Any], session_id: str, count: int) -> Iterator[Line]:
    """Yield the last kept states, oldest first, and the current one at the end."""
    from sessionstore.model.summary import SessionSummary, summarize

    if count == 0:
        return
    try:
        current = summarize(store.load(session_id))
    except SessionCorrupt as error:
        yield Line(SessionSummary(session_id, damaged=error.reason))
        return
    kept = []
    for checkpoint in store.checkpoints(session_id):
        if checkpoint.damaged is not None:
            streams.warning(
                f"{printable(checkpoint.checkpoint_id)} is damaged: {checkpoint.damaged}"
            )
        elif checkpoint.revision is not None and checkpoint.revision < current.revision:
            kept.append(checkpoint)
    *entries, now = store.history(session_id)
    known = {entry.checkpoint_id: entry for entry in entries}
    for checkpoint in kept[len(kept) - min(len(kept), count - 1) :]:
        try:
            state = store.load_checkpoint(session_id, checkpoint.checkpoint_id)
        except (SessionCorrupt, SessionNotFound):  # keep_checkpoints has removed it since
            continue
        yield _told(summarize(state), known.get(checkpoint.checkpoint_id))
    yield _told(current, now)


def _present(backend: Backend, steps: StepCounts) -> HistoryEntry | None:
    from sessionstore.operations.history import history

    try:
        return history(backend, steps.session_id, 0, steps).moments[-1]
    except SessionStoreError:  # it was deleted: the next change tells
        return None


def _told(summary: SessionSummary, entry: HistoryEntry | None, unseen: int = 0) -> Line:
    """Return the line of a save, with what the history tells of it."""
    if entry is None:
        return Line(summary, unseen=unseen)
    return Line(summary, entry.checkpoint_id, unseen, entry.journals, entry.kept_steps)


def _item(line: Line) -> json.Item:
    return {
        "checkpoint_id": line.checkpoint_id,
        "unseen": line.unseen,
        "journals": line.journals,
        "kept_steps": line.kept_steps,
        "session": json.summary_item(line.summary),
    }


def _write(lines: Iterable[Line], settings: Settings) -> None:
    for line in lines:
        _write_line(line, settings)


def _write_line(line: Line, settings: Settings) -> None:
    from sessionstore.cli.output import labels
    from sessionstore.cli.output.tables import Cell, write_row

    item = line.summary
    status = labels.status_cell(item.status, None, is_interrupted=item.is_interrupted)
    if item.damaged is not None:
        row: list[Any] = [status, printable(item.damaged, limit=labels.REASON_LIMIT)]
    else:
        row = [
            Cell(f"r{item.revision}".ljust(6), "bold"),
            units.absolute_time(item.updated_at, settings.now()).split(" (")[0],
            labels.where(item.current_node, item.paused_at),
            f"{item.steps_executed:,} steps",
            status,
            "kept" if line.checkpoint_id else "",
            labels.journals_words(line.journals),
            f"{count_of(line.kept_steps, 'step')} kept" if line.kept_steps else "",
            f"{count_of(line.unseen, 'save')} before it not seen" if line.unseen else "",
        ]
    write_row(row, colored=settings.colored)
