"""Two stores: one to export from, one to import into."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import (
    SessionStore,
)
from tests.support.transfer import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path / "from")


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return SessionStore(tmp_path / "to")
