"""A path that a caller names is absolute, or refused with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

import sessionstore
from sessionstore import AsyncSessionStore, SessionStore, StorageError, check_store, diagnose
from sessionstore.durable import paths
from tests.support.cli import invoke
from tests.support.processes import needs_linux, new_session

OPENERS: list[Callable[[str], object]] = [
    SessionStore,
    AsyncSessionStore,
    diagnose,
    check_store,
    lambda path: SessionStore(os.path.abspath("here")).export_sessions(path),
    lambda path: SessionStore(os.path.abspath("here")).import_sessions(path),
]
NAMES = ["store", "async", "diagnose", "check", "export", "import"]


@pytest.fixture(autouse=True)
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    new_session(tmp_path / "here")
    return tmp_path


def without_home(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """Act as in a container: no HOME, and a user number without a name."""
    import pwd

    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)


@needs_linux("homes")
@pytest.mark.parametrize("open_it", OPENERS, ids=NAMES)
@pytest.mark.parametrize("home", [None, "", "relative"])
@pytest.mark.parametrize("path", ["~", "~/state", "~/a/b"])
def test_no_home_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    current: Path,
    open_it: Callable[[str], object],
    home: str | None,
    path: str,
) -> None:
    without_home(monkeypatch, home)
    with pytest.raises(StorageError, match="no home directory is known: set HOME, or give"):
        open_it(path)
    assert sorted(os.listdir(current)) == ["here"]


@pytest.mark.parametrize("open_it", OPENERS, ids=NAMES)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "the path is empty"),
        ("~nobody-such/x", "there is no user nobody-such"),
        ("a\0b", "null character"),
    ],
)
def test_a_path_that_names_nothing_is_refused(
    current: Path, open_it: Callable[[str], object], path: str, reason: str
) -> None:
    with pytest.raises(StorageError, match=reason):
        open_it(path)
    assert sorted(os.listdir(current)) == ["here"]


@needs_linux("a current directory can be removed")
@pytest.mark.parametrize("path", [".", "state", "a/b"])
def test_a_relative_path_below_a_removed_directory_is_refused(tmp_path: Path, path: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    for open_it in (SessionStore, AsyncSessionStore, diagnose, check_store):
        with pytest.raises(StorageError, match="the current directory was removed") as caught:
            open_it(path)
        assert isinstance(caught.value.__cause__, FileNotFoundError)
    SessionStore(tmp_path / "here").load("s1")  # a whole path needs no current directory


def test_empty_bytes_are_as_an_empty_path() -> None:
    with pytest.raises(StorageError, match="the path is empty"):
        SessionStore(b"")  # type: ignore[call-overload]  # what untyped callers pass


@needs_linux("homes")
def test_home_and_the_current_directory_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.absolute("~/x", "open") == str(tmp_path / "x")
    assert paths.real(".", "open") == os.path.realpath(tmp_path)
    (tmp_path / "away" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("away/deep")
    assert paths.real("link/..", "open") == os.path.realpath(tmp_path / "away")
    assert SessionStore("~/here").load("s1")
    buffer = BytesIO()
    sessionstore.SessionStore("here").export_sessions(buffer)
    assert buffer.getvalue()


@needs_linux("homes")
@pytest.mark.parametrize("root", ["", "~/x"])
def test_the_command_line_refuses_them_too(
    monkeypatch: pytest.MonkeyPatch, current: Path, root: str
) -> None:
    without_home(monkeypatch, None)
    done = invoke(None, "--root", root, "ls")
    assert done.exit_code != 0
    assert "HOME" in done.stderr or "no store was named" in done.stderr
    assert sorted(os.listdir(current)) == ["here"]
