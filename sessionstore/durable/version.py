"""Tell whether a file is the version that was left there: by its signature, or else by its bytes.

A signature that differs proves nothing. FUSE file systems give a file another inode number once
the kernel has forgotten it, others round its times or tell its size late, and ``touch`` or
``cp -p`` leave the same bytes behind. So a differing signature is a reason to read the file.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.regular_file import read_regular

_NO_SUCH_FILE_OF_OURS = (
    *(errno.EFBIG, errno.EINVAL, errno.EISDIR),
    *(errno.ELOOP, errno.ENOTDIR, errno.ENXIO),
)
"""What reading answers for a file that is longer, a link, a directory, or a special file."""


class Version(NamedTuple):
    """One version of a file: its signature, and what tells its bytes from others.

    The digest is ``hash()`` of the bytes: 64 bits with a secret key of this process (PEP 456). It
    takes 1 µs for 4 KiB, a cryptographic digest takes 5 µs.
    """

    signature: Signature
    length: int
    digest: int | None
    """None if the bytes are not known: then the signature alone decides."""

    @classmethod
    def of(cls, signature: Signature, data: bytes) -> Version:
        """Return the version that has ``signature`` and the bytes ``data``."""
        return cls(signature, len(data), hash(data))

    @classmethod
    def unread(cls, signature: Signature) -> Version:
        """Return the version of a file whose bytes nobody has read."""
        return cls(signature, signature.size, None)

    def has(self, data: bytes) -> bool:
        """Return whether ``data`` are the bytes of this version."""
        return len(data) == self.length and hash(data) == self.digest

    def found_at(self, directory: Directory, name: str) -> Version | None:
        """Return this version, with the signature that the file ``name`` has now.

        Returns None if the file is another version, or something else than a regular file.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: the file has another signature and cannot be read, so that nobody can tell.
        """
        if Signature.of(directory.status(name)) == self.signature:
            return self
        if self.digest is None:
            return None
        try:
            data, signature = read_regular(directory, name, self.length)
        except OSError as error:
            if error.errno in _NO_SUCH_FILE_OF_OURS:
                return None
            raise
        return self._replace(signature=signature) if self.has(data) else None
