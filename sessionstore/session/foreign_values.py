"""Keep, and report, what JSON or UTF-8 lacks in the files of other software before it is replaced.

A read replaces such values (:mod:`sessionstore.model.mending`). What they were must not be lost
with the next write, and nobody has to look for it.
"""

from __future__ import annotations

from sessionstore.log import about, logger
from sessionstore.model import mending
from sessionstore.model.stored import Stored
from sessionstore.storage.claim import Claim


def keep_original(claim: Claim) -> str:
    """Keep the stored state as it is, if the next write replaces values in it; return where.

    Raises:
        ClaimLost: nothing was kept.
        StorageError: nothing was kept.
    """
    if not claim.foreign_values:
        return ""
    values = mending.say(claim.foreign_values)
    place = claim.keep_original(f"other software wrote what JSON or UTF-8 lacks: {values}")
    claim.foreign_values = ()
    _warn(claim.session_id, values, f"the original is kept in {place or 'no file'}")
    return place


def report_checkpoint(session_id: str, stored: Stored) -> None:
    """Log which values a resume replaces in the state that it takes from a checkpoint."""
    if values := mending.find(stored.payload):
        _warn(session_id, mending.say(values), f"{stored.file} stays as it is")


def _warn(session_id: str, values: str, kept: str) -> None:
    logger.warning(
        "%s: other software wrote values that JSON or UTF-8 lacks, which this write replaces:"
        " %s; %s",
        session_id,
        values,
        kept,
        extra=about("foreign_values", session_id=session_id, reason=values),
    )
