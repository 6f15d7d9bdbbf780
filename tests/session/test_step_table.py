"""Every way to go on with a session replays what docs/how-to/steps.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT
from tools.docs import step_table
from tools.docs.step_table import Row


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """What became of the steps, each way tried with a session of its own."""
    return step_table.measure(tmp_path_factory.mktemp("steps"))


def test_the_table_of_the_page_is_what_becomes_of_the_steps(rows: list[Row]) -> None:
    page = Path(CHECKOUT / "docs/how-to/steps.md").read_text()
    table = page.partition(step_table.BEGIN)[2].partition(step_table.END)[0].strip()
    assert table.splitlines() == step_table.render(rows).splitlines(), "`make steps` writes it"


def test_a_step_before_a_checkpoint_runs_whatever_the_way(rows: list[Row]) -> None:
    for row in rows:
        assert row.before == ("replayed" if "before the first save" in row.name else "runs"), row


def test_a_step_after_the_last_checkpoint_is_replayed_unless_something_closed_it(
    rows: list[Row],
) -> None:
    closing = ("resume_from", "complete()", "named")
    for row in rows:
        is_closed = any(word in row.name for word in closing)
        assert row.after == ("runs" if is_closed else "replayed"), row
