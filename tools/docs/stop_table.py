"""Write into docs/concepts.md what every way to stop leaves of a session.

    python -m tools.docs.stop_table docs/concepts.md

It stops a real session in each way of tests/support/stops.py, resumes it, and says what was found.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.stops import ID, WAYS, home_of, open_store

BEGIN = "<!-- the table below is made by: python -m tools.docs.stop_table docs/concepts.md -->"
END = "<!-- end of the table -->"
CHECKOUT = Path(__file__).parents[2]

RESTORED = {
    None: "as created",
    "kept": "checkpoint",
    "saved": "last save",
    "changed": "at the stop",
    "later": "at the stop",
    "edited": "the edit",
}
HEAD = (
    "It stops by", "Status", "Interrupted", "Crashes", "Stops", "Loop",
    "A resume goes on from", "… with a checkpoint",
)  # fmt: skip


@dataclass(frozen=True)
class Left:
    """What a stop left of a session, and what a resume made of it."""

    status: str
    is_interrupted: bool
    crashes: int
    stops: int
    is_offered: bool
    restored: str

    @property
    def facts(self) -> tuple[str, ...]:
        """All but the restored state, as cells of a row."""
        is_ended = self.status in ("completed", "cancelled")
        offered = "yes" if self.is_offered else "`again`" if is_ended else "no"
        interrupted = "yes" if self.is_interrupted else "no"
        return (self.status, interrupted, str(self.crashes), str(self.stops), offered)


@dataclass(frozen=True)
class Row:
    """One way to stop, or one kind of session in it, without a checkpoint and with one."""

    name: str
    bare: Left
    kept: Left

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the row."""
        return (self.name, *self.bare.facts, self.bare.restored, self.kept.restored)


def stop_all(place: Path) -> None:
    """Stop a session in every way below ``place``."""
    code = "import sys; from tests.support.stops import main; main(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(place)], cwd=CHECKOUT, check=True)


def measure(place: Path) -> list[Row]:
    """Return what became of the sessions below ``place``; they are resumed by that."""
    return [row for number in range(len(WAYS)) for row in _rows(place, number)]


def _rows(place: Path, number: int) -> Iterator[Row]:
    way = WAYS[number]
    found = {
        is_async: Row(
            way.name,
            *(_look(home_of(place, number, is_async, keeps), number) for keeps in (False, True)),
        )
        for is_async in way.kinds
    }
    if len(set(found.values())) == 1:
        yield next(iter(found.values()))
        return
    for is_async, row in found.items():
        yield Row(f"{row.name} ({'async' if is_async else 'sync'})", row.bare, row.kept)


def _look(root: Path, number: int) -> Left:
    store, after = open_store(root), WAYS[number].after
    if after is not None:
        after(store, root)
    store.recover()
    (item,) = store.find()
    loop = store.resume_interrupted()
    offered = list(loop)
    session = offered[0] if offered else store.resume(ID, again=True)
    restored = RESTORED[session.state.data_buffer.get("step")]
    session.release()
    store.close()
    assert item.status is not None
    return Left(
        str(item.status), item.is_interrupted, item.recoveries, item.stops, bool(offered), restored
    )


def render(rows: list[Row]) -> str:
    """Return the table as Markdown.

    Raises:
        ValueError: a checkpoint changes more than where a resume goes on.
    """
    for row in rows:
        if row.bare.facts != row.kept.facts:
            raise ValueError(f"{row.name}: {row.bare} without, and {row.kept} with a checkpoint")
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace(page: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """Return the page with ``table`` in the place of its own."""
    before, rest = page.split(begin)
    _, after = rest.split(end, 1)
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def main(argv: list[str]) -> int:
    """Write the table into the page that is named."""
    page = Path(argv[0])
    with tempfile.TemporaryDirectory() as place:
        stop_all(Path(place))
        table = render(measure(Path(place)))
    page.write_text(replace(page.read_text(), table))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
