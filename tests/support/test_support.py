"""What the tests wait with gives up, and says what never came."""

from __future__ import annotations

import pytest

from tests.support.processes import rounds, until


def test_rounds_that_never_bring_it_about_fail() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"in 0\.01 seconds and \d+ rounds never: rain"):
        list(rounds("rain", seconds=0.01))


def test_rounds_end_where_the_caller_has_seen_it() -> None:
    seen = []
    for number in rounds("three"):
        seen.append(number)
        if number == 2:
            break
    assert seen == [0, 1, 2]


def test_what_never_holds_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"waited 0\.01 seconds for: rain"):
        until(lambda: False, "rain", seconds=0.01)
