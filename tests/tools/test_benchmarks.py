"""The benchmarks measure what they say, and their report hides nothing."""

from __future__ import annotations

import os
import platform
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import __main__ as suite
from benchmarks import fixtures, growth, images, peers, report, step_peers, steps
from benchmarks.harness import Options
from benchmarks.limits import GOALS, TIMES, Figure, Results
from sessionstore import SessionStore

SMALL = Results(
    machine={"cores": "2", "file system": "ext4"},
    quick=False,
    repeats=3,
    absent={"diskcache": "ModuleNotFoundError: No module named 'diskcache'"},
    contenders=[{"name": "naive JSON", "survives": "process", "does": "a | b"}],
    skipped=["listing of 1,000,000 sessions: 20 GB of disk"],
    figures=[
        Figure("save, power", "over the floor", TIMES, [1.2, 1.1, 1.3], goal="power 4 KiB"),
        Figure("load", "over reading", TIMES, [1.0], goal="load"),
        Figure("save, power", "checkpoint / save, 4 KiB", TIMES, [1.9], limit=1.6),
        *(
            Figure("p", f"{who}, 4 KiB", "µs", [took], plot="save, power", who=who, at="4 KiB")
            for who, took in (("sessionstore", 600.0), ("fast one", 300.0), ("slow one", 900.0))
        ),
        Figure("together", "a", "saves/s", [10.0], plot="together", who="sessionstore", at="64"),
        Figure("together", "b", "saves/s", [30.0], plot="together", who="fast one", at="64"),
    ],
)


def test_results_come_back_from_json_equal(tmp_path: Path) -> None:
    file = tmp_path / "performance.json"
    file.write_text(report.as_json(SMALL), encoding="utf-8")
    assert report.load(file) == SMALL


def test_the_report_names_every_miss_loss_and_gap() -> None:
    text = report.as_markdown(SMALL)
    lines = text.splitlines()
    goal = GOALS["power 4 KiB"].what
    [line] = [line for line in lines if line.startswith(f"| {goal} |")]
    assert f"| 1.2 {TIMES} | 1.1 to 1.3 | ≤ 1.15 | ≤ 1.08 | **MISSED (not 1 of 3)** |" in line
    assert any("load of 64 KiB" in line and "kept, aim reached" in line for line in lines)
    assert f"- checkpoint / save, 4 KiB: 1.9 {TIMES}, the limit is 1.6 {TIMES}" in lines
    assert any("**fast one** 300 µs" in line and f"2 {TIMES} ahead of us" in line for line in lines)
    assert any("**fast one** 30 saves/s" in line and f"3 {TIMES} ahead" in line for line in lines)
    assert not any("**slow one**" in line for line in lines)
    assert any(line.startswith("**Absent: diskcache**") for line in lines)
    assert "**Left out:** listing of 1,000,000 sessions: 20 GB of disk." in lines
    unmeasured = [line for line in lines if "not measured" in line]
    assert len(unmeasured) == len(GOALS) - 2


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    tables: list[list[str]] = [[]]
    for line in report.as_markdown(SMALL).splitlines():
        if line.startswith("|"):
            tables[-1].append(line.replace("\\|", ""))
        elif tables[-1]:
            tables.append([])
    found = [rows for rows in tables if rows]
    assert len(found) >= 4
    for rows in found:
        assert len({row.count("|") for row in rows}) == 1, rows


def test_a_miss_is_named_on_the_terminal_too() -> None:
    text = report.as_text(SMALL)
    assert "  MISSED save, power: over the floor" in text
    assert "absent: diskcache" in text


def test_a_run_measures_every_peer_or_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "STEPS", 12)
    out = tmp_path / "out"
    arguments = ["--quick", "--only", "growth", "--dir", str(tmp_path), "--out", str(out)]
    assert suite.main(arguments) == 0
    results = report.load(out / "performance.json")
    seen = {figure.who for figure in results.figures if figure.plot == "growth, time"}
    assert seen | set(results.absent) >= {kind.name for kind in peers.KINDS}
    assert {"floor", "sessionstore, power", "SQLite row, FULL"} <= seen
    document = (out / "performance.md").read_text(encoding="utf-8")
    assert platform.node() not in document
    assert str(tmp_path) not in document
    assert os.listdir(tmp_path) == ["out"], "what a run makes is removed"


def test_steps_are_measured_beside_every_peer_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "REPLAYED", 20)
    monkeypatch.setattr(images, "_KINDS", {})
    out = tmp_path / "out"
    arguments = ["--quick", "--only", "steps", "--dir", str(tmp_path), "--out", str(out)]
    assert suite.main(arguments) == 0
    results = report.load(out / "performance.json")
    seen = {figure.who for figure in results.figures}
    assert seen | set(results.absent) >= {kind.name for kind in step_peers.KINDS}
    assert seen >= {kind.name for kind in step_peers.OWN}
    judged = [figure.goal for figure in results.figures if figure.goal]
    assert judged.count("step") == 1
    assert judged.count("replay") == 2
    document = (out / "performance.md").read_text(encoding="utf-8")
    assert "## Keeping the result of a step" in document
    assert "plots/step-power.svg" in document
    assert os.listdir(tmp_path) == ["out"], "what a run makes is removed"


def test_an_append_beside_a_step_has_the_bytes_of_its_records(tmp_path: Path) -> None:
    sizes = []
    for kind, name in ((step_peers.SessionSteps, "steps"), (step_peers.SameRecords, "main")):
        keeper = kind(tmp_path / name)
        keeper.step()
        journals = tmp_path / name / "store" / "sessions" / "bench" / "journals"
        lines = (journals / f"{name}.jsonl").read_bytes().splitlines()
        keeper.close()
        sizes.append([len(line) for line in lines])
    step, append = sizes
    assert len(step) == len(append) == 2
    assert abs(sum(step) - sum(append)) < 32  # the numbers differ in length


def test_a_peer_is_installed_by_make_bench_in_a_pinned_version() -> None:
    wanted = {kind.package for kind in peers.KINDS} | {kind.package for kind in step_peers.KINDS}
    wanted.discard("")  # the standard library
    makefile = Path("Makefile").read_text(encoding="utf-8")
    [line] = [line for line in makefile.splitlines() if line.startswith("PEERS :=")]
    assert set(line.split()[2:]) == wanted
    pinned = Path("benchmarks/constraints.txt").read_text(encoding="utf-8").split()
    assert all("==" in pin and "/" not in pin for pin in pinned)
    assert {pin.split("==")[0] for pin in pinned} >= wanted


def test_what_was_measured_before_an_interrupt_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(options: Options) -> list[Figure]:
        (options.directory / "something").touch()
        return [Figure("load", "over reading", TIMES, [1.0], goal="load")]

    def interrupt(options: Options) -> list[Figure]:
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "GROUPS", {"load": measure, "listing": interrupt})
    suite.main(["--dir", str(tmp_path), "--out", str(tmp_path / "out")])
    results = report.load(tmp_path / "out" / "performance.json")
    assert results.interrupted
    assert [figure.goal for figure in results.figures] == ["load"]
    assert "interrupted" in (tmp_path / "out" / "performance.md").read_text(encoding="utf-8")
    assert os.listdir(tmp_path) == ["out"]


def test_a_populated_store_is_sound_and_holds_what_it_says(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with fixtures.populated(root, 100, stale=7) as there:
        assert there.sessions == sum(there.statuses.values()) == 100
        with SessionStore(root, create=False) as store:
            assert not store.check().findings
            items = store.find(limit=None).items
            assert Counter(str(item.status) for item in items) == there.statuses
            assert there.statuses["active"] == there.stale == 7
            kept = [item for item in items if item.latest_checkpoint_id is not None]
            assert len(kept) == 34
            found = store.find(resumable=True, verify=True, limit=None)
            assert len(found) == there.resumable == 100
            assert len(store.find(stale=True, limit=None)) == 7
            state = (root / "sessions" / items[0].session_id / "state.json").stat()
            assert 1024 <= state.st_size <= 2048
            assert len(store.recover().swept) == 7
            assert len(store.find(status="active")) == 0
    assert not root.exists()
