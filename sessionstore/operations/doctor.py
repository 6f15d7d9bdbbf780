"""Try a place that need not be a store yet."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sessionstore.durable import commit_order, paths
from sessionstore.storage.files.doctor import environment
from sessionstore.storage.report import Diagnosis


def diagnose(root: str | os.PathLike[str]) -> Sequence[Diagnosis]:
    """Test whether a directory is fit for a store, whether or not there is one already.

    The test makes files in it and removes them again, and starts a second process, which takes a
    lock. It does not touch the sessions. A directory that refuses a trial is a diagnosis, too.

    Raises:
        StorageError: the path is empty, or depends on a home directory that is not known.
        ValueError: SESSIONSTORE_FLUSHES has a value that is not known.
    """
    two_flushes = commit_order.wants_two("auto")
    return environment.diagnose(paths.real(root, "diagnose"), two_flushes=two_flushes)
