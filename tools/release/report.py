"""The table of a check, a line for each environment, and the texts of what failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tools.release.pythons import Python

NOT_TRIED = "-"


@dataclass(frozen=True)
class Row:
    """An environment, and what came of each trial in it."""

    python: Python
    artifact: str
    extra: str
    """Its name; `none` for none."""
    results: Mapping[str, str] = field(default_factory=dict)
    """By column: empty if it went well, else what went wrong."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"Python {self.python.version}, {self.artifact}, {self.extra}"

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return not any(self.results.values())


def table(rows: Iterable[Row], absent: Iterable[Python], columns: Sequence[str]) -> str:
    """Return the table; Pythons that could not be had stand below, each with the reason."""
    lines = [("PYTHON", "ARTIFACT", "EXTRAS", *(column.upper() for column in columns))]
    for row in rows:
        cells = (_cell(row.results.get(column)) for column in columns)
        lines.append((row.python.version, row.artifact, row.extra, *cells))
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    shown += [f"{python.minor.ljust(widths[0])}  absent: {python.absent}" for python in absent]
    return "\n".join(shown)


def _cell(result: str | None) -> str:
    return NOT_TRIED if result is None else "failed" if result else "ok"


def failures(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a paragraph for each trial that failed."""
    for row in rows:
        for column, text in row.results.items():
            if text:
                yield f"{row.name}, {column}:\n{text.rstrip()}\n"


def faults_of_classifiers(
    named: Iterable[str], rows: Sequence[Row], absent: Iterable[Python]
) -> Iterator[str]:
    """Yield where the classifiers differ from the Pythons on which everything went well."""
    tried = {row.python.minor for row in rows}
    good = {minor for minor in tried if all(r.is_good for r in rows if r.python.minor == minor)}
    for minor in sorted(good - set(named)):
        yield f"Python {minor} passes, and the classifiers do not name it"
    for minor in sorted(set(named) & {python.minor for python in absent}):
        yield f"the classifiers name Python {minor}, which could not be tried"
