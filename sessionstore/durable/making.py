"""Make what is not there yet, at once with the mode and the owner that the directory asks for."""

from __future__ import annotations

import os
from contextlib import suppress

from sessionstore.durable import replace
from sessionstore.durable.access import Access
from sessionstore.durable.directory import SAFE_FLAGS, Directory, retry_sharing

_MAKE = os.O_RDWR | os.O_CREAT | SAFE_FLAGS


def open_or_make(path: str) -> int:
    """Open the file ``path`` for reading and writing; make an empty one if there is none.

    Raises:
        OSError: the system refuses, or the directory is not there.
    """
    place, name = os.path.split(path)
    while True:
        # Race: Exception from a signal handler. A ``with`` block would run code after the open,
        # where an exception would lose the descriptor.
        try:
            return os.open(path, os.O_RDWR | SAFE_FLAGS)
        except FileNotFoundError:
            pass
        if Access.inside(os.stat(place)).is_plain:
            return retry_sharing(lambda: os.open(path, _MAKE, 0o600))
        # Race: Two users who make one file. Neither may see it before it has its owner and mode.
        with Directory(place) as directory, suppress(FileExistsError):
            replace.write_new(directory, name, b"", flush_file=False)


def make_directory(path: str) -> None:
    """Make the directory ``path`` unless it is there.

    Raises:
        OSError: the system refuses, or the directory above is not there.
    """
    place, name = os.path.split(path)
    with Directory(place) as directory, suppress(FileExistsError):
        directory.make_directory(name)
