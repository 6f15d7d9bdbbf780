"""The system calls of Linux that Python lacks: renameat2, sync_file_range and statx.

A call that the C library lacks fails with ENOSYS, as one that the kernel lacks.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

NO_SUCH_CALL = frozenset(
    getattr(errno, name)
    for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EPERM", "ENOTTY")
    if hasattr(errno, name)
)
"""What file systems answer to a call that they lack, and sandboxes (seccomp) to one that they
forbid. What stands in for the call is then tried: if permission is lacking, that fails, too."""

# linux/fs.h
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
WRITE_AND_WAIT = 1 | 2 | 4  # SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER

# linux/stat.h and linux/fcntl.h
_AT_EMPTY_PATH = 0x1000
_MOUNT_ID_UNIQUE = 0x4000
_STATX_BYTES = 256
_MASK = slice(0, 4)
_MOUNT_ID = slice(144, 152)


def renameat2(source: int, name: str, target: int, target_name: str, flags: int) -> None:
    """Rename ``name`` in the directory ``source`` with ``flags``; glibc has it since 2.28.

    Raises:
        OSError: nothing was changed.
    """
    names = os.fsencode(name), os.fsencode(target_name)
    _call("renameat2", source, names[0], target, names[1], flags)


def sync_file_range(fd: int) -> None:
    """Have all bytes of the file ``fd`` written to its disk, and wait until the disk has them.

    The disk may keep them in its cache. Nothing of the file system's own is flushed.

    Raises:
        OSError: bytes could not be written, or the call is not there.
    """
    _call("sync_file_range", fd, 0, 0, WRITE_AND_WAIT)


def mount_id(fd: int) -> int | None:
    """Return a number that no other mount has until the next boot; None before Linux 6.8."""
    import ctypes

    found = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        _call("statx", fd, b"", _AT_EMPTY_PATH, _MOUNT_ID_UNIQUE, found)
    except OSError:
        return None
    if not int.from_bytes(found.raw[_MASK], sys.byteorder) & _MOUNT_ID_UNIQUE:
        return None
    return int.from_bytes(found.raw[_MOUNT_ID], sys.byteorder)


def _call(name: str, *arguments: object) -> None:
    import ctypes

    function = _function(name)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library, or None; ctypes takes 8 ms to load."""
    if sys.platform != "linux":
        return None
    import ctypes

    kinds: dict[str, list[Any]] = {
        "renameat2": [
            *(ctypes.c_int, ctypes.c_char_p),
            *(ctypes.c_int, ctypes.c_char_p),
            ctypes.c_uint,
        ],
        "sync_file_range": [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint],
        "statx": [
            *(ctypes.c_int, ctypes.c_char_p),
            *(ctypes.c_int, ctypes.c_uint, ctypes.c_char_p),
        ],
    }
    function: Any = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.argtypes = kinds[name]
        function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]  # ctypes has no types of its functions
