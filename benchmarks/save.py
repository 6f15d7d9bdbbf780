"""A save at either durability and a load, beside the floor and the peers, one by one in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pydantic_core import from_json

from benchmarks import peers
from benchmarks.backends import (
    FLOOR,
    OURS,
    BareExchange,
    Contender,
    Floor,
    open_peers,
    open_session,
)
from benchmarks.harness import KIB, SIZES, Group, Options, Sample, interleave, raw, say
from benchmarks.limits import TIMES, Figure
from benchmarks.peers import LangGraph, OriginalWay
from sessionstore import SessionState, SessionStore


def _rounds(options: Options, size: int) -> int:
    return options.rounds(150 if size < KIB * KIB else 50)


def measure_power(options: Options) -> list[Figure]:
    """Compare a save that survives a loss of power with the floor and with who promises that."""
    figures: list[Figure] = []
    for label, size in SIZES.items():
        say(f"save, power: {label}")
        with options.space() as space, ExitStack() as stack:
            saved = open_session(stack, space / "save", size, "power")
            kept = open_session(stack, space / "checkpoint", size, "power")
            payload = (saved.directory / "state.json").read_bytes()
            others = open_peers(stack, [Floor, *peers.present("power")], space, saved.state)
            again = Floor(space / "again", saved.state.model_copy(deep=True))
            stack.callback(again.close)
            saves: dict[str, Callable[[], object]] = {
                OURS: saved.save,
                "sessionstore, checkpoint": kept.checkpoint,
                **{name: contender.save for name, contender in others.items()},
            }
            parts: dict[str, Callable[[], object]] = {
                "floor again": again.save,
                "model_dump_json": saved.state.model_dump_json,
                "from_json": partial(from_json, payload),
            }
            seen = interleave(saves | parts, rounds=_rounds(options, size))
            checkpoint = kept.checkpoint()
            names = kept.directory / "state.json", kept.directory / "checkpoints"
            one = names[0].stat(), (names[1] / f"{checkpoint.checkpoint_id}.json").stat()
        median = {name: sample.median for name, sample in seen.items()}
        least = median[FLOOR] + median["model_dump_json"] + median["from_json"]
        original = median[OriginalWay.name]
        figures += [
            Figure(
                "save, power",
                f"save / (floor + dump + from_json), {label}",
                TIMES,
                [median[OURS] / least],
                goal=f"power {label}",
                note=f"state.json has {len(payload):,} bytes",
            ),
            Figure(
                "save, power",
                f"original way / save, {label}",
                f"{TIMES} faster",
                [original / median[OURS]],
                goal=f"original {label}",
            ),
            Figure(
                "save, power",
                f"checkpoint / save, {label}",
                TIMES,
                [median["sessionstore, checkpoint"] / median[OURS]],
                limit=1.6,
            ),
            Figure(
                "save, power",
                f"state.json and its checkpoint are one inode, {label}",
                "",
                [float(one[0].st_ino == one[1].st_ino)],
                limit=1.0,
                at_least=True,
                note=f"{one[0].st_nlink} names",
            ),
            Figure(
                "save, power",
                f"floor again / floor (the noise), {label}",
                TIMES,
                [median["floor again"] / median[FLOOR]],
            ),
            *raw("save, power", {name: seen[name] for name in saves}, label, plot="save, power"),
            *raw("save, power", {name: seen[name] for name in parts}, label),
        ]
    return figures


def measure_process(options: Options) -> list[Figure]:
    """Compare a save that survives the death of the process with the floor, and with peers.

    One disturbs the other: what such a save leaves unwritten is flushed with whoever flushes
    next, and who comes after a flush finds cold caches and a fresh journal transaction. So it is
    judged beside those that flush by themselves, one by one and once more ten by ten, before the
    peers, whose unwritten bytes would make the floor dear, take turns with it.
    """
    figures: list[Figure] = []
    for label, size in SIZES.items():
        rounds = _rounds(options, size)
        with options.space() as space, ExitStack() as stack:
            saved = open_session(stack, space / "save", size, "process")
            flushing: list[type[Contender]] = [Floor]
            if size == 4 * KIB and LangGraph in peers.present():
                flushing.append(LangGraph)
            others = open_peers(stack, flushing, space / "flushing", saved.state)
            turns = {OURS: saved.save, **{name: one.save for name, one in others.items()}}
            for how, block in (("one by one", 1), ("ten by ten", 10)):
                say(f"save, process: {label}, {how}")
                seen = interleave(turns, rounds=max(3, rounds // block), block=block, warm_up=2)
                figures += _judge_process(seen, label, how)
            figures += _judge_bare(space, saved.state, label, rounds)
            say(f"save, process: {label}, beside peers")
            more = open_peers(stack, peers.present("process"), space / "peers", saved.state)
            turns |= {name: one.save for name, one in more.items()}
            seen = interleave(turns, rounds=rounds)
            named = {
                f"{name} (flushes)" if name in others else name: sample
                for name, sample in seen.items()
            }
            figures += raw("save, process", named, label, plot="save, process")
    return figures


def _judge_bare(space: Path, state: SessionState, label: str, rounds: int) -> list[Figure]:
    """Compare the bare calls with the floor in the same way: what no check and no care can beat."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        both = open_peers(stack, [Floor, BareExchange], space / "bare", state)
        turns = {name: one.save for name, one in both.items()}
        for how, block in (("one by one", 1), ("ten by ten", 10)):
            seen = interleave(turns, rounds=max(3, rounds // block), block=block, warm_up=2)
            ratio = seen[BareExchange.name].median / seen[FLOOR].median
            name = f"bare exchange / floor with flushes, {label}, {how}"
            figures.append(Figure("save, process", name, TIMES, [ratio], note=how))
    return figures


def _judge_process(seen: dict[str, Sample], label: str, how: str) -> list[Figure]:
    ours = seen[OURS].median
    figures = [
        Figure(
            "save, process",
            f"save / floor with flushes, {label}, {how}",
            TIMES,
            [ours / seen[FLOOR].median],
            goal=f"process {label}",
            note=how,
        )
    ]
    if LangGraph.name in seen:
        figures.append(
            Figure(
                "save, process",
                f"langgraph put / save, {label}, {how}",
                f"{TIMES} faster",
                [seen[LangGraph.name].median / ours],
                goal="langgraph",
                note=how,
            )
        )
    return figures + raw("save, process", seen, label, how=how)


def measure_load(options: Options) -> list[Figure]:
    """Compare a load with reading the file and validating it."""
    figures: list[Figure] = []
    for label, size in SIZES.items():
        say(f"load: {label}")
        with options.space() as space:
            with ExitStack() as stack:
                session = open_session(stack, space / "store", size, "process")
                session_id, path = session.session_id, session.directory / "state.json"
                session.pause()
            with SessionStore(space / "store") as store:
                seen = interleave(
                    {
                        "store.load": partial(store.load, session_id),
                        "read + model_validate_json": lambda path=path: (  # type: ignore[misc]  # bound now
                            SessionState.model_validate_json(path.read_bytes())
                        ),
                    },
                    rounds=options.rounds(300 if size < KIB * KIB else 50),
                )
        ratio = seen["store.load"].median / seen["read + model_validate_json"].median
        goal = "load" if label == "64 KiB" else ""
        name = f"load / (read + validate), {label}"
        figures.append(Figure("load", name, TIMES, [ratio], goal=goal))
        figures += raw("load", seen, label)
    return figures


GROUPS: dict[str, Group] = {
    "power": measure_power,
    "process": measure_process,
    "load": measure_load,
}
