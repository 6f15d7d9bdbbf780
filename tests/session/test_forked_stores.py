"""A store is usable in a forked child, whoever forked, also while another thread uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT, DEADLINE, needs_linux


@needs_linux("it forks in C, too")
@pytest.mark.parametrize("how", ["python", "c"])
def test_a_child_uses_the_store_that_threads_of_its_parent_were_using(
    tmp_path: Path, how: str
) -> None:
    code = "import sys; from tests.support.forking import busy; busy(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store"), how],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
