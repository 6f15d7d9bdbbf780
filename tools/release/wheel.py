"""Find what is wrong with a wheel: its files, its metadata, its record."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path

from tools.release.project import CORE, NAME, Project, version_in

CONTENT = (".py", ".pyi", "py.typed")
"""How the names of files end that a package consists of."""


def faults_of_wheel(path: Path, project: Project) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong."""
    expected = f"{NAME}-{project.version}-py3-none-any.whl"
    if path.name != expected:
        yield f"its name is {path.name}, not {expected}"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"{NAME}-{project.version}.dist-info"
    yield from _faults_of_content(files, info, project)
    if f"{info}/METADATA" not in files:
        yield f"{info}/METADATA is missing"
        return
    yield from faults_of_metadata(Parser().parsestr(files[f"{info}/METADATA"].decode()), project)
    yield from _faults_of_info(files, info, project)
    yield from _faults_of_record(files, info)


def _faults_of_content(files: Mapping[str, bytes], info: str, project: Project) -> Iterator[str]:
    package = project.root / NAME
    expected = {
        file.relative_to(project.root).as_posix(): file.read_bytes()
        for file in package.rglob("*")
        if file.name.endswith(CONTENT)
    }
    packed = {name: data for name, data in files.items() if not name.startswith(f"{info}/")}
    needed = {*expected, f"{NAME}/py.typed"}
    yield from (f"{name} is missing" for name in sorted(needed - packed.keys()))
    yield from (f"{name} does not belong there" for name in sorted(packed.keys() - expected.keys()))
    yield from (
        f"{name} is not the file of the checkout"
        for name in sorted(expected.keys() & packed.keys())
        if expected[name] != packed[name]
    )
    told = version_in(packed.get(f"{NAME}/__init__.py", b"").decode())
    if told != project.version:
        yield f"__version__ is {told!r}, not {project.version!r}"


def faults_of_metadata(metadata: Message, project: Project) -> Iterator[str]:
    """Yield what is wrong with the core metadata of a wheel or an sdist."""
    body = metadata.get_payload()
    for what, found, expected in (
        ("Name", metadata["Name"], NAME),
        ("Version", metadata["Version"], project.version),
        ("Requires-Python", metadata["Requires-Python"], project.requires_python),
        ("License-Expression", metadata["License-Expression"], "Apache-2.0"),
        ("License-File", metadata.get_all("License-File"), ["LICENSE"]),
        ("Classifier", sorted(metadata.get_all("Classifier", [])), sorted(project.classifiers)),
        (
            "Provides-Extra",
            sorted(metadata.get_all("Provides-Extra", [])),
            sorted(project.extras),
        ),
        ("Requires-Dist without extras", _core(metadata), sorted(CORE)),
        ("Description-Content-Type", metadata["Description-Content-Type"], "text/markdown"),
    ):
        if found != expected:
            yield f"{what} is {found!r}, not {expected!r}"
    if not isinstance(body, str) or body.strip() != project.readme.strip():
        yield "the description is not README.md"


def _core(metadata: Message) -> list[str]:
    required = metadata.get_all("Requires-Dist", [])
    return sorted(re.split(r"[^\w.-]", one)[0] for one in required if "extra ==" not in one)


def _faults_of_info(files: Mapping[str, bytes], info: str, project: Project) -> Iterator[str]:
    if files.get(f"{info}/licenses/LICENSE") != project.licence:
        yield f"{info}/licenses/LICENSE is not the LICENSE of the checkout"
    tag = files.get(f"{info}/WHEEL", b"").decode()
    if "Tag: py3-none-any\n" not in tag or "Root-Is-Purelib: true\n" not in tag:
        yield f"{info}/WHEEL does not say that it is for every Python and system"
    scripts = files.get(f"{info}/entry_points.txt", b"").decode()
    for name, target in project.scripts.items():
        if f"{name} = {target}\n" not in scripts:
            yield f"the command {name} is missing"


def _faults_of_record(files: Mapping[str, bytes], info: str) -> Iterator[str]:
    name = f"{info}/RECORD"
    rows = {row[0]: row[1] for row in csv.reader(files.get(name, b"").decode().splitlines())}
    if rows.keys() != files.keys():
        yield f"{name} does not name the files that are there"
    for file, digest in rows.items():
        data = files.get(file)
        if data is not None and file != name and digest != _digest(data):
            yield f"{name} has another checksum of {file}"


def _digest(data: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={encoded.rstrip(b'=').decode()}"
