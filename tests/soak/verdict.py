"""Compare what the processes of a soak were told with what the store holds: nothing may be lost.

The journals are the one side, the files of the store, read without its help, the other.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass
class Verdict:
    """What a soak came to."""

    saves: int = 0
    checkpoints: int = 0
    holds: int = 0
    takeovers: int = 0
    """How many holds followed one whose process died."""
    sweeps: int = 0
    swept: int = 0
    deletes: int = 0
    reads: int = 0
    in_flight: int = 0
    """How many processes died in the middle of a call of the store."""
    losses: list[str] = field(default_factory=list)
    double_owners: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Everything else that is promised and was not kept."""

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.losses or self.double_owners or self.broken)


@dataclass
class Life:
    """What was told of one incarnation of a session."""

    session_id: str
    incarnation: str
    acks: list[Line] = field(default_factory=list)
    wants: list[Line] = field(default_factory=list)
    seen: list[tuple[float, int, Line]] = field(default_factory=list)
    """When a look began, the revision that it found, the line of it."""
    cut_resumes: int = 0
    """How many processes died while they resumed it."""
    cut_creates: set[str] = field(default_factory=set)
    """What processes stored that died while they created it."""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.session_id} ({self.incarnation[:8]})"

    def may_hold(self, revision: int) -> set[str]:
        """Return what a revision may hold: what was acknowledged, or what was under way since.

        A sweep that marks what a dead process left writes a revision without changing the data.
        """
        acked = {line["r"]: line["d"] for line in self.acks}
        if revision in acked:
            return {acked[revision]}
        base = max((number for number in acked if number < revision), default=0)
        under_way = {line["d"] for line in self.wants if base < line["r"] <= revision}
        if not base:
            under_way |= self.cut_creates
        if self.cut_resumes:  # its process died before it learnt which checkpoint it restored
            under_way |= {line["d"] for line in self.acks if line.get("k")}
            under_way |= {line["d"] for line in self.wants if line["r"] not in acked}
        return under_way | ({acked[base]} if base else set())


@dataclass
class Hold:
    """From the time that a process was told that it holds a session to its letting go."""

    session_id: str
    pid: int
    began: float
    ended: float
    let_go: bool = False


def judge(journals: Path, root: Path, killed: dict[int, float]) -> Verdict:
    """Return what became of what the store acknowledged.

    ``killed`` has the times at which the parent killed its children, by pid.
    """
    by_process = [list(_lines(path)) for path in sorted(journals.glob("*.jsonl"))]
    verdict = Verdict()
    lives = _lives(by_process, verdict)
    _count_in_flight(by_process, verdict)
    _judge_holds(by_process, verdict)
    _judge_sweeps(by_process, killed, verdict)
    for life in lives.values():
        _judge_acks(life, verdict)
        _judge_looks(life, verdict)
    by_session: dict[str, list[Life]] = defaultdict(list)
    for life in lives.values():
        by_session[life.session_id].append(life)
    for session_id, all_lives in by_session.items():
        _judge_session(session_id, all_lives, by_process, root, verdict)
    return verdict


def _lines(path: Path) -> Iterator[Line]:
    for text in path.read_text().splitlines():
        yield json.loads(text)


def _lives(by_process: list[list[Line]], verdict: Verdict) -> dict[tuple[str, str], Life]:
    lives: dict[tuple[str, str], Life] = {}
    cut: dict[str, int] = defaultdict(int)
    cut_creates: dict[str, set[str]] = defaultdict(set)

    def life(line: Line) -> Life:
        key = line["s"], line["i"]
        return lives.setdefault(key, Life(*key))

    for lines in by_process:
        began: dict[str, float] = {}
        for line in lines:
            kind = line["e"]
            if kind == "take":
                began[line["s"]] = line["t"]
            elif kind == "took":
                if line["how"] == "claim" and line["status"] != "active":
                    life(line).seen.append((began[line["s"]], line["r"], line))
                else:  # a create and a resume have written, and a claim after a death
                    life(line).seen.append((began[line["s"]], line["r"] - 1, line))
                    life(line).acks.append(line)
            elif kind == "want":
                life(line).wants.append(line)
            elif kind == "ack":
                life(line).acks.append(line)
                _count(line, verdict)
            elif kind == "read":
                life(line).seen.append((line["began"], line["r"], line))
                verdict.reads += 20
            else:
                _count(line, verdict)
        if lines and lines[-1]["e"] == "take" and lines[-1]["how"] == "resume":
            cut[lines[-1]["s"]] += 1
        if lines and lines[-1]["e"] == "take" and lines[-1]["how"] == "create":
            cut_creates[lines[-1]["s"]].add(lines[-1]["d"])
    for each in lives.values():
        each.cut_resumes = cut[each.session_id]
        each.cut_creates = cut_creates[each.session_id]
    return lives


def _count(line: Line, verdict: Verdict) -> None:
    kind = line["e"]
    if kind == "ack":
        verdict.saves += 1
        verdict.checkpoints += line["k"] is not None
    elif kind == "deleted":
        verdict.deletes += 1
    elif kind == "double":
        verdict.double_owners.append(f"{line['s']}: pid {line['p']} was not alone")
    elif kind == "wrong":
        trouble = {name: line[name] for name in line if name not in ("e", "t")}
        verdict.broken.append(json.dumps(trouble))


def _count_in_flight(by_process: list[list[Line]], verdict: Verdict) -> None:
    for lines in by_process:
        if lines and lines[-1]["e"] in ("want", "take", "delete", "sweep"):
            verdict.in_flight += 1


def _judge_holds(by_process: list[list[Line]], verdict: Verdict) -> None:
    """Find two processes that held one session at the same time."""
    holds: dict[str, list[Hold]] = defaultdict(list)
    for lines in by_process:
        current: Hold | None = None
        for line in lines:
            if line["e"] == "took":
                current = Hold(line["s"], line["p"], line["t"], line["t"])
                holds[line["s"]].append(current)
            elif current is not None and not current.let_go:
                current.ended = line["t"]
                current.let_go = line["e"] == "leave"
    for session_id, found in holds.items():
        found.sort(key=lambda hold: hold.began)
        verdict.holds += len(found)
        latest = found[0]
        for one, other in pairwise(found):
            verdict.takeovers += not one.let_go
            latest = max(latest, one, key=lambda hold: hold.ended)
            if other.began < latest.ended:
                verdict.double_owners.append(
                    f"{session_id}: pid {other.pid} got it at {other.began:.6f},"
                    f" pid {latest.pid} had it until {latest.ended:.6f}"
                )


def _judge_sweeps(by_process: list[list[Line]], killed: dict[int, float], verdict: Verdict) -> None:
    """Find a session that was marked while the process that held it lived."""
    ended = {lines[-1]["p"]: lines[-1]["t"] for lines in by_process if lines}
    for lines in by_process:
        verdict.sweeps += sum(line["e"] == "sweep-done" for line in lines)
        for line in lines:
            if line["e"] != "swept":
                continue
            verdict.swept += 1
            died = killed.get(line["pid"])
            if died is None:
                left = [end for pid, end in ended.items() if pid == line["pid"]]
                died = left[0] if left else None
            if died is None or died > line["t"]:
                verdict.broken.append(
                    f"{line['s']}: swept at {line['t']:.6f} though its holder,"
                    f" pid {line['pid']}, was not killed before: {line['why']}"
                )


def _judge_acks(life: Life, verdict: Verdict) -> None:
    """Each revision is acknowledged once at the most, to the process that wrote it."""
    seen: dict[int, Line] = {}
    for line in life.acks:
        if other := seen.get(line["r"]):
            verdict.losses.append(
                f"{life.name}: revision {line['r']} was acknowledged to pid {other['p']} and to"
                f" pid {line['p']}: one of the two is lost"
            )
        seen[line["r"]] = line


def _judge_looks(life: Life, verdict: Verdict) -> None:
    """Whoever looks after an acknowledgement finds that revision or a newer one."""
    acks = sorted((line["t"], line["r"]) for line in life.acks)
    times = [time for time, _ in acks]
    newest: list[int] = []
    for _, revision in acks:
        newest.append(max(revision, newest[-1] if newest else 0))
    for began, revision, line in life.seen:
        before = bisect_left(times, began)
        if before and revision < newest[before - 1]:
            verdict.losses.append(
                f"{life.name}: pid {line['p']} found revision {revision} after"
                f" {newest[before - 1]} had been acknowledged"
            )
        is_claim = line["e"] == "took" and line["how"] == "claim"
        if is_claim and line["d"] not in life.may_hold(revision):
            verdict.losses.append(f"{life.name}: revision {revision} holds what nobody stored")


def _judge_session(
    session_id: str,
    lives: list[Life],
    by_process: list[list[Line]],
    root: Path,
    verdict: Verdict,
) -> None:
    acked = [life for life in lives if life.acks]
    acked.sort(key=lambda life: min(line["t"] for line in life.acks))
    for one, other in pairwise(acked):
        last = max(line["t"] for line in one.acks)
        if last > min(line["t"] for line in other.acks):
            verdict.losses.append(f"{other.name} was written while {one.name} was there")
    attempts = [_after(lines, "delete", session_id) for lines in by_process]
    deletes = sum(landed for landed, _ in attempts) + sum(open_ for _, open_ in attempts)
    if len(lives) > 1 + deletes:
        verdict.losses.append(f"{session_id}: {len(lives)} lives, but {deletes} deletes")
    path = root / "sessions" / session_id / "state.json"
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        if len(acked) > deletes:
            verdict.losses.append(f"{session_id} is gone, and nobody deleted it")
        return
    except ValueError as error:
        verdict.losses.append(f"{session_id}: state.json is damaged: {error}")
        return
    final = next((life for life in lives if life.incarnation == state["incarnation"]), None)
    if final is None or not final.acks:
        return  # its creator died before it could say so
    if final is not acked[-1]:
        verdict.losses.append(f"{acked[-1].name} is gone, {final.name} is back")
        return
    _judge_end(final, state, path.parent, verdict)
    _judge_gaps(final, state["revision"], by_process, verdict)


def _after(lines: list[Line], kind: str, session_id: str) -> tuple[int, int]:
    """Return how many attempts succeeded, and whether the last one was cut off by a death."""
    mine = [line for line in lines if line.get("s") == session_id]
    done = sum(line["e"] == f"{kind}d" for line in mine)
    return done, int(bool(mine) and mine[-1]["e"] == kind)


def _judge_end(life: Life, state: Line, directory: Path, verdict: Verdict) -> None:
    """The state on disk is the last that was acknowledged, or newer; its checkpoints load."""
    last = max(life.acks, key=lambda line: line["r"])
    if state["revision"] < last["r"]:
        verdict.losses.append(
            f"{life.name} ends at revision {state['revision']}, {last['r']} was acknowledged"
        )
    if state["data_buffer"].get("digest") not in life.may_hold(state["revision"]):
        verdict.losses.append(f"{life.name} ends with data that nobody stored at its revision")
    if not _is_sealed(state["data_buffer"]):
        verdict.losses.append(f"{life.name} ends with data that is no whole")
    kept: dict[int, set[str]] = defaultdict(set)
    for path in (directory / "checkpoints").glob("*.json"):
        try:
            checkpoint = json.loads(path.read_bytes())
        except ValueError as error:
            verdict.losses.append(f"{life.name}: checkpoint {path.stem} is damaged: {error}")
            continue
        kept[checkpoint["revision"]].add(checkpoint["data_buffer"].get("digest"))
        if not _is_sealed(checkpoint["data_buffer"]):
            verdict.losses.append(f"{life.name}: checkpoint {path.stem} is no whole")
    for line in life.acks:
        if line.get("k") is not None and not (
            (directory / "checkpoints" / f"{line['k']}.json").exists()
            and line["d"] in kept[line["r"]]
        ):
            verdict.losses.append(f"{life.name}: checkpoint {line['k']} is lost")
        # A resume goes on from what was saved last, or goes back to a checkpoint, and keeps what
        # was newer as another.
        if line.get("how") == "resume":
            before = line["r"] - 1
            held = life.may_hold(before)
            if line["d"] not in held and not held & kept.get(before, set()):
                verdict.losses.append(f"{life.name}: the resume to {line['r']} lost {before}")


def _judge_gaps(life: Life, newest: int, by_process: list[list[Line]], verdict: Verdict) -> None:
    """Each revision was acknowledged, or was under way when its process died."""
    acked = {line["r"] for line in life.acks}
    wanted = {line["r"] for line in life.wants}
    gaps = [number for number in range(1, newest + 1) if number not in acked | wanted]
    # A sweep's report names no revision, and a resume that died did not learn it.
    explained = 0
    for lines in by_process:
        explained += sum(line["e"] == "swept" and line["s"] == life.session_id for line in lines)
        mine = [line for line in lines if line.get("s") == life.session_id]
        explained += bool(mine) and mine[-1]["e"] == "take"
        cut = [line["e"] for line in lines if line["e"] in ("sweep", "sweep-done")]
        explained += bool(cut) and cut[-1] == "sweep"
    if len(gaps) > explained:
        verdict.broken.append(
            f"{life.name}: revisions {_brief(gaps)} were never acknowledged, and only"
            f" {explained} writes can be behind them"
        )


def _is_sealed(data: Line) -> bool:
    text = f"{data.get('token')}:{data.get('filler')}"
    return hashlib.sha256(text.encode()).hexdigest() == data.get("digest")


def _brief(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    return ", ".join(map(str, listed[:8])) + (", …" if len(listed) > 8 else "")
