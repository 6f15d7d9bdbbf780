"""Repair one finding, and say what was done or why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sessionstore.errors import SessionStoreError
from sessionstore.storage.report import Finding


def mended(finding: Finding, mend: Callable[[], str]) -> Finding:
    """Return the finding with what ``mend`` did, or with why it failed."""
    try:
        return replace(finding, repair=mend(), is_repaired=True)
    except (OSError, SessionStoreError) as error:
        return replace(finding, repair=f"not repaired: {error}")
