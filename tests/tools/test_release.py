"""The check of a release refuses what must not be released, says why, and cleans up."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT, DEADLINE
from tools.release import pythons, report
from tools.release.children import Children
from tools.release.description import faults_of_page
from tools.release.project import CORE, Project
from tools.release.pythons import Python
from tools.release.sdist import differences, faults_of_sdist
from tools.release.wheel import CONTENT, faults_of_wheel

PROJECT = Project.of(CHECKOUT)
INFO = f"sessionstore-{PROJECT.version}.dist-info"
TOP = f"sessionstore-{PROJECT.version}"

Files = dict[str, bytes]


def metadata() -> str:
    lines = ["Metadata-Version: 2.4", "Name: sessionstore", f"Version: {PROJECT.version}"]
    lines += [f"Requires-Python: {PROJECT.requires_python}", "License-Expression: Apache-2.0"]
    lines += ["License-File: LICENSE"]
    lines += [f"Classifier: {one}" for one in PROJECT.classifiers]
    lines += [f"Requires-Dist: {one}>=1" for one in CORE]
    for extra in PROJECT.extras:
        lines += [f"Provides-Extra: {extra}", f"Requires-Dist: click>=8; extra == '{extra}'"]
    lines += ["Description-Content-Type: text/markdown", "", PROJECT.readme]
    return "\n".join(lines)


def good_wheel() -> Files:
    """Return the files of a wheel as it has to be, but for the record."""
    package = CHECKOUT / "sessionstore"
    files = {
        path.relative_to(CHECKOUT).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.name.endswith(CONTENT)
    }
    return files | {
        f"{INFO}/METADATA": metadata().encode(),
        f"{INFO}/WHEEL": b"Root-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": b"[console_scripts]\nsessionstore = sessionstore.cli:main\n",
        f"{INFO}/licenses/LICENSE": PROJECT.licence,
    }


def packed(place: Path, files: Files, name: str = f"{TOP}-py3-none-any.whl") -> Path:
    """Write a wheel with a true record."""
    rows = []
    for file, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{file},sha256={digest},{len(data)}")
    record = "\n".join([*rows, f"{INFO}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(place / name, "w") as archive:
        for file, data in {f"{INFO}/RECORD": record, **files}.items():
            archive.writestr(file, data)
    return place / name


def edited(file: str, old: str, new: str) -> Callable[[Files], None]:
    def edit(files: Files) -> None:
        assert old.encode() in files[file]
        files[file] = files[file].replace(old.encode(), new.encode(), 1)

    return edit


def without(file: str) -> Callable[[Files], None]:
    return lambda files: files.__delitem__(file)


def beside(file: str) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(file, b"")


def test_a_wheel_as_it_has_to_be_is_not_refused(tmp_path: Path) -> None:
    assert list(faults_of_wheel(packed(tmp_path, good_wheel()), PROJECT)) == []


META = f"{INFO}/METADATA"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without("sessionstore/py.typed"), "sessionstore/py.typed is missing"),
        (without("sessionstore/__init__.pyi"), "sessionstore/__init__.pyi is missing"),
        (beside("tests/test_errors.py"), "tests/test_errors.py does not belong there"),
        (beside("sessionstore/old.py"), "sessionstore/old.py does not belong there"),
        (beside("benchmarks/save.py"), "benchmarks/save.py does not belong there"),
        (
            edited("sessionstore/__init__.py", f'"{PROJECT.version}"', '"9.9.9"'),
            "__version__ is '9.9.9'",
        ),
        (edited("sessionstore/log.py", "import", "IMPORT"), "log.py is not the file of the ch"),
        (edited(META, f"Version: {PROJECT.version}", "Version: 9.9.9"), "Version is '9.9.9'"),
        (edited(META, ">=3.11", ">=3.8"), "Requires-Python is '>=3.8'"),
        (edited(META, "Python :: 3.12", "Python :: 3.7"), "Classifier is"),
        (edited(META, "Provides-Extra: cli", "Provides-Extra: cly"), "Provides-Extra is"),
        (edited(META, ">=8; extra == 'cli'", ">=8"), "Requires-Dist without extras is"),
        (edited(META, "Apache-2.0", "MIT"), "License-Expression is 'MIT'"),
        (edited(META, "## Quickstart", "## Slow start"), "the description is not README.md"),
        (edited(META, "text/markdown", "text/plain"), "Description-Content-Type is 'text/plain'"),
        (without(f"{INFO}/licenses/LICENSE"), "is not the LICENSE"),
        (edited(f"{INFO}/WHEEL", "py3-none-any", "cp311-cp311-linux_x86_64"), "for every Python"),
        (edited(f"{INFO}/entry_points.txt", "cli:main", "cli:run"), "command sessionstore is miss"),
        (without(META), "METADATA is missing"),
    ],
)
def test_a_broken_wheel_is_refused(
    tmp_path: Path, damage: Callable[[Files], None], told: str
) -> None:
    files = good_wheel()
    damage(files)
    found = list(faults_of_wheel(packed(tmp_path, files), PROJECT))
    assert any(told in fault for fault in found), found


def test_types_are_needed_though_the_checkout_has_lost_their_mark(tmp_path: Path) -> None:
    (tmp_path / "sessionstore").mkdir()
    file = "sessionstore/__init__.py"
    (tmp_path / file).write_bytes((CHECKOUT / file).read_bytes())
    files = {name: data for name, data in good_wheel().items() if INFO in name or name == file}
    project = dataclasses.replace(PROJECT, root=tmp_path)
    (fault,) = faults_of_wheel(packed(tmp_path, files), project)
    assert fault == "sessionstore/py.typed is missing"


def test_a_wheel_of_another_name_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, good_wheel(), "sessionstore-9.9.9-py3-none-any.whl")
    (fault,) = faults_of_wheel(path, PROJECT)
    assert fault.startswith("its name is sessionstore-9.9.9-py3-none-any.whl")


def test_a_wheel_whose_record_is_wrong_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, good_wheel())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{INFO}/more.txt", b"")
    (fault,) = faults_of_wheel(path, PROJECT)
    assert "RECORD does not name the files that are there" in fault


def sdist(place: Path, files: Files) -> Path:
    path = place / f"{TOP}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{TOP}/{name}")
            entry.size = len(data)
            archive.addfile(entry, BytesIO(data))
    return path


TRACKED = ("LICENSE", "README.md", "pyproject.toml", "tests/conftest.py")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without("tests/conftest.py"), "tests/conftest.py is missing"),
        (beside("notes.txt"), "notes.txt is not tracked by git"),
        (without("PKG-INFO"), "PKG-INFO is missing"),
        (edited("LICENSE", "Apache", "Any"), "LICENSE is not the file of the checkout"),
        (edited("PKG-INFO", f"Version: {PROJECT.version}", "Version: 9"), "Version is '9'"),
    ],
)
def test_an_sdist_has_what_git_tracks_and_its_metadata(
    tmp_path: Path, damage: Callable[[Files], None], told: str
) -> None:
    files = {name: (CHECKOUT / name).read_bytes() for name in TRACKED}
    files["PKG-INFO"] = metadata().encode()
    assert list(faults_of_sdist(sdist(tmp_path, files), TRACKED, PROJECT)) == []
    damage(files)
    assert [told in one for one in faults_of_sdist(sdist(tmp_path, files), TRACKED, PROJECT)] == [
        True
    ]


def test_an_sdist_that_builds_another_wheel_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "rebuilt").mkdir()
    files = good_wheel()
    one = packed(tmp_path, files)
    assert list(differences(one, packed(tmp_path / "rebuilt", files))) == []
    del files["sessionstore/py.typed"]
    found = list(differences(one, packed(tmp_path / "rebuilt", files)))
    assert "sessionstore/py.typed differs in the wheel that the sdist builds" in found


SOURCE = "# one\n\n| a | b |\n|---|---|\n\n```console\n$ # no heading\n```\n"
SHOWN = "<h1>one</h1><table></table><pre></pre>"


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ('<a href="docs/index.md">', "the link docs/index.md leads nowhere"),
        ('<a href="#one">', "the link #one leads nowhere"),
        ('<img src="docs/drawing.svg">', "the link docs/drawing.svg leads nowhere"),
        ("<h2>", "it shows 2 headings, and README.md has 1"),
        ("<table>", "it shows 2 tables, and README.md has 1"),
        ("<pre>", "it shows 2 blocks of code, and README.md has 1"),
    ],
)
def test_a_page_of_an_index_shows_all_and_links_to_nothing_that_it_lacks(
    html: str, told: str
) -> None:
    good = SHOWN + '<a href="https://a.example/"><a id="one" href="#one">'
    assert list(faults_of_page(good, SOURCE)) == []
    (fault,) = faults_of_page(SHOWN + html, SOURCE)
    assert fault.startswith(told)


# --- Pythons -------------------------------------------------------------------------------------


@pytest.fixture
def children() -> Children:
    return Children(os.environ)


def script(place: Path, name: str, text: str) -> None:
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{text}\n")
    (place / name).chmod(0o755)


def test_a_python_that_does_not_run_is_passed_over(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "shims", "python3.98", "echo no such version >&2; exit 127")
    script(tmp_path / "other", "python3.98", "echo 3.97.1")
    script(tmp_path / "good", "python3.98", "echo 3.98.2")
    path = os.pathsep.join(str(tmp_path / name) for name in ("shims", "other", "good"))
    monkeypatch.setenv("PATH", path)
    found = pythons.find("3.98", children, tmp_path / "installed")
    assert found == Python("3.98", str(tmp_path / "good" / "python3.98"), "3.98.2")


def test_the_newest_of_pyenv_is_taken(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patch in ("9", "10"):
        place = tmp_path / "versions" / f"3.98.{patch}" / "bin"
        place.mkdir(parents=True)
        script(place, "python3.98", f"echo 3.98.{patch}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("3.98", children, tmp_path / "installed").version == "3.98.10"


def test_a_python_that_cannot_be_had_has_a_reason(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin", "uv", "printf 'error: no\\n  cause: no network\\n' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # no uv beside it
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = pythons.find("3.98", children, tmp_path / "installed")
    assert found == Python("3.98", None, absent="not installed here; uv: no network")


def test_the_reason_of_uv_has_no_address() -> None:
    said = "error: it failed\n  Caused by: no answer from url (https://a.example/x.tar): refused\n"
    assert pythons.reason_in(said) == "no answer from url: refused"
    assert pythons.reason_in("") == "it failed and told no reason"


# --- the table -----------------------------------------------------------------------------------

OLD, NEW = Python("3.11", "/bin/python3.11", "3.11.7"), Python("3.12", "/bin/python3.12", "3.12.1")
ABSENT = Python("3.14", None, absent="nobody has it")
GOOD = {"install": "", "quickstart": ""}


def test_the_table_names_what_failed_what_was_not_tried_and_who_is_absent() -> None:
    rows = [
        report.Row(OLD, "wheel", "none", GOOD),
        report.Row(NEW, "sdist", "cli", {"install": "pip exits with 1"}),
    ]
    assert report.table(rows, [ABSENT], ["install", "quickstart"]).splitlines() == [
        "PYTHON  ARTIFACT  EXTRAS  INSTALL  QUICKSTART",
        "3.11.7  wheel     none    ok       ok",
        "3.12.1  sdist     cli     failed   -",
        "3.14    absent: nobody has it",
    ]
    assert [row.is_good for row in rows] == [True, False]
    assert list(report.failures(rows)) == [
        "Python 3.12.1, sdist, cli, install:\npip exits with 1\n"
    ]


def test_the_classifiers_name_the_pythons_that_passed() -> None:
    rows = [report.Row(OLD, "wheel", "none", GOOD), report.Row(NEW, "wheel", "none", GOOD)]
    assert list(report.faults_of_classifiers(["3.11", "3.12"], rows, [ABSENT])) == []
    assert list(report.faults_of_classifiers(["3.11"], rows, [])) == [
        "Python 3.12 passes, and the classifiers do not name it"
    ]
    assert list(report.faults_of_classifiers(["3.11", "3.12", "3.14"], rows, [ABSENT])) == [
        "the classifiers name Python 3.14, which could not be tried"
    ]


# --- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
import os, sys
from pathlib import Path
from tools.release import __main__ as release
release.PLACE = Path(sys.argv[1])
release.WORK = release.PLACE / "work"
def check(chosen, children):
    script = "sleep 600 & echo $! $$ > pids; mv pids started; wait"
    children.run(["sh", "-c", script], release.PLACE)
release._check = check
sys.exit(release.main([]))
"""


def test_ctrl_c_ends_all_that_runs_and_leaves_no_work_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    child = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
    give_up = time.monotonic() + DEADLINE
    while not (tmp_path / "started").exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=DEADLINE)
    assert (child.returncode, said) == (130, "release-check: interrupted\n")
    assert not (tmp_path / "work").exists()
    for pid in map(int, (tmp_path / "started").read_text().split()):
        assert ends(pid, give_up)


def ends(pid: int, give_up: float) -> bool:
    """Wait until a process is gone, or a zombie that nobody has waited for."""
    while time.monotonic() < give_up:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z"):
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
