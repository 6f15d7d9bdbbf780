"""Check a store that may be too damaged to be opened."""

from __future__ import annotations

import os
from dataclasses import replace

from sessionstore import clock
from sessionstore.durable import paths
from sessionstore.operations.check import session
from sessionstore.storage.files import FilesBackend
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.files.repair.marker import check_marker
from sessionstore.storage.report import CheckReport, Progress


def check_store(
    root: str | os.PathLike[str],
    *,
    repair: bool = False,
    progress: Progress | None = None,
    clock: clock.Clock = clock.utc_now,
) -> CheckReport:
    """Check a store in a directory, which must be there, as :meth:`SessionStore.check` does.

    It also looks at the marker of the store (``sessionstore.json``): while that is damaged, no
    store opens. A repair puts it into quarantine and writes a new one, if the layout is certainly
    ours; else the finding says what to do, and is the only one.

    Args:
        root: the directory of the store.
        repair: also mend. A second repair finds nothing more to change.
        progress: called with the number of checked sessions, and of all.
        clock: returns the current time, aware.

    Raises:
        StorageError: there is no store, it is one of a newer format, or it cannot be listed.
    """
    layout = Layout(paths.real(root, "check"))
    finding = check_marker(layout, repair=repair, now=clock)
    if finding is not None and not finding.is_repaired:
        return CheckReport((finding,), 0, repair)
    backend = FilesBackend(layout.root, create=False, clock=clock)
    report = session.check(backend, repair=repair, progress=progress)
    return report if finding is None else replace(report, findings=(finding, *report.findings))
