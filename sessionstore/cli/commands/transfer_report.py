"""What export and import say alike of the sessions that they carried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessionstore.cli.output import streams
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.operations.transfer.report import TransferredSession

_SHOWN = 5


def say_damage(item: TransferredSession) -> None:
    """Say on stderr what of a session was carried though it is damaged."""
    for damage in item.damage[:_SHOWN]:
        text = printable(damage, limit=600)
        streams.warn(f"{printable(item.session_id)}: carried as it is, damaged: {text}")
    if len(item.damage) > _SHOWN:
        more = len(item.damage) - _SHOWN
        streams.warn(f"{printable(item.session_id)}: and {more:,} more that are damaged")
