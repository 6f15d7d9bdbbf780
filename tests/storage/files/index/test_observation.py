"""One file as the index sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.storage.files.index.observation import SessionObserver
from sessionstore.storage.files.layout import Layout
from tests.support.processes import new_session


def test_a_session_that_was_made_anew_while_it_was_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    real, gone = SessionObserver._read_file, [FileNotFoundError(2, "its directory is gone")]

    def read_file(observer: SessionObserver, *arguments: object) -> object:
        if gone:
            raise gone.pop()
        return real(observer, *arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(SessionObserver, "_read_file", read_file)
    with SessionObserver(Layout(str(tmp_path))) as observer:
        seen = observer.read("s1")
    assert seen is not None
    assert seen.damaged is None


def test_a_session_that_is_made_anew_without_end_is_not_read_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)

    def read_file(*_: object) -> object:
        raise FileNotFoundError(2, "its directory is gone")

    monkeypatch.setattr(SessionObserver, "_read_file", read_file)
    with SessionObserver(Layout(str(tmp_path))) as observer:
        seen = observer.read("s1")
    assert seen is not None
    assert "its directory is gone" in str(seen.damaged)
