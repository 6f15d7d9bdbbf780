"""Try a place that need not be a store yet."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sessionstore.storage.files.doctor import environment
from sessionstore.storage.report import Diagnosis


def diagnose(root: str | os.PathLike[str]) -> Sequence[Diagnosis]:
    """Test whether a directory is fit for a store, whether or not there is one already.

    The test makes files in it and removes them again, and starts a second process, which takes a
    lock. It does not touch the sessions. A directory that refuses a trial is a diagnosis, too.
    """
    return environment.diagnose(os.path.realpath(os.path.expanduser(os.fspath(root))))
