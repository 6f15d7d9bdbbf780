"""Count what the fault tests try, for the table in docs/durability.md."""

from __future__ import annotations

import json
import os


def tally(
    kind: str,
    *,
    promise: int,
    cases: int,
    violations: int = 0,
    place: str = "",
    operation: str = "",
    caught: int = 0,
) -> None:
    """Record that ``cases`` attacks of a kind on a promise were made, if somebody counts.

    ``place`` names a file system, ``operation`` what was under way; without cases, why not. Of a
    mutant, ``operation`` says what it does, and ``caught`` in how many cases something was wrong.
    """
    file = os.environ.get("SESSIONSTORE_TALLY")
    if not file:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    line = json.dumps(
        {
            "kind": kind,
            "promise": promise,
            "cases": cases,
            "violations": violations,
            "test": test,
            "place": place,
            "operation": operation,
            "caught": caught,
        }
    )
    # One short write in append mode: lines of parallel test workers do not mix.
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(line + "\n")
