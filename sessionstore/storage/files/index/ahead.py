"""Have the disk at several sessions at once, where nothing of them is in memory yet.

The directory and the state of a session are read from the disk one after the other, which takes a
hundred times as long as all the rest. A disk can do many such things at once, if several threads
ask for them. They are there only while a batch is worked on, and what they read only the system
keeps.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

_Thing = TypeVar("_Thing")

_READERS = 16
"""From a disk that others used as well, 4 of them read twice as many sessions in a second as one,
8 three times, 16 four to five times as many."""
_COLD = 0.25
"""Blocks that are read from the disk for each thing: above that it is worth while."""


def in_batches(
    things: Sequence[_Thing], size: int, read: Callable[[_Thing], object]
) -> Generator[Sequence[_Thing], None, None]:
    """Yield the things by batches; while one is worked on, have the next one read, if that helps.

    Whether it does is seen from what the system reads from the disk for the first one. To be closed
    by who does not come to the end of it.
    """
    is_cold = False
    for start in range(0, len(things), size):
        batch, following = things[start : start + size], things[start + size : start + 2 * size]
        before = _blocks_read()
        with _reading(following if is_cold else (), read):
            yield batch
        if start == 0:
            is_cold = _blocks_read() - before > _COLD * len(batch)


def _blocks_read() -> float:
    """Return how many blocks of 4 KiB were read from a disk for this thread; 0 if nobody counts.

    The time tells less: a machine with much to do takes it, too.
    """
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock / 8
    except (ImportError, AttributeError):  # Linux alone counts by thread
        return 0


@contextmanager
def _reading(things: Sequence[_Thing], read: Callable[[_Thing], object]) -> Iterator[None]:
    waiting = deque(things)
    readers = [
        threading.Thread(target=_read_all, args=(waiting, read), daemon=True)
        for _ in range(min(_READERS, len(things)))
    ]
    try:
        for reader in readers:
            reader.start()
        yield
    except BaseException:
        waiting.clear()
        raise
    finally:
        for reader in readers:
            if reader.ident is not None:  # it was started
                reader.join()


def _read_all(waiting: deque[_Thing], read: Callable[[_Thing], object]) -> None:
    with suppress(IndexError):  # another took the last one
        while waiting:
            thing = waiting.popleft()
            with suppress(OSError):  # whoever needs it finds out
                read(thing)
