"""Find what is wrong with an sdist: it has every file that git tracks, and makes the same wheel."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from pathlib import Path

from tools.release.project import NAME, Project
from tools.release.wheel import faults_of_metadata

MADE = "PKG-INFO"
"""What only an sdist has: its metadata."""


def faults_of_sdist(path: Path, tracked: Iterable[str], project: Project) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong; ``tracked`` are the files in git."""
    top = f"{NAME}-{project.version}"
    if path.name != f"{top}.tar.gz":
        yield f"its name is {path.name}, not {top}.tar.gz"
    with tarfile.open(path) as archive:
        files = {}
        for member in archive.getmembers():
            content = archive.extractfile(member)
            files[member.name] = content.read() if content is not None else b""
    packed = {name.removeprefix(f"{top}/"): data for name, data in files.items()}
    expected = {*tracked, MADE}
    yield from (f"{name} is missing" for name in sorted(expected - packed.keys()))
    yield from (f"{name} is not tracked by git" for name in sorted(packed.keys() - expected))
    yield from (
        f"{name} is not the file of the checkout"
        for name in sorted(expected & packed.keys() - {MADE})
        if (project.root / name).read_bytes() != packed[name]
    )
    if MADE in packed:
        yield from faults_of_metadata(Parser().parsestr(packed[MADE].decode()), project)


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yield how the wheel of the sdist differs from that of the checkout."""
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        ours = {name: first.read(name) for name in first.namelist()}
        theirs = {name: second.read(name) for name in second.namelist()}
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield f"{name} differs in the wheel that the sdist builds"
