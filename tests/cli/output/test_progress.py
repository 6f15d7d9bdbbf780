"""The progress bar: what is said meanwhile stands in lines of its own."""

from __future__ import annotations

import io
import re
import sys

import pytest

from sessionstore.cli import streams
from sessionstore.cli.output.progress import ProgressBar


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_what_is_said_beside_a_bar_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar("never") as bar:
        bar(50, 100)
        streams.error("s1: [red]the file is empty[/red]")
        bar(51, 100)
    streams.error("done")
    told = screen.getvalue()
    # Before it, the line of the bar is erased, and nothing else is written there.
    assert re.search(
        r"\x1b\[2K(?:\x1b\[\S)?sessionstore: s1: \[red\]the file is empty\[/red\]\n", told
    )
    assert told.endswith("sessionstore: done\n")
