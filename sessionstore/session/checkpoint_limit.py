"""Keep the newest checkpoints of a claimed session, and remove the older ones."""

from __future__ import annotations

from sessionstore.errors import CheckpointNotFound, SessionStoreError
from sessionstore.log import about, logger
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.storage.claim import Claim


class CheckpointLimit:
    """How many checkpoints one holder of a session keeps: the newest ``limit``, or all."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._kept: list[str] | None = None  # oldest first; None: not looked yet

    def enforce(self, claim: Claim, newest: str) -> None:
        """Remove the checkpoints that are too old, now that ``newest`` was kept.

        The checkpoints of other software stay.
        """
        if self._limit is None:
            return
        try:
            if self._kept is None:
                named = ((parse_checkpoint_id(name), name) for name in claim.checkpoint_ids())
                older = sorted(
                    (known.revision, name) for known, name in named if known and name != newest
                )
                self._kept = [name for _, name in older]
            # Last by its age, not by its revision: a power cut in process mode may have left
            # checkpoints of revisions that the state does not have any more.
            self._kept.append(newest)
            while len(self._kept) > self._limit:
                claim.remove_checkpoint(self._kept[0])
                del self._kept[0]
        except SessionStoreError as error:
            # The checkpoint itself is safe: too many old ones are no reason to fail it.
            logger.warning(
                "%s: old checkpoints were not removed: %s",
                claim.session_id,
                error,
                extra=about("checkpoints_kept", session_id=claim.session_id, reason=error),
            )
            self._kept = None


def remove_quietly(claim: Claim, checkpoint_id: str) -> None:
    """Remove a checkpoint that nobody needs; a failure is logged, and leaves one too many."""
    try:
        claim.remove_checkpoint(checkpoint_id)
    except SessionStoreError as error:
        logger.warning(
            "%s: checkpoint %s was not removed: %s",
            claim.session_id,
            checkpoint_id,
            error,
            extra=about("checkpoints_kept", session_id=claim.session_id, reason=error),
        )


def remove_older(claim: Claim, checkpoint_id: str, *, latest: str | None) -> None:
    """Remove one checkpoint by its id, but not the ``latest``, which a resume restores.

    Raises what :meth:`sessionstore.Session.remove_checkpoint` raises.
    """
    if checkpoint_id == latest:
        raise ValueError(
            f"{checkpoint_id} is the latest checkpoint, which a resume restores:"
            " keep another one first"
        )
    known = claim.checkpoint_ids()
    if checkpoint_id not in known:
        raise CheckpointNotFound(claim.session_id, checkpoint_id, available=known)
    claim.remove_checkpoint(checkpoint_id)
