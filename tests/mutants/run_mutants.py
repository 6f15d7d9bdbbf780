"""Break a copy of the package, one mutant at a time, and see that the named test notices.

    python -m tests.mutants.run_mutants [--only TEXT] [--workers 2]

The same tests run on an unchanged copy first, where each has to pass: a test that fails anyway
kills nothing. Exits with 1 if a mutant survives, with 2 if one cannot be made or tried.
"""

# ruff: noqa: T201 - it is a command

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

CHECKOUT = Path(__file__).parents[2]
COPIED = ("sessionstore", "tests", "pyproject.toml")
TIMEOUT = 60
"""Seconds for one test: a mutant may wait for ever, which is a failure, too."""


class Unusable(Exception):
    """A mutant that cannot be made, or a test that cannot judge."""


@dataclass(frozen=True)
class Outcome:
    """What the named test said of a mutant."""

    mutant: Mutant
    killed: bool
    why: str
    seconds: float


@contextmanager
def copy_of_the_checkout() -> Iterator[Path]:
    """Yield a directory with a copy of the package and its tests, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        home = Path(directory) / "checkout"
        home.mkdir()
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, home / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, home / name)
        yield home


def mutated(mutant: Mutant, text: str) -> str:
    """Return the text of the mutant's file with the change made.

    Raises:
        Unusable: the text no longer has what the mutant replaces, exactly once.
        SyntaxError: what comes out is no Python.
    """
    for old, new in mutant.replace:
        if text.count(old) != 1:
            raise Unusable(
                f"{mutant.name}: {mutant.file} has this text {text.count(old)} times instead of"
                f" once; mend the mutant:\n{old}"
            )
        text = text.replace(old, new)
    compile(text, mutant.file, "exec")
    return text


def apply(mutant: Mutant, package: Path) -> None:
    """Change the package in place; raises as :func:`mutated` does."""
    path = package / mutant.file
    path.write_text(mutated(mutant, path.read_text()))


def run_tests(home: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy against the copy."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE_", "COV_", "PYTEST_", "SESSIONSTORE_"))
    }
    environment["PYTHONPATH"] = str(home)  # in front of the installed package
    where = subprocess.run(
        [sys.executable, "-c", "import sessionstore; print(sessionstore.__file__)"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if where.stdout.strip() != str(home / "sessionstore" / "__init__.py"):
        raise Unusable(f"the copy is not what gets imported: {where.stdout}{where.stderr}")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "--tb=short", f"--timeout={TIMEOUT}"),
            *(f"--basetemp={home.parent / 'tmp'}", *tests),
        ],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def try_mutant(mutant: Mutant) -> Outcome:
    """Run the named test against the mutant."""
    begin = time.monotonic()
    with copy_of_the_checkout() as home:
        apply(mutant, home / "sessionstore")
        done = run_tests(home, [mutant.test])
    last = done.stdout.strip().splitlines()[-1:]
    # 1: something failed. It has to be the test itself, not what looks around it afterwards.
    failed = done.returncode == 1 and " failed" in "".join(last)
    if not failed and done.returncode != 0:
        raise Unusable(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout[-3000:]}")
    return Outcome(mutant, failed, _reason(done.stdout), time.monotonic() - begin)


def _reason(output: str) -> str:
    """Return the first line that pytest marks as the error."""
    lines = (line[4:] for line in output.splitlines() if line.startswith("E   "))
    return next(lines, "").strip()[:150]


def check_unchanged(mutants: list[Mutant]) -> None:
    """See that every named test passes without a mutant.

    Raises:
        Unusable: one does not, or was skipped, or is not there.
    """
    tests = sorted({mutant.test for mutant in mutants})
    with copy_of_the_checkout() as home:
        stale = []
        for mutant in mutants:  # all of them, before time is spent on the first
            with tempfile.TemporaryDirectory() as scratch:
                shutil.copytree(home / "sessionstore", Path(scratch) / "package")
                try:
                    apply(mutant, Path(scratch) / "package")
                except (Unusable, OSError, SyntaxError) as trouble:
                    stale.append(str(trouble))
        if stale:
            raise Unusable("\n\n".join(stale))
        done = run_tests(home, tests)
    # A named test that is not there ends pytest with 4.
    if done.returncode != 0 or "skipped" in done.stdout.strip().splitlines()[-1]:
        raise Unusable(f"without a mutant not every named test passes:\n{done.stdout[-3000:]}")
    print(f"without a mutant: {len(tests)} named tests pass", flush=True)


def show(outcomes: list[Outcome]) -> None:
    """Print the table."""
    rows = [
        (
            outcome.mutant.name,
            str(outcome.mutant.promise),
            outcome.mutant.test,
            "killed" if outcome.killed else "SURVIVED",
        )
        for outcome in outcomes
    ]
    heads = ("mutant", "promise", "named test", "outcome")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    survivors = sum(not outcome.killed for outcome in outcomes)
    promises = len({outcome.mutant.promise for outcome in outcomes})
    print(f"\n{len(outcomes)} mutants of {promises} promises, {survivors} survived")


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", metavar="TEXT", help="mutants whose name or test has this text")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="also say how each test failed")
    given = parser.parse_args(arguments)
    mutants = [
        mutant
        for mutant in MUTANTS
        if not given.only or given.only in mutant.name or given.only in mutant.test
    ]
    if not mutants:
        parser.error(f"no mutant has {given.only!r}")
    try:
        check_unchanged(mutants)
        with ThreadPoolExecutor(given.workers) as workers:
            outcomes = []
            for outcome in workers.map(try_mutant, mutants):
                outcomes.append(outcome)
                word = "killed" if outcome.killed else "SURVIVED"
                print(f"{word}: {outcome.mutant.name} ({outcome.seconds:.0f} s)", file=sys.stderr)
                if given.verbose:
                    print(f"    {outcome.why}", file=sys.stderr)
    except Unusable as trouble:
        print(trouble, file=sys.stderr)
        return 2
    show(outcomes)
    return 0 if all(outcome.killed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
