"""The columns of a listing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sessionstore.cli.options import fields
from sessionstore.cli.output import columns
from tests.support.cli import GONE, HOSTILE, acting, invoke, put, state


def at(number: int) -> dict[str, str]:
    moment = datetime(2026, 1, 1, 0, number, tzinfo=UTC).isoformat()
    return {"started_at": moment, "updated_at": moment}


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten sessions, s9 the newest, and a damaged one, which no time orders."""
    for number in range(10):
        put(tmp_path, f"s{number}", state(f"s{number}", timestamps=at(number)))
    put(tmp_path, "torn", "{")
    return tmp_path


def test_every_field_has_a_column_and_every_column_a_name() -> None:
    assert set(columns._COLUMNS) == set(fields.FIELDS)
    assert set(fields.USUAL) <= set(fields.FIELDS)


def test_every_field_at_once_is_a_table_with_that_many_columns(tmp_path: Path) -> None:
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls", "--fields", ",".join(fields.FIELDS))
    assert result.exit_code == 0
    heading = result.stdout.splitlines()[0].split()
    assert heading == [name.upper() for name in fields.FIELDS]


def test_fields_choose_the_columns_and_their_order(ten: Path) -> None:
    result = invoke(ten, "ls", "-n", "1", "--fields", "status, id")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["STATUS", "ID"], ["completed", "s9"],
    ]  # fmt: skip


def test_fields_choose_the_keys_of_json(ten: Path) -> None:
    chosen = invoke(ten, "ls", "-n", "1", "--fields", "id,goal", "-o", "jsonl")
    assert json.loads(chosen.stdout) == {
        "schema": "sessionstore.sessions.line/1",
        "session_id": "s9",
        "goal_id": "a-goal",
    }
    whole = json.loads(invoke(ten, "ls", "-n", "1", "-o", "jsonl").stdout)
    for name, keys in fields.FIELDS.items():
        line = invoke(ten, "ls", "-n", "1", "--fields", name, "-o", "jsonl").stdout
        assert json.loads(line) == {key: whole[key] for key in ("schema", *keys)}


@pytest.mark.parametrize("value", ["id,colour", "", ",", HOSTILE.replace("\x00", "")])
def test_an_unknown_field_is_a_usage_error_that_names_the_known(ten: Path, value: str) -> None:
    result = invoke(ten, "ls", "--fields", value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert ", ".join(fields.FIELDS) in result.stderr
    assert not acting(result.stderr)


def test_the_remark_comes_where_there_is_any_and_liveness_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    put(tmp_path, "done")
    assert "REMARK" not in invoke(tmp_path, "ls").stdout
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    shown = invoke(tmp_path, "ls").stdout
    assert "REMARK" in shown
    assert f"pid {GONE} gone" in shown
    assert "active, stale" in shown
    asked = invoke(tmp_path, "ls", "--fields", "id,liveness").stdout
    assert f"dead: pid {GONE} is gone" in asked


def test_times_are_relative_or_iso(ten: Path) -> None:
    chosen = ("--fields", "updated", "-n", "1")
    assert invoke(ten, "ls", *chosen, "--times", "iso").stdout.split() == [
        "UPDATED", "2026-01-01T00:09:00+00:00",
    ]  # fmt: skip
    assert invoke(ten, "ls", *chosen).stdout.strip().endswith("ago")
