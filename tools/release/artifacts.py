"""Build the sdist and the wheel, and find what is wrong with them before anybody installs them."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

from tools.release.children import Children
from tools.release.description import faults_of_page
from tools.release.project import Project
from tools.release.sdist import differences, faults_of_sdist
from tools.release.wheel import faults_of_wheel


class NotBuilt(Exception):
    """There is nothing to check; the text tells why."""


class Artifacts(NamedTuple):
    """What is released, and what it was checked with."""

    sdist: Path
    wheel: Path
    rebuilt: Path
    """The wheel that the sdist builds."""
    source: Path
    """The unpacked sdist."""


def build(project: Project, dist: Path, work: Path, children: Children) -> Artifacts:
    """Build the sdist and the wheel into ``dist``, and the wheel of the sdist below ``work``.

    Raises:
        NotBuilt: a build failed, or made something else.
    """
    sdist = _built(project.root, "--sdist", dist, children)
    wheel = _built(project.root, "--wheel", dist, children)
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    source = work / sdist.name.removesuffix(".tar.gz")
    if not source.is_dir():
        raise NotBuilt(f"{sdist.name} has no directory {source.name}")
    return Artifacts(sdist, wheel, _built(source, "--wheel", work / "dist", children), source)


def _built(source: Path, kind: str, place: Path, children: Children) -> Path:
    before = set(place.glob("*"))
    command = [sys.executable, "-m", "build", kind, "--outdir", str(place), str(source)]
    done = children.run(command)
    made = set(place.glob("*")) - before
    if done.code != 0 or len(made) != 1:
        raise NotBuilt(f"build {kind} of {source} failed:\n{done.output}{done.said}")
    return made.pop()


def faults(
    project: Project, built: Artifacts, children: Children
) -> Iterator[tuple[str, list[str]]]:
    """Yield what each check is called, and what it finds."""
    yield "wheel", list(faults_of_wheel(built.wheel, project))
    git = children.run(["git", "-C", str(project.root), "ls-files"])
    if git.code == 0:
        yield "sdist", list(faults_of_sdist(built.sdist, git.output.splitlines(), project))
    else:
        yield "sdist", ["git does not tell which files belong to it: run this in a clone"]
    yield "the sdist builds the same wheel", list(differences(built.wheel, built.rebuilt))
    twine = [sys.executable, "-m", "twine", "check", "--strict"]
    checked = children.run([*twine, str(built.sdist), str(built.wheel)])
    yield "metadata, by twine", [] if checked.code == 0 else [checked.output + checked.said]
    yield "README.md on an index", list(_faults_of_description(built, children))


def _faults_of_description(built: Artifacts, children: Children) -> Iterator[str]:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        description = Parser().parsestr(archive.read(name).decode()).get_payload()
    assert isinstance(description, str)
    page = built.source / "description.md"
    page.write_text(description, encoding="utf-8")
    done = children.run([sys.executable, "-m", "readme_renderer", str(page)])
    if done.code != 0:
        yield f"it is not rendered:\n{done.said}"
    else:
        yield from faults_of_page(done.output, description)
