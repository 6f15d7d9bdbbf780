"""What to do when the system refuses: advice for its error numbers."""

from __future__ import annotations

import errno
import os

_CLOSED = (
    "check who owns the store and its modes (directories 0700, files 0600): `sessionstore fsck`"
    " names what differs"
)
_REMEDIES = {
    errno.ENOSPC: "free some space or inodes, then try again (nothing was changed)",
    errno.EDQUOT: "the quota is used up: free some space, then try again (nothing was changed)",
    errno.EROFS: "the file system is read-only: remount it, or choose another root",
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.ENFILE: "the system is out of file descriptors: raise fs.file-max",
    errno.ENOLCK: "the file system cannot lock: choose a local one for the store",
    errno.EAGAIN: "another process, such as a file server, has a lease on it: try again",
    errno.ELOOP: "symbolic links are not followed inside a store",
    errno.EIO: "the disk reported an error: check it before you go on",
    errno.ENOSYS: "the file system cannot lock: choose a local one for the store",
}


def remedy_for(error: OSError) -> str:
    """Return what to do about ``error``, or nothing where that is not known."""
    if error.errno != errno.EMFILE:
        return _REMEDIES.get(error.errno or 0, "")
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError, ValueError):
        return "this process has too many open files"
    return (
        f"this process may open {soft} files and each claimed session needs one:"
        f" raise RLIMIT_NOFILE (`ulimit -n`, pid {os.getpid()})"
    )
