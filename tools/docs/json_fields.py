"""The names of the fields that commands write with ``-o json``, taken from what they write."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from sessionstore import SessionStore
from sessionstore.cli.app import app

_DIES = """
import os, sys
from sessionstore import SessionStore
session = SessionStore(sys.argv[1]).create("goal", session_id="dead")
session.checkpoint("step")
os._exit(0)
"""
_RUNS = """
ls
show paused
show paused done
explain paused dead torn held
history paused --forks
diff held
stats
watch --timeout 0.1s
tail paused
journal paused
journal paused messages
steps paused
recover
label paused kind=mail
cancel held
fork paused
doctor
fsck
prune --keep-last 1
recover --apply
mark done failed --reason wrong
retry dead
export paused -O {archive}
import {archive} --as copy
delete --yes done
"""
"""One after the other, on a store that has one session of each kind."""

_ELSEWHERE = (
    "forked_from", "holder", "journals", "labels", "liveness", "owner", "recovery", "state",
    "value",
)  # fmt: skip
"""Objects whose keys are data, or the fields of a state or of a Python class, listed as such."""


def json_fields() -> set[str]:
    """Return each schema with the path of each of its fields, as ``name/1 sessions.status``."""
    with tempfile.TemporaryDirectory() as place:
        root, archive = Path(place) / "store", Path(place) / "export.tar"
        _fill(root)
        with SessionStore(root).claim("held") as session:
            session.state.data_buffer["draft"] = "Dear all,"
            session.save()
            written = [
                item
                for run in _RUNS.format(archive=archive).strip().splitlines()
                for item in _written(root, run)
            ]
    return {f"{item['schema']} {path}" for item in written for path in _paths(item)}


def _fill(root: Path) -> None:
    with SessionStore(root) as store:
        with store.create("goal", session_id="paused", labels={"kind": "report"}) as session:
            session.journal("messages").append("hello", key="first")
            session.step("plan", list)
            session.pause(node="ask")
        with store.create("goal", session_id="done") as session:
            session.complete(output={"sent": 1})
        with store.create("goal", session_id="held") as session:
            session.checkpoint("step", node="ask")
        store.fork("paused", new_id="child")
    subprocess.run([sys.executable, "-c", _DIES, str(root)], check=True)
    torn = root / "sessions" / "torn"
    torn.mkdir(mode=0o700)
    (torn / "state.json").write_text("{")


def _written(root: Path, run: str) -> Iterator[dict[str, Any]]:
    """Yield each object that a command writes: one, or one a line."""
    result = CliRunner().invoke(app, ["--root", str(root), *run.split(), "-o", "json"])
    decoder, text = json.JSONDecoder(), result.stdout.strip()
    if not text:
        raise RuntimeError(f"{run} wrote nothing: {result.stderr}")
    while text:
        item, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        yield item


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield prefix + key
            if key not in _ELSEWHERE or isinstance(inner, list):
                yield from _paths(inner, f"{prefix}{key}.")
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, prefix)
