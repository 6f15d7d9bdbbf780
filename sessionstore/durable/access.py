"""Who may use what is made in a directory: its owner alone, or its group, too.

Every file and directory of a store gets its mode and its owner here:

- A directory that was made for a group (setgid, and its group may write: 2770) is shared. What is
  made in it is shared, too, whatever the umask is. Everything else is private.
- What root makes belongs to the owner of the directory that it is made in. Otherwise the owner
  could not read it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from sessionstore.durable import mounts
from sessionstore.model.ids import random_hex

_SHARED = stat.S_ISGID | stat.S_IWGRP
_WITHOUT_MODES = (
    "9p",
    "cifs",
    "drvfs",
    "exfat",
    "fuseblk",
    "msdos",
    "ntfs",
    "ntfs3",
    "smb3",
    "vfat",
)


class Access(NamedTuple):
    """The mode and the owner of what is made in a directory."""

    is_shared: bool = False
    """Whether its group may read and write it, too."""
    heir: tuple[int, int] | None = None
    """The user and the group to whom root gives it; None where the maker keeps it."""

    @classmethod
    def inside(cls, status: os.stat_result) -> Access:
        """Return the access to what this process makes in the directory with this status."""
        if os.name != "posix":
            return PRIVATE
        heir = None
        if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (0, os.getegid()):
            heir = (status.st_uid, status.st_gid)
        return cls(is_shared(status.st_mode), heir)

    @property
    def is_plain(self) -> bool:
        """Whether the modes 0700 and 0600 and the maker as owner are all that is needed."""
        return not self.is_shared and self.heir is None

    def wrong_mode(self, status: os.stat_result) -> int | None:
        """Return the mode that a file or directory should have; None if it has it."""
        if os.name != "posix":
            return None
        if stat.S_ISDIR(status.st_mode):
            right, looked_at = (0o2770, 0o2777) if self.is_shared else (0o700, 0o777)
        elif stat.S_ISREG(status.st_mode):
            right, looked_at = 0o660 if self.is_shared else 0o600, 0o777
        else:
            return None
        return None if status.st_mode & looked_at == right else right

    def apply(self, fd: int) -> None:
        """Give an open file or directory its owner and its mode.

        Raises:
            OSError: the system refuses. Only root changes owners, and only an owner the mode.
        """
        status = os.fstat(fd)
        if self.heir is not None and (status.st_uid, status.st_gid) != self.heir:
            try:
                os.fchown(fd, *self.heir)
            except OSError as error:
                # A file that its owner cannot read would be damage to him.
                raise OSError(
                    error.errno,
                    f"root cannot give it to uid {self.heir[0]}, who owns the directory"
                    f" ({os.strerror(error.errno or 0)}): run this as that user",
                ) from error
        right = self.wrong_mode(status)
        if right is not None:
            os.fchmod(fd, right)


PRIVATE = Access()
"""The maker alone: exports, and whatever else is in no store."""


def is_shared(mode: int) -> bool:
    """Return whether a directory of this mode was made for a group: setgid and group-writable."""
    return mode & _SHARED == _SHARED


def keeps_modes(path: str) -> bool:
    """Return whether the file system keeps the mode that a directory in ``path`` is made with.

    vfat, 9p, CIFS and others show what their mount says, and chmod changes nothing.
    """
    trial = os.path.join(path, f".new-{random_hex(8)}")
    try:
        os.mkdir(trial, 0o700)
    except OSError:
        return mounts.kind_of(path) not in _WITHOUT_MODES
    try:
        return stat.S_IMODE(os.stat(trial).st_mode) & 0o777 == 0o700
    except OSError:
        return True
    finally:
        with suppress(OSError):
            os.rmdir(trial)
