"""Try a place that need not be a store yet."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sessionstore.storage.files.doctor import environment
from sessionstore.storage.report import Diagnosis


def diagnose(root: str | os.PathLike[str]) -> Sequence[Diagnosis]:
    """Try whether a directory is fit for a store, be there one already or not.

    Files are made in it and removed again, and two processes are started, which take a lock in
    turn. The sessions are not touched. A place that refuses to be tried is a diagnosis, too.
    """
    return environment.diagnose(os.path.realpath(os.path.expanduser(os.fspath(root))))
