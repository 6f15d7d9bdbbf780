"""Load with a store what its methods need later, so that none of them has to import anything.

An import needs descriptors, which may have run out, and files, which an upgrade of the package may
have replaced since. A program pays a tenth of a second for it once. The command line, which does
one thing and ends, makes no store of this kind to list sessions.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from sessionstore.errors import StorageError

_MODULES = (
    "ctypes",
    "difflib",
    "fcntl",
    "filelock",
    "hashlib",
    "resource",
    "select",
    "shutil",
    "urllib.parse",
    "sessionstore.operations.cancel",
    "sessionstore.operations.check.session",
    "sessionstore.operations.check.store",
    "sessionstore.operations.diff",
    "sessionstore.operations.doctor",
    "sessionstore.operations.explain",
    "sessionstore.operations.follow",
    "sessionstore.operations.fork",
    "sessionstore.operations.history",
    "sessionstore.operations.mark",
    "sessionstore.operations.prune",
    "sessionstore.operations.recovery",
    "sessionstore.operations.retention",
    "sessionstore.operations.retry",
    "sessionstore.operations.start_up",
    "sessionstore.operations.stats",
    "sessionstore.operations.transfer.export",
    "sessionstore.operations.transfer.import_",
    "sessionstore.operations.watch",
    "sessionstore.session.edit",
    "sessionstore.session.journal",
    "sessionstore.session.opener",
    "sessionstore.session.session",
    "sessionstore.session.unsettled",
    "sessionstore.storage.files.application_files",
    "sessionstore.storage.files.cancel_request",
    "sessionstore.storage.files.changes",
    "sessionstore.storage.files.claim",
    "sessionstore.storage.files.create",
    "sessionstore.storage.files.doctor.environment",
    "sessionstore.storage.files.importer",
    "sessionstore.storage.files.index.index",
    "sessionstore.storage.files.index.lookup",
    "sessionstore.storage.files.index.rebuild",
    "sessionstore.storage.files.leftovers",
    "sessionstore.storage.files.lock",
    "sessionstore.storage.files.repair.claimed_session",
    "sessionstore.storage.files.repair.session",
    "sessionstore.storage.files.repair.store",
    "sessionstore.storage.files.trash",
    "sessionstore.storage.files.usage",
)


def load_all() -> None:
    """Import all that a method of a store may need; what this system lacks is left out.

    Raises:
        StorageError: the system refused, as when no descriptor is left.
    """
    for name in _MODULES:
        with suppress(ImportError):  # also a library that does not load
            try:
                import_module(name)
            except OSError as error:
                raise StorageError("load", name, error) from error
