"""Session ids as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import (
    HOSTILE,
    acting,
    invoke,
    put,
)


def test_a_prefix_that_only_one_id_has_is_enough(tmp_path: Path) -> None:
    for name in ("session_a1", "session_a", "session_b1"):
        put(tmp_path, name)
    assert invoke(tmp_path, "show", "session_b", "-o", "ids").stdout == "session_b1\n"
    assert invoke(tmp_path, "show", "session_a", "-o", "ids").stdout == "session_a\n"


def test_an_ambiguous_prefix_names_at_most_five_candidates(tmp_path: Path) -> None:
    for number in range(7):
        put(tmp_path, f"s{number}")
    for args in (("show", "s"), ("recover", "--apply", "--assume-dead", "s")):
        result = invoke(tmp_path, *args)
        assert result.exit_code == 2
        assert "s0, s1, s2, s3, s4, ..." in result.stderr
        assert "s5" not in result.stderr


@pytest.mark.parametrize(
    ("given", "code"), [("none", 3), ("con", 2), ("../x", 2), ("", 2), (HOSTILE, 2)]
)
def test_an_id_that_no_session_has_is_not_found_and_no_id_is_a_usage_error(
    tmp_path: Path, given: str, code: int
) -> None:
    put(tmp_path, "one")
    for args in (("show", given), ("recover", "--assume-dead", given)):
        result = invoke(tmp_path, *args)
        assert (result.exit_code, result.stdout) == (code, "")
        assert not acting(result.stderr)
