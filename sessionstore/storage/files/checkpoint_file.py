"""The files of checkpoints: a state becomes one by a second name, not by a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

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


@contextmanager
def kept(
    staged: replace.Staged,
    payload: bytes,
    name: str,
    *,
    copies: bool,
    is_swapped_in: Callable[[], bool],
) -> Iterator[None]:
    """Keep the staged bytes as the checkpoint ``name`` too, unless the block fails to swap them in.

    With ``copies`` it is a file of its own, not a second name.
    """
    directory = staged.directory
    try:
        with opened_checkpoints(directory) as checkpoints:
            try:
                # Durable before, or together with, a state that refers to it.
                if copies or not linked(directory, staged.name, checkpoints, name):
                    replace.write_new(checkpoints, name, payload, flush_file=True)
                    checkpoints.flush()
                else:
                    staged.flush_names(checkpoints)
                yield
            except BaseException:
                if not is_swapped_in():
                    with suppress(OSError):
                        checkpoints.unlink(name)
                raise
    except BaseException:
        staged.discard()
        raise


def linked(source: Directory, name: str, target: Directory, target_name: str) -> bool:
    """Link and return True; return False if the file system has no links."""
    try:
        source.link(name, target, target_name)
    except OSError as error:
        if error.errno in replace.NO_LINKS:
            return False
        raise
    return True
