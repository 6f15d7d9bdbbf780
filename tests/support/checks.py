"""What the tests of a check share: check, repair twice, and look into quarantine."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from sessionstore import CheckReport, Finding, SessionStore
from tests.support.processes import (
    tree,
)


def check(root: Path, *, repair: bool = False) -> CheckReport:
    return SessionStore(root).check(repair=repair)


def only(report: CheckReport) -> Finding:
    (finding,) = report.findings
    return finding


def repair(root: Path) -> Finding:
    """Check, repair and repair again; return the one finding that there was."""
    before = tree(root)
    found = only(check(root))
    assert tree(root) == before, "a check without repair changed something"
    finding = only(check(root, repair=True))
    assert (finding.kind, finding.file) == (found.kind, found.file)
    assert finding.is_repaired, finding
    after = tree(root)
    assert check(root, repair=True).findings == ()
    assert tree(root) == after, "a second repair changed something"
    return finding


def quarantine_entry(root: Path) -> Path:
    """Return the one place in quarantine, whose reason must be there."""
    (place,) = (root / "quarantine").iterdir()
    reason = json.loads((place / "reason.json").read_bytes())
    assert reason["reason"]
    assert reason["file"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "reason.json").stat().st_mode) == 0o600
    return place


TEMPORARY = ".new-0123456789abcdef"


def leave(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path
