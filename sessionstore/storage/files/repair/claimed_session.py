"""Put a claimed session, its state or a checkpoint of it into quarantine."""

from __future__ import annotations

from functools import partial

from sessionstore.clock import Clock
from sessionstore.durable.directory import Directory
from sessionstore.storage.claim import Claim
from sessionstore.storage.files.claim import FilesClaim
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.files.quarantine import quarantine, quarantine_entry


def restore(
    layout: Layout, claim: Claim, payload: bytes, revision: int, reason: str, now: Clock
) -> str:
    """Replace a damaged or missing state, which goes into quarantine first; return where."""
    assert isinstance(claim, FilesClaim)
    file = layout.state(claim.session_id)
    entry = quarantine_entry(layout, claim.session_id, file, reason, now)
    return claim.replace_damaged(payload, revision, entry)


def put_checkpoint(
    layout: Layout, claim: Claim, checkpoint_id: str | None, reason: str, now: Clock
) -> str:
    """Move a checkpoint, or what is in the place of all of them, into quarantine."""
    assert isinstance(claim, FilesClaim)
    move = partial(quarantine, layout, session_id=claim.session_id, reason=reason, now=now)
    with claim.opened("repair") as directory:
        if checkpoint_id is None:
            return move(directory, "checkpoints", called="checkpoints")
        with Directory("checkpoints", directory) as checkpoints:
            return move(checkpoints, f"{checkpoint_id}.json", called="checkpoint.json")


def put_session(layout: Layout, claim: Claim, reason: str, now: Clock) -> str:
    """Move a whole session into quarantine and end the claim."""
    assert isinstance(claim, FilesClaim)
    file = layout.session(claim.session_id)
    with (
        claim.opened("repair"),
        quarantine_entry(layout, claim.session_id, file, reason, now) as entry,
    ):
        claim.move_away("repair", entry, "session")
        return entry.path
