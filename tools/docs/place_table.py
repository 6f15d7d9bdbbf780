"""Write into docs/durability.md what became of a store in every place that was tried.

    rm -f places.jsonl
    SESSIONSTORE_PLACES=$PWD/places.jsonl python -m pytest tests/faults/test_places.py
    python -m tools.docs.place_table places.jsonl docs/durability.md

A place that this machine cannot make has no line in the file. Then the page keeps its row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

BEGIN = "<!-- the table of places below is made by: python -m tools.docs.place_table -->"
END = "<!-- end of the table of places -->"
HEAD = ("place", "works", "refused, and how", "notes")


@dataclass(frozen=True)
class Row:
    """What one place lets a store do."""

    place: str
    works: str
    refused: str
    notes: str

    @property
    def line(self) -> str:
        """The row as Markdown."""
        cells = (self.place, self.works, self.refused or "nothing", self.notes)
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    def record(self, file: Path) -> None:
        """Append the row to ``file``: one short write, which does not mix with others."""
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(self)) + "\n")


def read(file: Path) -> list[Row]:
    """Return the rows that a run of the tests recorded."""
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def lines_of(page: str) -> list[str]:
    """Return the rows that the page has."""
    table = page.partition(BEGIN)[2].partition(END)[0].strip()
    return table.splitlines()[2:]


def update(page: str, rows: Iterable[Row], order: Iterable[str]) -> str:
    """Return the page with ``rows`` in the place of its own, in ``order``."""
    known = {line.split(" | ")[0].removeprefix("| "): line for line in lines_of(page)}
    known.update({row.place: row.line for row in rows})
    head = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    table = "\n".join([*head, *(known[place] for place in order if place in known)])
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def main(argv: list[str]) -> int:
    """Write the rows of a file into the page that is named."""
    from tests.faults.support.places import PLACES
    from tests.faults.support.situations import SITUATIONS

    page = Path(argv[1])
    page.write_text(update(page.read_text(), read(Path(argv[0])), [*PLACES, *SITUATIONS]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
