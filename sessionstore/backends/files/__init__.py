"""Sessions as directories of files: the default backend."""

from sessionstore.backends.files.backend import FilesBackend

__all__ = ["FilesBackend"]
