"""Page through a listing on a terminal: a screen of sessions, then a question."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING

from sessionstore.cli import streams
from sessionstore.text import count_of

if TYPE_CHECKING:
    from sessionstore.cli.output.session_table import Listing

_OTHER_LINES = 3
"""The lines of a screen that show no session: headings, a notice and the question."""
_SMALLEST_PAGE = 5


def page_through(listing: Listing) -> None:
    """Show a page of the listing, ask, show the next one, until the last or until a person stops.

    Without a limit of its own, a page is as long as the terminal is high.
    """
    if listing.limit is None:
        listing.limit = max(get_terminal_size().lines - _OTHER_LINES, _SMALLEST_PAGE)
    total = None if listing.cursor is not None else listing.total()
    shown = 0
    while True:
        page = listing.page()
        listing.write_rows(page)
        shown += len(page)
        if page.next_cursor is None:
            streams.notice(count_of(shown, "session") if shown else "no session matches")
            return
        more = "more" if total is None else f"{total - shown:,} more"
        if not streams.goes_on(f"{more}: Enter shows the next {listing.limit:,}, q stops"):
            return
        listing.cursor = page.next_cursor
