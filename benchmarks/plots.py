"""Draw the plots of docs/performance.md as SVG; the same results give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "sessionstore",
        "svg.fonttype": "none",  # text stays text: it can be searched, and diffs can be read
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
        "figure.facecolor": "white",  # also where the page is dark
        "savefig.facecolor": "white",
    }
)

from matplotlib.axes import Axes  # noqa: E402  # after the backend was chosen
from matplotlib.axis import Axis  # noqa: E402
from matplotlib.figure import Figure as Drawing  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

from benchmarks.backends import FLOOR, OURS  # noqa: E402
from benchmarks.limits import Figure, Results  # noqa: E402
from benchmarks.report import row_name  # noqa: E402

_OURS, _OURS_TOO, _FLOOR, _PEER = "#0b5cad", "#6aa7e0", "#222222", "#8c8c8c"
_LINES = ("#0b5cad", "#d1495b", "#2e8b57", "#8f5fbf", "#e08e0b", "#00868b", "#777777")


def draw_all(results: Results, directory: Path) -> list[Path]:
    """Write every plot of which there are figures; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Results], Drawing | None]] = {
        "save-power": lambda found: _draw_saves(found, "save, power"),
        "save-process": lambda found: _draw_saves(found, "save, process"),
        "append-power": lambda found: _draw_saves(found, "append, power"),
        "step-power": lambda found: _draw_saves(found, "step, power"),
        "growth": _draw_growth,
        "together": _draw_together,
        "listing": _draw_listing,
    }
    written = []
    for name, draw in pictures.items():
        drawing = draw(results)
        if drawing is not None:
            path = directory / f"{name}.svg"
            drawing.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            written.append(path)
    return written


def _of(results: Results, plot: str) -> list[Figure]:
    return [figure for figure in results.figures if figure.plot == plot]


def _colour(who: str) -> str:
    if who.startswith(OURS):
        return _OURS_TOO if "checkpoint" in who else _OURS
    return _FLOOR if who.startswith(FLOOR) else _PEER


def _rows(axes: Axes, figures: Sequence[Figure], unit: str) -> None:
    """Draw a row for each figure: a dot, the middle half as a line, the value as text.

    Dots, as a bar on a log scale has no honest beginning.
    """
    largest = max(max(figure.value, figure.high or 0.0) for figure in figures)
    smallest = min(min(figure.value, figure.low or math.inf) for figure in figures)
    span = math.log10(largest / smallest) + 0.2
    left, right = smallest / 10 ** (span * 0.06), largest * 10 ** (span * 0.28)  # room for words
    _log(axes.xaxis, left, right, unit)
    for row, figure in enumerate(figures):
        colour = _colour(figure.who)
        axes.axhline(row, color="#ededed", linewidth=1, zorder=0)
        end = figure.value
        if figure.low is not None and figure.high is not None:
            axes.plot([figure.low, figure.high], [row, row], color=colour, linewidth=4, alpha=0.35)
            end = max(end, figure.high)
        axes.plot([figure.value], [row], marker="o", markersize=6.5, color=colour)
        axes.annotate(
            _short(figure.value, unit),
            xy=(end, row),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    axes.set_yticks(range(len(figures)), [figure.who for figure in figures])
    for label, figure in zip(axes.get_yticklabels(), figures, strict=True):
        if figure.who.startswith(OURS):
            label.set_color(_OURS)
            label.set_fontweight("bold")
    axes.set_ylim(len(figures) - 0.4, -0.6)
    axes.set_xlim(left, right)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _log(axis: Axis, low: float, high: float, unit: str) -> None:
    """Make the axis logarithmic, with few ticks that read as amounts."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 1.8 else (1.0, 3.0) if decades < 3 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value, unit)))
    axis.set_minor_locator(NullLocator())


def _short(value: float, unit: str) -> str:
    if unit == "µs" and value >= 1000:
        value, unit = value / 1000, "ms"
    if unit == "ms" and value >= 1000:
        value, unit = value / 1000, "s"
    digits = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    return f"{digits} {unit}".strip()


def _draw_saves(results: Results, plot: str) -> Drawing | None:
    figures = _of(results, plot)
    sizes = list(dict.fromkeys(figure.at for figure in figures))
    if not sizes:
        return None
    most = max(sum(figure.at == size for figure in figures) for size in sizes)
    drawing = Drawing(figsize=(9, len(sizes) * (0.27 * most + 0.75) + 0.3), layout="constrained")
    for axes, size in zip(drawing.subplots(len(sizes), 1, squeeze=False).flat, sizes, strict=True):
        here = sorted((one for one in figures if one.at == size), key=lambda one: one.value)
        _rows(axes, here, "µs")
        axes.set_title(f"state of {size}" if plot.startswith("save") else size, loc="left")
    axes.set_xlabel("time, log scale; dot: median, line: the middle half")
    return drawing


def _draw_growth(results: Results) -> Drawing | None:
    wanted = (("time", "ms", "total time"), ("written", "MiB", "written"), ("disk", "MiB", "disk"))
    panels = [
        (what, unit, title) for what, unit, title in wanted if _of(results, f"growth, {what}")
    ]
    if not panels:
        return None
    order = sorted(_of(results, "growth, time"), key=lambda figure: (figure.at, figure.value))
    names = [figure.who for figure in order]
    drawing = Drawing(figsize=(11, 0.3 * len(names) + 1.2), layout="constrained")
    for column, (axes, (what, unit, title)) in enumerate(
        zip(drawing.subplots(1, len(panels), squeeze=False).flat, panels, strict=True)
    ):
        found = {figure.who: figure for figure in _of(results, f"growth, {what}")}
        _rows(axes, [found[name] for name in names], unit)
        axes.set_title(f"{title}, log scale", loc="left")
        if column:
            axes.set_yticklabels([])
        else:
            kept = {figure.who: figure.at for figure in order}
            axes.set_yticks(
                range(len(names)),
                [name if kept[name] in name else f"{name} ({kept[name]})" for name in names],
            )
    return drawing


def _draw_together(results: Results) -> Drawing | None:
    figures = _of(results, "together")
    if not figures:
        return None
    counts = list(dict.fromkeys(figure.at for figure in figures))
    drawing = Drawing(figsize=(10, 4.4), layout="constrained")
    axes = drawing.subplots()
    ends = []
    for colour, who in zip(_LINES, dict.fromkeys(figure.who for figure in figures), strict=False):
        line = [figure for figure in figures if figure.who == who]
        places = [counts.index(figure.at) for figure in line]
        axes.plot(
            places,
            [figure.value for figure in line],
            marker="o",
            markersize=4,
            color=colour,
            linestyle="-" if who.startswith(OURS) else "--",
        )
        for place, figure in zip(places, line, strict=True):
            if figure.low is not None and figure.high is not None:
                axes.plot(
                    [place, place], [figure.low, figure.high], color=colour, linewidth=3, alpha=0.3
                )
        ends.append((line[-1].value, f"{who}: {_short(line[-1].value, '')}", colour))
    rates = [figure.value for figure in figures]
    _log(axes.yaxis, min(rates), max(rates), "")
    axes.set_xticks(range(len(counts)), [f"{count} at once" for count in counts])
    axes.set_ylabel("saves per second, log scale")
    axes.grid(axis="y")
    axes.set_xlim(-0.1, len(counts) - 0.95)
    _name_ends(axes, ends)
    axes.set_title("states of 4 KiB; thick: the middle half", loc="left")
    return drawing


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write the name of each line to its right, as near to its end as the other names let it."""
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    gap = (high - low) / 18
    ordered = sorted(ends)
    # Names that would overlap become a block, which sits in the middle of where they belong.
    blocks: list[list[float]] = []
    for number, (value, _, _) in enumerate(ordered):
        blocks.append([math.log10(value) - number * gap])
        while len(blocks) > 1 and mean(blocks[-2]) > mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    spots = [mean(block) for block in blocks for _ in block]
    excess = max(0.0, spots[-1] + (len(spots) - 1) * gap - high)
    for number, (spot, (_, text, colour)) in enumerate(zip(spots, ordered, strict=True)):
        axes.text(
            1.015,
            10 ** (spot + number * gap - excess),
            text,
            color=colour,
            fontsize=8.5,
            va="center",
            transform=axes.get_yaxis_transform(),
        )


def _draw_listing(results: Results) -> Drawing | None:
    figures = _of(results, "listing")
    if not figures:
        return None
    drawing = Drawing(figsize=(10, 4.4), layout="constrained")
    axes = drawing.subplots()
    axes.set_xscale("log")
    times = [figure.value for figure in figures]
    _log(axes.yaxis, min(times), max(times), "ms")
    ends = []
    for colour, who in zip(_LINES, dict.fromkeys(figure.who for figure in figures), strict=False):
        line = [figure for figure in figures if figure.who == who]
        xs = [_sessions(figure) for figure in line]
        axes.plot(xs, [figure.value for figure in line], marker="o", markersize=4, color=colour)
        for x, figure in zip(xs, line, strict=True):
            if figure.low is not None and figure.high is not None:
                axes.plot([x, x], [figure.low, figure.high], color=colour, linewidth=3, alpha=0.3)
        text = f"{row_name(line[-1])}: {_short(line[-1].value, 'ms')}"
        ends.append((line[-1].value, text, colour))
    places = sorted({_sessions(figure) for figure in figures})
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.minorticks_off()
    axes.set_xlabel("sessions in the store, log scale")
    axes.set_ylabel("time, log scale")
    axes.grid()
    _name_ends(axes, ends)
    return drawing


def _sessions(figure: Figure) -> int:
    return int(figure.at.replace(",", ""))
