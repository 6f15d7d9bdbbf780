"""A repair mends what JSON or UTF-8 lacks value by value, and puts no whole session away for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import FindingKind, SessionStore
from tests.session.test_foreign_values import put
from tests.support.cli import GONE
from tests.support.processes import read_state, session_path, state_path

DAMAGED: dict[str, Callable[[str], bytes]] = {
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Latin-1": lambda text: text.replace("agent", "\xe4gent").encode("latin-1"),
    "digits": lambda text: text.replace('"HERE"', "9" * 5000).encode(),
    "depth": lambda text: text.replace('"HERE"', '{"a":' * 300 + "1" + "}" * 300).encode(),
}


def test_it_is_a_finding_and_no_damage(tmp_path: Path) -> None:
    original = put(tmp_path, "s1")
    store = SessionStore(tmp_path)
    (found,) = store.check().findings
    assert (found.kind, found.is_damage) == (FindingKind.FOREIGN_VALUES, False)
    assert "data_buffer.loss[1]: NaN" in found.detail
    assert "original would be kept" in found.repair
    assert state_path(tmp_path, "s1").read_bytes() == original
    (mended,) = store.check(repair=True).findings
    assert mended.is_repaired
    place = mended.repair.rpartition(" ")[2]
    assert (Path(place) / "state.json").read_bytes() == original
    assert (read_state(tmp_path, "s1")["status"], read_state(tmp_path, "s1")["pid"]) == (
        "active",
        GONE,  # from it a sweep learns who died
    )
    assert not store.check().findings


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_of_a_few_characters_is_mended_in_place(tmp_path: Path, what: str) -> None:
    data = {"data_buffer": {"big": "HERE", "kept": 1}, "goal_id": "g", "agent_id": "agent"}
    text = put(tmp_path, "s1", status="paused", **data).decode()
    original = DAMAGED[what](text)
    state_path(tmp_path, "s1").write_bytes(original)
    store = SessionStore(tmp_path)
    assert store.check().has_damage
    report = store.check(repair=True)
    assert not report.has_damage
    assert store.load("s1").data_buffer["kept"] == 1
    assert not store.check().findings
    (kept,) = tmp_path.glob("quarantine/*/state.json")
    assert kept.read_bytes() == original
    store.resume("s1").complete()


def test_a_checkpoint_that_loads_is_reported_and_stays(tmp_path: Path) -> None:
    put(tmp_path, "s1", status="paused", data_buffer={}, goal_id="g")
    file = session_path(tmp_path, "s1") / "checkpoints" / "cp1.json"
    file.parent.mkdir(mode=0o700)
    text = json.dumps({"checkpoint_id": "cp1", "data_buffer": {"x": float("nan")}})
    file.write_text(text)
    file.chmod(0o600)
    (found,) = SessionStore(tmp_path).check(repair=True).findings
    assert (found.kind, found.detail) == (FindingKind.FOREIGN_VALUES, "data_buffer.x: NaN")
    assert file.read_text() == text
