"""Keep the newest checkpoints of a claimed session, and remove the older ones."""

from __future__ import annotations

from itertools import islice

from sessionstore.errors import CheckpointNotFound, SessionStoreError
from sessionstore.log import about, logger
from sessionstore.model.checkpoint import STORE_OWN
from sessionstore.model.ids import checkpoint_ids_in_order, parse_checkpoint_id
from sessionstore.session.prepared_write import PreparedWrite
from sessionstore.storage.claim import Claim

AT_ONCE = 8
"""How many checkpoints one write removes at most. A session may have thousands when the limit is
switched on, and a file system takes up to 3 ms for each: they go over the next writes."""


class CheckpointLimit:
    """How many checkpoints one holder of a session keeps: the newest ``limit``, or all.

    The application's checkpoints count by themselves, and so do those that the store keeps by
    itself. Neither takes the place of the other.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._kept: dict[bool, list[str]] | None = None
        """By whether the store keeps them by itself, oldest first; None: not looked yet."""

    def follow(self, claim: Claim, stored: PreparedWrite) -> None:
        """Remove the checkpoints that a write which was stored replaces or makes too old."""
        if stored.replaces is not None:
            remove_quietly(claim, stored.replaces)
            self.forget()
        if stored.keeps:
            assert stored.latest is not None
            self.enforce(claim, stored.latest)

    def enforce(self, claim: Claim, newest: str, *, latest: str | None = None) -> None:
        """Remove some of the checkpoints that are too old, now that ``newest`` was kept.

        The oldest go first, at most :data:`AT_ONCE`. ``newest`` stays, and so does ``latest``,
        which a resume restores if it is another one. The checkpoints of other software stay.
        """
        if self._limit is None:
            return
        try:
            if self._kept is None:
                self._kept = {True: [], False: []}
                for name in checkpoint_ids_in_order(claim.checkpoint_ids()):
                    if name != newest and parse_checkpoint_id(name):
                        self._kept[_is_own(name)].append(name)
            # Last by its age, not by its revision: a power cut in process mode may have left
            # checkpoints of revisions that the state does not have any more.
            self._kept[_is_own(newest)].append(newest)
            left = AT_ONCE
            for kept in self._kept.values():
                over = min(left, max(0, len(kept) - self._limit))
                old = (name for name in kept if name not in (newest, latest))
                for name in list(islice(old, over)):
                    claim.remove_checkpoint(name)
                    kept.remove(name)
                    left -= 1
        except SessionStoreError as error:
            # The checkpoint itself is safe: too many old ones are no reason to fail it.
            logger.warning(
                "%s: old checkpoints were not removed: %s",
                claim.session_id,
                error,
                extra=about("checkpoints_kept", session_id=claim.session_id, reason=error),
            )
            self.forget()

    def forget(self) -> None:
        """Look at the checkpoints again before the next removal: somebody else removed one."""
        self._kept = None


def _is_own(checkpoint_id: str) -> bool:
    known = parse_checkpoint_id(checkpoint_id)
    return known is not None and known.checkpoint_type in STORE_OWN


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
