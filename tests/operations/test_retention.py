"""A retention policy that makes no sense is refused when it is made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionstore import RetentionPolicy


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"statuses": ["completed"]},
        {"older_than": 1, "statuses": ["active"]},
        {"older_than": 1, "statuses": []},
        {"older_than": 1, "statuses": ["done"]},
        {"older_than": -1},
        {"older_than": float("nan")},
        {"older_than": float("inf")},
        {"older_than": True},
        {"older_than": "30d"},
        {"keep_last": -1},
        {"keep_last": True},
        {"max_total_size": 1.5},
        {"keep_checkpoints": -2},
        {"checkpoints_older_than": -timedelta(days=1)},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RetentionPolicy(**wrong)
