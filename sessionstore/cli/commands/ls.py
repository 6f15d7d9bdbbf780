"""``sessionstore ls``: list sessions, damaged ones included."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from sessionstore.cli.errors import Exit
from sessionstore.cli.options.fields import FIELDS, complete_fields, read_fields
from sessionstore.cli.options.filters import ALL, filter_options
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.options.units import Duration

if TYPE_CHECKING:
    from sessionstore.model.query import Filters

SORTS = ("updated_at", "started_at", "session_id")  # as query.ORDERS, which is slow to import
_TABLE_LIMIT = 50
_EVERY = 2.0


@click.command(
    "ls",
    epilog="""\b
Examples:
  sessionstore ls --status failed --interrupted --since 2h
  sessionstore ls --stale --fields id,owner,liveness,updated --times iso
  sessionstore ls --idle 10m --fields id,pid,node,updated
  sessionstore ls --label user=42 --fields id,status,label:user
  sessionstore ls --unfinished --more
  sessionstore ls -w 5 --status active
  sessionstore ls --resumable --unfinished -o ids | xargs -n 1 ./resume.sh
  sessionstore ls -o jsonl | jq -r 'select(.is_stale) | .session_id'""",
)
@filter_options(*ALL)
@click.option(
    "--sort",
    type=click.Choice([sign + order for order in SORTS for sign in ("-", "")]),
    default="-updated_at",
    show_default=True,
    metavar="KEY",
    help=f"Order by {', '.join(SORTS)}; a leading - means descending.",
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"List at most N; 0 means all. Default: {_TABLE_LIMIT} in a table, otherwise all.",
)
@click.option("--more", is_flag=True, help="Show a page at a time, on a terminal; Enter goes on.")
@click.option(
    "--cursor",
    metavar="TEXT",
    help="Continue after the page that gave this cursor, as next_cursor of -o json.",
)
@click.option(
    "--fields",
    metavar="LIST",
    callback=read_fields,
    shell_complete=complete_fields,
    help=f"The columns of a table or the keys of JSON: some of {','.join(FIELDS)},label:KEY.",
)
@click.option(
    "--times",
    "times_as",
    type=click.Choice(["relative", "iso"]),
    default="relative",
    show_default=True,
    help="How a table shows times.",
)
@click.option(
    "-w",
    "--watch",
    "every",
    type=Duration(least=0.1),
    is_flag=False,
    flag_value=_EVERY,
    metavar="[TIME]",
    help=f"Repeat at this interval (5, 5s, 1m) until Ctrl-C; {_EVERY:.0f} s without TIME.",
)
@output_option("session ids")
@shared_options()
@click.pass_obj
def ls(
    settings: Settings,
    form: str,
    sort: str,
    limit: int | None,
    more: bool,
    cursor: str | None,
    fields: tuple[str, ...] | None,
    times_as: str,
    every: float | None,
    filters: Filters,
) -> int:
    """List sessions, the most recently updated first; damaged ones with the reason.

    A session with the label title shows it in the place of its goal.

    Filters leave damaged sessions out, because their fields cannot be read, and count them on
    stderr.
    """
    from sessionstore.cli.output.session_table import Listing

    if more:
        _check_terminal(form, every)
    elif limit is None and form == "table":
        limit = _TABLE_LIMIT
    if "damaged" in filters and len(filters) > 1:
        raise click.UsageError(
            "--damaged cannot be combined with other filters: the state of a damaged session"
            " cannot be read"
        )
    with settings.open_operations() as store:
        listing = Listing(
            store,
            settings,
            filters,
            order=sort,
            limit=limit or None,
            cursor=cursor,
            fields=fields,
            iso=times_as == "iso",
            is_live=every is not None,
        )
        if more:
            from sessionstore.cli.output.paging import page_through

            page_through(listing)
        elif every is None:
            listing.write(form)
        else:
            from sessionstore.cli.output.live import keep_live

            keep_live(listing, form, every)
    return Exit.OK


def _check_terminal(form: str, every: float | None) -> None:
    if form != "table" or every is not None:
        raise click.UsageError("--more pages through a table: it goes with neither -o nor --watch")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--more asks on a terminal; into a pipe or a file, -n 0 lists all")
