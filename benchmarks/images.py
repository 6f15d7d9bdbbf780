"""File systems of their own to measure, in files of the one that is measured (as root)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Options
from sessionstore.durable.mounts import is_local

_KINDS = {
    "ext4 with a journal": ("ext4", ["mkfs.ext4", "-q", "-F"]),
    "XFS": ("xfs", ["mkfs.xfs", "-q", "-f"]),
}
_BYTES = 2 << 30

JOURNALED = "ext4 with a journal"


class Unavailable(Exception):
    """This machine cannot mount such a file system."""


def places(options: Options) -> Iterator[tuple[str, Options]]:
    """Yield the name of each file system, and the options to measure it with.

    The first is the one of ``options``. What cannot be mounted is named as left out.
    """
    yield f"here ({is_local(str(options.directory))[1]})", options
    for name in _KINDS:
        try:
            with _mounted(name, options.directory) as directory:
                yield f"{name} (an image)", replace(options, directory=directory)
        except Unavailable as error:
            missing = f"{name}: {error}"
            if missing not in options.skipped:
                options.skipped.append(missing)


@contextmanager
def _mounted(name: str, directory: Path) -> Iterator[Path]:
    kind, make = _KINDS[name]
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("only root on Linux can mount an image")
    if shutil.which(make[0]) is None:
        raise Unavailable(f"{make[0]} is not installed")
    image, path = directory / f"{kind}.image", directory / kind
    path.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(_BYTES)
        _run(*make, str(image))
        _run("mount", "-t", kind, "-o", "loop", str(image), str(path))
        try:
            yield path
        finally:
            subprocess.run(["umount", str(path)], check=True)
    finally:
        path.rmdir()
        image.unlink(missing_ok=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
