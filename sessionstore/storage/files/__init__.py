"""Sessions as directories of files: the default backend."""

from sessionstore.storage.files.backend import FilesBackend

__all__ = ["FilesBackend"]
