"""Times, lengths of time and sizes on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionstore.cli.options import units
from sessionstore.cli.options.units import Duration, parse_size
from tests.support.cli import (
    invoke,
    put,
)


@pytest.mark.parametrize("value", ["yesterday", "2x", "", "99999999999w", "h"])
def test_a_time_that_is_none_is_a_usage_error(tmp_path: Path, value: str) -> None:
    put(tmp_path, "one")
    result = invoke(tmp_path, "ls", "--since", value)
    assert result.exit_code == 2
    assert "--since" in result.stderr


def test_times_are_told_as_people_tell_them() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    told = {
        delta: units.relative_time((now - timedelta(seconds=delta)).isoformat(), now)
        for delta in (0, 59, 60, 7199, 7200, 86400 * 2, -300)
    }
    assert list(told.values()) == [
        "just now", "59 s ago", "1 min ago", "1 h ago", "2 h ago", "2 d ago", "in 5 min",
    ]  # fmt: skip
    assert units.relative_time("no time", now) == "no time"
    assert units.parse_moment("1d12h", now) == now - timedelta(hours=36)
    assert units.parse_moment("2026-11-22T11:00:00Z", now) == now - timedelta(hours=1)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        (".5", 0.5),
        ("30s", 30),
        ("0.5s", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
    ],
)
def test_lengths_of_time_are_read_alike(given: str, seconds: float) -> None:
    assert Duration().convert(given, None, None) == seconds


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "x", "", "1e9", "0.05"])
@pytest.mark.parametrize("command", ["watch --timeout", "cancel s1 --wait", "ls --watch"])
def test_what_is_no_length_of_time_is_refused(paused: Path, command: str, given: str) -> None:
    if given == "-1" and command.startswith("ls"):
        return  # its value may be left out, so that is an option, and none that there is
    if given == "0.05" and not command.startswith("ls"):
        return  # a listing must not keep a processor busy; waiting so long is fine
    result = invoke(paused, *command.split(), given)
    assert result.exit_code == 2
    assert "is not a duration" in result.stderr or "less than 0.1" in result.stderr


@pytest.mark.parametrize("given", ["0.1", "0.1s"])
def test_commands_take_plain_seconds_and_units(paused: Path, given: str) -> None:
    assert invoke(paused, "watch", "--timeout", given).exit_code == 0
    assert invoke(paused, "cancel", "s1", "--wait", given).exit_code == 1  # it is paused


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("500M", 500 << 20),
        ("1.5GiB", 3 << 29),
        ("10 gb", 10 << 30),
        ("2T", 2 << 40),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e3", "1 PB", "1,5G", "٣G", "nan"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)
