"""Which steps of a session wait for somebody: its process died within them, and nobody knows more.

Only what may hold open steps is read: where the stored state counts none, what was appended since.
"""

from __future__ import annotations

from sessionstore.errors import SessionStoreError
from sessionstore.model import journal_view, step
from sessionstore.model.journal import STEPS, Position
from sessionstore.model.state import SessionState
from sessionstore.model.step import StepStatus
from sessionstore.session.journal_reader import JournalReader
from sessionstore.storage.backend import Backend


def find_unsettled(backend: Backend, state: SessionState) -> tuple[str, ...]:
    """Return the names of the open steps of a stored session that somebody has to settle.

    There are none as far as anybody knows where the journal is damaged.
    """
    told = journal_view.pending_rewinds(state, STEPS)
    saved = Position(*state.journals.get(STEPS, ()))
    # The steps up to this number are closed.
    seen = saved if saved.number <= state.steps_from and not told else Position()
    reader = JournalReader(backend, state.session_id, STEPS, lambda: told, seen)
    try:
        known = step.fold(reader.records(state.steps_from))
    except SessionStoreError:
        return ()
    return tuple(
        name
        for (number, name), one in known.items()
        if number == state.steps_from and one.status is StepStatus.UNSETTLED
    )
