"""Fill the tables of docs/durability.md from what a run of the tests counted.

    rm -f tally.jsonl
    SESSIONSTORE_TALLY=$PWD/tally.jsonl python -m pytest -n auto
    python -m tools.docs.durability_table tally.jsonl docs/durability.md

The file is only made by tests that ran to their end (see tests/faults/support/tally.py). Exits
with 1 if a violation was counted, or if a kind of attack was not made at all; the tables are
written anyway.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- the tables below are made by: python -m tools.docs.durability_table -->"
END = "<!-- end of the tables -->"

BLOCKS = "block device states"
"""Power cuts that have a table of their own: by file system and operation."""

MUTANTS = "block device mutants"
"""The same with the package broken on purpose: what is wrong then is no violation."""

KINDS = (
    "kill points",
    "injected errors",
    "crash states",
    "power cuts",
    BLOCKS,
    "full or read-only file systems",
    "identities",
    "looks",
    "races",
    "corrupt inputs",
    "journals: kill points",
    "journals: injected errors",
    "journals: crash states",
    "journals: power cuts",
    "journals: races",
    "journals: records read beside a writer",
    "journals: corrupt inputs",
    "programs of steps",
    "agent.py killed",
)
PROMISES = range(1, 13)


@dataclass(frozen=True)
class Count:
    """What one test counted."""

    kind: str
    promise: int
    cases: int
    violations: int
    test: str
    place: str = ""
    operation: str = ""
    caught: int = 0

    @property
    def claim(self) -> str:
        """The test without its parameters: ``test_power.py::test_a_save_survives``."""
        file, _, name = self.test.partition("::")
        return f"{Path(file).name}::{name.partition('[')[0]}" if name else "outside a test"


def read(path: Path) -> list[Count]:
    """Return what was counted.

    Raises:
        ValueError: a line is none of tests/faults/support/tally.py, or of a kind that nobody knows.
    """
    counts = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            count = Count(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if count.kind not in (*KINDS, MUTANTS) or count.promise not in PROMISES:
            raise ValueError(f"{path}, line {number}: {count.kind!r}, promise {count.promise}")
        counts.append(count)
    return counts


def tables(counts: Sequence[Count]) -> str:
    """Return the tables: by kind, by promise, by test."""
    mutants = [count for count in counts if count.kind == MUTANTS]
    counts = [count for count in counts if count.kind != MUTANTS]
    by_kind = [(kind, *_sums(count for count in counts if count.kind == kind)) for kind in KINDS]
    by_promise = []
    for promise in PROMISES:
        mine = [count for count in counts if count.promise == promise]
        cases: dict[str, int] = defaultdict(int)
        for count in mine:
            cases[count.kind] += count.cases
        told = "; ".join(f"{kind}: {cases[kind]:,}" for kind in KINDS if cases[kind])
        by_promise.append((promise, told or "none counted", *_sums(mine)))
    by_test: dict[tuple[int, str, str], list[Count]] = defaultdict(list)
    for count in counts:
        by_test[count.promise, count.kind, count.claim].append(count)
    tests = [
        (promise, kind, f"`{claim}`", *_sums(found)[1:])
        for (promise, kind, claim), found in sorted(by_test.items())
    ]
    return "\n".join(
        (
            _by_place([count for count in counts if count.kind == BLOCKS]),
            _table(
                ("broken on purpose", "file system", "states", "wrong"),
                [
                    (item.operation, item.place, item.cases, item.caught)
                    for item in sorted(mutants, key=lambda item: (item.operation, item.place))
                ],
            ),
            _table(
                ("attack", "tests", "cases", "violations"),
                [*by_kind, ("**all**", *_sums(counts))],
            ),
            _table(("promise", "cases by attack", "tests", "cases", "violations"), by_promise),
            _table(("promise", "attack", "test", "cases", "violations"), tests),
        )
    )


def _by_place(counts: Sequence[Count]) -> str:
    """Return the table of crash states: a row for each file system, a column for each operation."""
    tried = [count for count in counts if count.cases]
    operations = sorted({count.operation for count in tried})
    rows = []
    for place in sorted({count.place for count in counts}):
        mine = [count for count in tried if count.place == place]
        if not mine:
            reason = next(count.operation for count in counts if count.place == place)
            rows.append((place, *("-" for _ in operations), f"not tried: {reason}", 0))
            continue
        by_operation = [
            sum(count.cases for count in mine if count.operation == operation)
            for operation in operations
        ]
        rows.append((place, *by_operation, *_sums(mine)[1:]))
    rows.append(("**all**", *("" for _ in operations), *_sums(counts)[1:]))
    return _table(("crash states of", *operations, "all", "wrong"), rows)


def _sums(counts: Iterable[Count]) -> tuple[int, int, int]:
    """Return how many tests, cases and violations."""
    listed = list(counts)
    return (
        len({count.claim for count in listed}),
        sum(count.cases for count in listed),
        sum(count.violations for count in listed),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(value: object) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value)

    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def fill(text: str, made: str) -> str:
    """Return the document with the tables between its two markers.

    Raises:
        ValueError: it has not exactly one of each.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the document needs one {BEGIN!r} and after it one {END!r}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}"


def main(arguments: Sequence[str]) -> int:
    """Fill the document; return the exit code."""
    if len(arguments) != 2:
        print("usage: python -m tools.docs.durability_table TALLY_FILE DOCUMENT", file=sys.stderr)
        return 2
    tally, document = map(Path, arguments)
    try:
        counts = read(tally)
        filled = fill(document.read_text(encoding="utf-8"), tables(counts))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    document.write_text(filled, encoding="utf-8")
    missing = [kind for kind in KINDS if not any(count.kind == kind for count in counts)]
    violations = sum(count.violations for count in counts)
    cases = sum(count.cases for count in counts if count.kind != MUTANTS)
    print(f"{cases:,} cases, {violations:,} violations")
    if missing:
        print(f"never tried: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing or violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
