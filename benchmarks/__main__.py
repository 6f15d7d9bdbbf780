"""Run the benchmarks and write docs/performance.md. ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import pydantic

import sessionstore
from benchmarks import (
    claims,
    concurrency,
    contention,
    growth,
    imports,
    journal_bytes,
    journals,
    listing,
    many_checkpoints,
    peers,
    report,
    save,
    save_places,
    steps,
)
from benchmarks.harness import Group, Options, say
from benchmarks.limits import Results
from sessionstore.durable.mounts import is_local

GROUPS: dict[str, Group] = {
    **save.GROUPS,
    **save_places.GROUPS,
    **growth.GROUPS,
    **journals.GROUPS,
    **journal_bytes.GROUPS,
    **steps.GROUPS,
    **concurrency.GROUPS,
    **claims.GROUPS,
    **contention.GROUPS,
    **many_checkpoints.GROUPS,
    **imports.GROUPS,
    **listing.GROUPS,
}
_LAST = "listing"
"""It takes long and repeats within itself; and a file system that just removed very many files
is slow for a while."""
_REPEATS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return 1 if a limit is missed and ``--strict`` was given."""
    given = _parser().parse_args(arguments)
    if given.render:
        _write(report.load(_results_file(given.out)), given.out)
        return 0
    # Not the system's temporary directory: it may be a tmpfs, where a flush costs nothing.
    with tempfile.TemporaryDirectory(dir=given.dir or Path.cwd(), prefix=".bench-") as path:
        million = given.million or given.million_in is not None
        options = Options(Path(path), given.quick, million, given.million_in)
        results = Results(
            machine=describe_machine(options.directory),
            quick=given.quick,
            repeats=given.repeat or (1 if given.quick else _REPEATS),
            absent=peers.absent(),
            versions=peers.versions(),
            contenders=peers.described(),
            skipped=options.skipped,
        )
        for name, why in results.absent.items():
            say(f"absent: {name}: {why}\n")
        try:
            run(results, options, given.only or list(GROUPS))
        except KeyboardInterrupt:
            results.interrupted = True
            say("interrupted: this is what was measured so far\n")
    say("")
    print(report.as_text(results))
    if not given.only or given.out != _DOCS:  # a part must not replace the whole
        _write(results, given.out)
    return 1 if results.missed and given.strict else 0


def run(results: Results, options: Options, names: list[str]) -> None:
    """Measure the groups, all of them once before any is repeated, and the listing at the end."""
    for turn in range(results.repeats):
        for name in names:
            if name != _LAST:
                say(f"{name}: repeat {turn + 1} of {results.repeats}")
                results.take(GROUPS[name](options))
    if _LAST in names:
        results.take(GROUPS[_LAST](options))


_DOCS = Path("docs")
_RESULTS = Path("benchmarks/results/performance.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure sessionstore beside the floor and peers."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, one repeat")
    parser.add_argument("--million", action="store_true", help="also list a million sessions")
    parser.add_argument(
        "--million-in",
        type=Path,
        metavar="DIR",
        help="the same, in a store that `python -m benchmarks.fixtures DIR` made (once: it is"
        " swept)",
    )
    parser.add_argument("--dir", type=Path, help="measure the file system of this directory")
    parser.add_argument("--repeat", type=int, help=f"how often ({_REPEATS}; quick: 1)")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(GROUPS),
        help="this group only (may be repeated); writes no files unless --out says where",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=_DOCS,
        help="where performance.json, performance.md and plots/ go (docs)",
    )
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: write them anew from the JSON"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is missed")
    return parser


def _results_file(out: Path) -> Path:
    """Return where the JSON goes: not among the pages of the docs, which are read by people."""
    return _RESULTS if out == _DOCS else out / "performance.json"


def _write(results: Results, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    file = _results_file(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(report.as_json(results), encoding="utf-8")
    results = report.load(file)  # as rounded: --render makes the same bytes of it
    (out / "performance.md").write_text(report.as_markdown(results), encoding="utf-8")
    try:
        from benchmarks import plots
    except ModuleNotFoundError as missing:
        print(f"no plots: {missing}; `make bench` installs what they need", file=sys.stderr)
        return
    plots.draw_all(results, out / "plots")


def describe_machine(directory: Path) -> dict[str, str]:
    """Return what the figures depend on; nothing that names the machine."""
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "file system": is_local(str(directory))[1],
        "python": platform.python_version(),
        "pydantic": pydantic.VERSION,
        "sessionstore": sessionstore.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
