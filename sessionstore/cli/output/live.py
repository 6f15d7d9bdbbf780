"""Keep a listing current: redrawn in place on a terminal, written again into a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from sessionstore.cli import streams

if TYPE_CHECKING:
    from rich.console import Group

    from sessionstore.cli.output.session_table import Listing

_OTHER_LINES = 6
"""The lines of a terminal that show no session: headings, remarks and the line of the prompt."""


def keep_live(listing: Listing, form: str, every: float) -> None:
    """Show the listing now and every so many seconds, until Ctrl-C.

    The last listing stays on the terminal.
    """
    if form == "table" and sys.stdout.isatty():
        _redraw(listing, every)
        return
    while True:
        listing.write(form)
        if form == "table":
            streams.write("\n")
        sys.stdout.flush()  # a reader in a pipe waits for this listing
        time.sleep(every)


def _redraw(listing: Listing, every: float) -> None:
    from rich.live import Live

    from sessionstore.cli.output.tables import live_console

    console = live_console(colored=listing.settings.colored)
    asked = listing.limit
    with Live(
        console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            # What does not fit into the terminal cannot be redrawn in place.
            fitting = max(console.height - _OTHER_LINES, 1)
            listing.limit = fitting if asked is None else min(asked, fitting)
            live.update(_picture(listing, every), refresh=True)
            time.sleep(every)


def _picture(listing: Listing, every: float) -> Group:
    from rich.console import Group
    from rich.text import Text

    from sessionstore.cli.output.tables import live_table
    from sessionstore.text import printable

    page = listing.page()
    remarks = [*listing.remarks(page), f"every {every:g} s, until Ctrl-C"]
    caption = Text("\n".join(printable(text, limit=4000) for text in remarks), style="dim")
    if not page.items:
        return Group(caption)
    return Group(live_table(*listing.table(page)), caption)
