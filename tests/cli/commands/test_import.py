"""What an import takes in, and how it ends."""

from __future__ import annotations

from pathlib import Path

from sessionstore import SessionStore
from tests.support.cli import invoke


def test_an_import_that_took_nothing_is_not_partly_done(paused: Path, tmp_path: Path) -> None:
    assert invoke(paused, "import", str(tmp_path / "old.tar")).exit_code == 1
    SessionStore(paused).fork("s1", new_id="s2")
    SessionStore(paused).export_sessions(tmp_path / "two.tar", ["s1", "s2"])
    SessionStore(paused).delete("s2")
    assert invoke(paused, "import", str(tmp_path / "two.tar")).exit_code == 6
