"""What became of a session, and what to do next."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import data, invoke, leave_behind, run
from tests.support.processes import (
    new_session,
    state_path,
)


def test_explain_tells_facts_and_advice(root: Path) -> None:
    result = invoke(root, "explain", "s1")
    assert result.exit_code == 0
    facts = [re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines()]
    told = dict(facts)
    assert told["session"] == "s1 has failed; it can be resumed."
    assert told["ended"].endswith(": by itself")
    assert told["not restored"].startswith("1 save and 0 steps")
    typed = "sessionstore retry s1"
    assert [fact[1] for fact in facts if fact[0] == "next"] == [
        f"once the cause is mended, have the start-up loop try it again: {typed} --root {root}",
        f"or go on from the state that was saved last: {typed} --from-last-save --root {root}",
    ]
    (found,) = data(root, "explain", "s1")["explanations"]
    assert (found["situation"], found["lost"]["revisions"]) == ("failed", 1)
    assert found["next"][0] == {
        "text": "once the cause is mended, have the start-up loop try it again",
        "call": 'store.resume("s1")',
        "command": "sessionstore retry s1",
    }


def test_explain_reads_ids_from_a_pipe(root: Path) -> None:
    leave_behind(root, "s2")
    new_session(root, "s3", checkpoint=False)
    command = "sessionstore ls --resumable -o ids | head -1 | sessionstore explain - -o ids"
    python = f"{sys.executable} -m sessionstore --root {root}"
    done = subprocess.run(
        ["sh", "-c", command.replace("sessionstore", python)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "s3\n"
    result = run(
        "--root", str(root), "explain", "s1", "-", "-o", "jsonl", input="s2\n\n s3 \n", stdin=None
    )
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(item["session_id"], item["situation"]) for item in told] == [
        ("s1", "failed"),
        ("s2", "stale"),
        ("s3", "failed"),
    ]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_explain_exits_with_5_where_there_is_damage(root: Path, form: str) -> None:
    state_path(root, "s1").write_text("{")
    result = invoke(root, "explain", "s1", "-o", form)
    assert result.exit_code == 5
    if form == "table":
        assert "sessionstore fsck --repair" in result.stdout
