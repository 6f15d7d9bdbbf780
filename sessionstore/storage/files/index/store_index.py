"""The index of one store: opened when something is listed, so that others never load sqlite3."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sessionstore.storage.files.index import index_directory
from sessionstore.storage.files.layout import Layout, refuse_link

# Loaded when first used: the index loads sqlite3.
if TYPE_CHECKING:
    from sessionstore.storage.files.index.index import Index
    from sessionstore.storage.files.index.lookup import Listing, Scan


class StoreIndex:
    """What a store lists from. ``scan`` finds sessions by reading each of them."""

    def __init__(self, layout: Layout, scan: Scan) -> None:
        self._layout = layout
        self._scan = scan
        self.index: Index | None = None
        """The index as this process has it open; None before it is needed."""
        self._listing: Listing | None = None

    def listing(self) -> Listing | None:
        """Return what lists from the index; None where Python was built without SQLite."""
        refuse_link(self._layout.sessions)
        refuse_link(self._layout.locks)
        if self._listing is None:
            try:
                from sessionstore.storage.files.index.lookup import Listing
            except ImportError as error:  # also a library that does not load
                if str(error.name).startswith("sessionstore"):
                    raise
                return None
            self._listing = Listing(self._layout, self._opened(), self._scan)
        return self._listing

    def fold_released(self, session_id: str, token: str) -> None:
        """Have the index know what became of a session; who never lists needs no sqlite3 for it."""
        with suppress(OSError):  # whoever lists folds it
            if (
                self.index is not None or index_directory.paths(self._layout)
            ) and self.listing() is not None:
                self._opened().released(session_id, token)

    def verify(self) -> None:
        """Compare the index with the sessions, if the store has one.

        Raises:
            OSError: the root cannot be listed.
        """
        if index_directory.paths(self._layout) and (listing := self.listing()) is not None:
            listing.verify()

    def close(self) -> None:
        """Close the database, if it was opened."""
        if self.index is not None:
            self.index.close()

    def _opened(self) -> Index:
        if self.index is None:
            from sessionstore.storage.files.index.index import Index

            self.index = Index(self._layout)
        return self.index
