"""The files of checkpoints: a state becomes one by a second name, not by a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory


@contextmanager
def opened_checkpoints(directory: Directory) -> Iterator[Directory]:
    """Open the checkpoints/ of a session; make it if it is missing."""
    try:
        checkpoints = Directory("checkpoints", directory)
    except FileNotFoundError:  # other software made the session
        directory.make_directory("checkpoints")
        directory.flush()
        checkpoints = Directory("checkpoints", directory)
    with checkpoints:
        yield checkpoints


def linked(source: Directory, name: str, target: Directory, target_name: str) -> bool:
    """Link and return True; return False if the file system has no links."""
    try:
        source.link(name, target, target_name)
    except OSError as error:
        if error.errno in replace.NO_LINKS:
            return False
        raise
    return True
