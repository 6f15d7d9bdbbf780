"""Check a release: ``python -m tools.release``, or ``make release-check``.

It builds an sdist and a wheel into build/release/dist, looks at both, installs each on every Python
that can be had, without extras and with each, and uses it there. It ends with a table, and with 1
if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path

from tools.release import artifacts, pythons, report
from tools.release.children import Children
from tools.release.project import Project
from tools.release.trial import TRIALS, Asked

CHECKOUT = Path(__file__).parents[2]
PLACE = CHECKOUT / "build" / "release"
WORK = PLACE / "work"
"""What is removed at the end, however it ends."""
OLDEST = "cli-oldest"
"""The extra `cli`, with the lowest version of each requirement."""


def main(argv: Sequence[str]) -> int:
    """Check the release of this checkout; return the exit code."""
    chosen = _arguments(argv)
    for place in (WORK, PLACE / "dist"):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    (WORK / "tmp").mkdir()
    children = Children({**os.environ, "TMPDIR": str(WORK / "tmp")})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: children.end())
    try:
        return _check(chosen, children)
    except InterruptedError:
        say("interrupted")
        return 130
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--python", action="append", metavar="3.X", help="only this one")
    parser.add_argument("--extra", action="append", metavar="NAME", help="only this one, or none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    return parser.parse_args(argv)


def say(text: str) -> None:
    """Tell a person how far it is."""
    print(f"release-check: {text}", file=sys.stderr, flush=True)


def _check(chosen: argparse.Namespace, children: Children) -> int:
    project = Project.of(CHECKOUT)
    if children.run(["git", "-C", str(CHECKOUT), "status", "--porcelain"]).output:
        say("there are changes that are not committed: a release is built from a clean clone")
    say(f"building sessionstore {project.version}")
    try:
        built = artifacts.build(project, PLACE / "dist", WORK, children)
    except artifacts.NotBuilt as error:
        say(str(error))
        return 1
    faults: list[str] = []
    for name, found in artifacts.faults(project, built, children):
        say(f"{name}: {'failed' if found else 'ok'}")
        faults += [f"{name}: {one}" for one in found]
    minors = chosen.python or pythons.MINORS
    each = [pythons.find(minor, children, WORK / "pythons") for minor in minors]
    absent = [python for python in each if python.executable is None]
    rows = _rows(list(_asked(chosen, project, built, each)), chosen.jobs, children)
    if not rows:
        faults.append("there is no Python to try it on")
    faults += report.faults_of_classifiers(project.minors, rows, absent)
    print(report.table(rows, absent, list(TRIALS)))
    for text in (*report.failures(rows), *faults):
        print(f"\n{text}")
    return 1 if faults or not all(row.is_good for row in rows) else 0


def _asked(
    chosen: argparse.Namespace,
    project: Project,
    built: artifacts.Artifacts,
    each: Sequence[pythons.Python],
) -> Iterator[tuple[report.Row, Asked]]:
    oldest = WORK / "oldest.txt"
    oldest.write_text("\n".join(project.oldest))
    extras = chosen.extra or ["none", *project.extras, OLDEST]
    for python, kind, extra in product(each, ("wheel", "sdist"), extras):
        if python.executable is None or (kind == "sdist" and extra == OLDEST):
            continue  # both artifacts require the same
        asked = Asked(
            python=python.executable,
            artifact=str(getattr(built, kind)),
            version=project.version,
            extra={"none": "", OLDEST: "cli"}.get(extra, extra),
            place=str(WORK / f"{python.minor}-{kind}-{extra}"),
            # They are the same, whatever was installed.
            source=str(built.source) if (kind, extra) == ("wheel", "dev") else "",
            # Developers have the pinned versions.
            pins=str({OLDEST: oldest, "dev": CHECKOUT / "constraints.txt"}.get(extra, "")),
        )
        yield report.Row(python, kind, extra), asked


def _rows(
    asked: Sequence[tuple[report.Row, Asked]], jobs: int, children: Children
) -> list[report.Row]:
    """Try everything, a few at a time, and return the rows in their order."""
    done: dict[int, report.Row] = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {
            pool.submit(_try, row, one, children): number for number, (row, one) in enumerate(asked)
        }
        for future in as_completed(futures):
            row, seconds = future.result()
            done[futures[future]] = row
            failed = [column for column, text in row.results.items() if text]
            outcome = f"{', '.join(failed)} failed" if failed else "ok"
            say(f"{len(done)} of {len(asked)}: {row.name}: {outcome}, {seconds:.0f} s")
    return [done[number] for number in sorted(done)]


def _try(row: report.Row, asked: Asked, children: Children) -> tuple[report.Row, float]:
    begun = time.monotonic()
    done = children.run([sys.executable, "-m", "tools.release.trial", asked.dumps()], CHECKOUT)
    shutil.rmtree(asked.place, ignore_errors=True)
    try:
        results = json.loads(done.output)
    except ValueError:
        results = {"install": f"the trial ended with {done.code}:\n{done.said}"}
    tried = report.Row(row.python, row.artifact, row.extra, results)
    return tried, time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
