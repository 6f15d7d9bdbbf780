"""Where checkpoints lie, and how the file of a state becomes one: by a second name, not a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory


@contextmanager
def opened_checkpoints(directory: Directory) -> Iterator[Directory]:
    """Open the checkpoints of a session, whose directory is open; they are made if need be."""
    try:
        checkpoints = Directory("checkpoints", directory)
    except FileNotFoundError:  # made by other software: ours come with the session
        directory.make_directory("checkpoints")
        directory.flush()
        checkpoints = Directory("checkpoints", directory)
    with checkpoints:
        yield checkpoints


def linked(source: Directory, name: str, target: Directory, target_name: str) -> bool:
    """Link, and return True; return False where the file system has no links."""
    try:
        source.link(name, target, target_name)
    except OSError as error:
        if error.errno in replace.NO_LINKS:
            return False
        raise
    return True
