"""Turn results into JSON, into tables for a terminal, and into docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.backends import FLOOR, OURS
from benchmarks.limits import GOALS, TIMES, Figure, Results

_MICROSECONDS = "median in µs, the middle half in brackets"


def as_json(results: Results) -> str:
    """Return everything that was measured, with five digits."""
    return json.dumps(_rounded(asdict(results)), indent=1, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def load(path: Path) -> Results:
    """Return what ``as_json`` wrote into ``path``."""
    return Results.from_json(json.loads(path.read_text(encoding="utf-8")))


# --- the terminal --------------------------------------------------------------------------------


def as_text(results: Results) -> str:
    """Return tables of all figures: those with a limit, then the others; misses at the end."""
    judged = [figure for figure in results.figures if figure.limit is not None]
    plain = [figure for figure in results.figures if figure.limit is None]
    lines = [", ".join(f"{name}: {value}" for name, value in results.machine.items())]
    lines += [f"absent: {name}: {why}" for name, why in results.absent.items()]
    lines += [f"left out: {what}" for what in results.skipped]
    for title, figures in (("Limits", judged), ("Without a limit", plain)):
        if figures:
            lines += ["", f"{title} (median; spread over {results.repeats} repeats)"]
            heads = ["group", "what", "limit", "aim", "seen", "spread", "", "note"]
            rows = [heads, *(_row(figure) for figure in figures)]
            widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
            for row in rows:
                cells = [
                    cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                ]
                lines.append("  ".join(cells).rstrip())
    missed = results.missed
    lines += ["", f"{len(judged) - len(missed)} of {len(judged)} limits kept"]
    lines += [f"  MISSED {figure.group}: {figure.name}" for figure in missed]
    lines += [f"  not measured: {GOALS[key].what}" for key in unmeasured(results)]
    return "\n".join(lines)


def _row(figure: Figure) -> list[str]:
    aim = amount(GOALS[figure.goal].aim, "") if figure.goal else ""
    return [
        figure.group,
        figure.name,
        "" if figure.limit is None else f"{_sign(figure)} {amount(figure.limit, '')}",
        aim,
        amount(figure.value, figure.unit),
        _spread(figure),
        figure.verdict,
        figure.note,
    ]


def unmeasured(results: Results) -> list[str]:
    """Return the goals of which there is no figure."""
    seen = {figure.goal for figure in results.figures}
    return [key for key in GOALS if key not in seen]


# --- the document --------------------------------------------------------------------------------


def as_markdown(results: Results) -> str:
    """Return docs/performance.md."""
    parts = [
        _head(results),
        _goal_table(results),
        _losses(results),
        _contenders(results),
        _pictured(
            "Saving, so that it survives a loss of power",
            "save-power",
            "What a save costs that is flushed. The floor has its bytes ready, the others serialise"
            f" the state ({_MICROSECONDS}).",
            _matrix(results, "save, power"),
        ),
        _pictured(
            "Saving, so that it survives the death of the process",
            "save-process",
            "Nothing is flushed, except by those that say so: they stand here for comparison"
            f" ({_MICROSECONDS}; in turn one by one).",
            _matrix(results, "save, process"),
        ),
        _pictured(
            "Appending to a journal",
            "append-power",
            "What an append of 1 KiB costs that is flushed, by the length of what is appended to"
            f" ({_MICROSECONDS}).",
            _matrix(results, "append, power"),
        ),
        _pictured(
            "Keeping the result of a step",
            "step-power",
            "What a step costs that returns 1 KiB at once and is flushed; our two records in one"
            f" append stand beside it ({_MICROSECONDS}).",
            _matrix(results, "step, power"),
        ),
        _pictured(
            "A session that grows",
            "growth",
            "Steps of 1 KiB, each saved. *Written* is what was handed to write calls (`wchar` of"
            " /proc/self/io: not what a file system adds), *disk* the blocks in use at the end,"
            " after closing. Who keeps every step has more on the disk, and more to go back to.",
            _growth(results),
        ),
        _pictured(
            "Many sessions at once",
            "together",
            "Saves per second of states of 4 KiB, the middle half in brackets.",
            _matrix(results, "together"),
        ),
        _pictured(
            "Listing",
            "listing",
            "Milliseconds, files in the page cache, each question in a process of its own. 100"
            " sessions were left ACTIVE by a dead process, the others are paused, completed or"
            " failed; a third has a checkpoint that loads.",
            _matrix(results, "listing"),
        ),
        _others(results),
        _REPRODUCE,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_REPRODUCE = """## To run it

```
make bench                     # all but the million sessions
make bench ARGS=--million      # needs about 20 GB of disk, 4.5 million inodes and half an hour
make bench ARGS=--quick        # fewer rounds, one repeat: a first look, no evidence
```

These commands write this file, performance.json and the plots. How to read the figures, and
what keeps one contender from paying for another, is in
[benchmarks/README.md](../benchmarks/README.md)."""


def _head(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    repeats = f"{results.repeats} repeat{'s' if results.repeats > 1 else ''}"
    how = (
        "Written by `make bench`; do not edit. Contenders took turns in one run, each in a store"
        " of its own on the same file system. Read ratios, not times: they depend on the disk."
        f" Each figure is a median over rounds, then over {repeats}; the spread is the lowest and"
        " the highest repeat, of a single one the middle half of its measurements."
    )
    parts = ["# Performance", how, f"Machine: {machine}."]
    if results.versions:
        versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
        parts.append(f"Peers: {versions}.")
    if results.quick:
        parts.append("**A quick run: few rounds, one repeat. No evidence, a first look.**")
    if results.interrupted:
        parts.append("**The run was interrupted: this is what was measured until then.**")
    parts += [f"**Absent: {name}** ({_cell(why)})." for name, why in results.absent.items()]
    parts += [f"**Left out:** {what}." for what in results.skipped]
    return "\n\n".join(parts)


def _goal_table(results: Results) -> str:
    rows = []
    for key, goal in GOALS.items():
        sign = "≥" if goal.at_least else "≤"
        figures = [figure for figure in results.figures if figure.goal == key]
        limits = f"{sign} {amount(goal.limit, '')}", f"{sign} {amount(goal.aim, '')}"
        for figure in figures:
            what = f"{goal.what}, {figure.note}" if len(figures) > 1 else goal.what
            verdict = figure.verdict
            if verdict.startswith("MISSED"):
                verdict = f"**{verdict}**"
            rows.append([what, amount(figure.value, goal.unit), _spread(figure), *limits, verdict])
        if not figures:
            why = "not measured: needs `--million`" if goal.million else "not measured"
            rows.append([goal.what, "", "", *limits, why])
    heads = ["what", "seen", "spread", "limit", "aim", ""]
    return "## Against the limits\n\n" + table(heads, rows)


_COMPARED = (
    "save, power",
    "save, process",
    "append, power",
    "step, power",
    "growth, time",
    "growth, disk",
    "together",
)
"""The plots that show peers."""


def _losses(results: Results) -> str:
    """Name everything in which a peer is ahead of us, in the plots' own figures."""
    lines = []
    for plot in _COMPARED:
        more_is_better = plot == "together"
        figures = [figure for figure in results.figures if figure.plot == plot]
        for at in dict.fromkeys(figure.at for figure in figures):
            here = [figure for figure in figures if figure.at == at]
            ours = [figure for figure in here if figure.who.startswith(OURS)]
            if not ours:
                continue
            own = (max if more_is_better else min)(ours, key=lambda figure: figure.value)
            for figure in here:
                if figure.who.startswith((OURS, FLOOR)):
                    continue
                ratio = figure.value / own.value if more_is_better else own.value / figure.value
                if ratio > 1:
                    theirs, mine = (amount(one.value, one.unit) for one in (figure, own))
                    lines.append(
                        f"- {plot}, {_at(plot, at)}: **{figure.who}** {theirs}, {own.who} {mine}:"
                        f" {amount(ratio, TIMES)} ahead of us"
                    )
    missed = [figure for figure in results.missed if not figure.goal]
    lines += [
        f"- {figure.name}: {amount(figure.value, figure.unit)}, the limit is"
        f" {amount(figure.limit or 0.0, figure.unit)}"
        for figure in missed
    ]
    if not lines:
        return "## Where we lose\n\nNowhere among what was measured, except to the floor."
    return (
        "## Where we lose\n\nEvery contender that was ahead of us, and every other limit that was"
        " missed:\n\n" + "\n".join(lines)
    )


def _at(plot: str, at: str) -> str:
    if plot == "together":
        return f"{at} at once"
    return f"survives: {at}" if plot.startswith("growth") else at


def _contenders(results: Results) -> str:
    if not results.contenders:
        return ""
    rows = [[one["name"], one["survives"], one["does"]] for one in results.contenders]
    return (
        "## Who is compared\n\nEach does what its own documentation shows; nothing is tuned."
        " *power*: what returned is flushed; *process*: it is not.\n\n"
        + table(["contender", "survives", "what a save or a step is"], rows)
    )


def _pictured(title: str, picture: str, words: str, figures: str) -> str:
    if not figures:
        return ""
    return f"## {title}\n\n![{title}](plots/{picture}.svg)\n\n{words}\n\n{figures}"


def _matrix(results: Results, plot: str) -> str:
    """Return a table of one picture: a row for each contender, a column for each place."""
    figures = [figure for figure in results.figures if figure.plot == plot]
    columns = list(dict.fromkeys(figure.at for figure in figures))
    cells = {(row_name(figure), figure.at): figure for figure in figures}
    rows = []
    for who in dict.fromkeys(row_name(figure) for figure in figures):
        row = [who]
        for at in columns:
            figure = cells.get((who, at))
            row.append("" if figure is None else f"{amount(figure.value, '')} {_brackets(figure)}")
        rows.append(row)
    return table(["", *columns], rows) if rows else ""


def row_name(figure: Figure) -> str:
    """Return who, or in listings what, a figure of a plot is about."""
    return _LISTED.get(figure.who, figure.who)


_LISTED = {
    "find": "find(resumable=True, limit=50)",
    "page": "find(), a page of 50",
    "stale": "find(stale=True)",
    "count": 'count(status="paused")',
    "dry": "recover(dry_run=True)",
    "verify": "find(…, verify=True)",
    "ls": "sessionstore ls, whole process",
}


def _brackets(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"({amount(figure.low, '')} to {amount(figure.high, '')})"


def _growth(results: Results) -> str:
    cells = {(figure.who, figure.plot): figure for figure in results.figures}
    names = dict.fromkeys(figure.who for figure in results.figures if figure.plot == "growth, time")
    rows = []
    for name in names:
        row = [name, cells[name, "growth, time"].at]
        for what in ("time", "written", "disk"):
            figure = cells.get((name, f"growth, {what}"))
            row.append("" if figure is None else amount(figure.value, figure.unit))
        rows.append(row)
    return table(["", "survives", "time", "written", "disk"], rows) if rows else ""


def _others(results: Results) -> str:
    rows = [
        [
            figure.group,
            figure.name,
            amount(figure.value, figure.unit),
            _spread(figure),
            "" if figure.limit is None else f"{_sign(figure)} {amount(figure.limit, figure.unit)}",
            f"**{figure.verdict}**" if figure.verdict.startswith("MISSED") else figure.verdict,
            figure.note,
        ]
        for figure in results.figures
        if not figure.plot and not figure.goal
    ]
    if not rows:
        return ""
    heads = ["group", "what", "seen", "spread", "limit", "", "note"]
    return "## Everything else that was measured\n\n" + table(heads, rows)


# --- words and numbers ---------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _sign(figure: Figure) -> str:
    return "≥" if figure.at_least else "≤"


def _spread(figure: Figure) -> str:
    low, high = figure.spread
    return "" if low == high else f"{amount(low, '')} to {amount(high, '')}"


def amount(value: float, unit: str) -> str:
    """Return ``value`` with three digits that count, and its unit."""
    if abs(value) >= 100 or (value == int(value) and abs(value) >= 10):
        return f"{value:,.0f} {unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()
