"""A save in each place, over the floor there: on file systems with one flush, and with two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks import peers
from benchmarks.backends import FLOOR, OURS, Contender, Floor, open_peers, open_session
from benchmarks.harness import KIB, SIZES, Group, Options, interleave, raw, say
from benchmarks.images import JOURNALED, places
from benchmarks.limits import TIMES, Figure
from benchmarks.peers import LangGraph, OpenAIAgents
from sessionstore import SessionStore

_GROUP = "save, places"
_KEPT = "sessionstore, checkpoint"


class _Limits(NamedTuple):
    """What a save may take in a place, over the floor there."""

    power: dict[str, float]
    checkpoint: float
    process: float


_ELSEWHERE = _Limits({"4 KiB": 1.25, "64 KiB": 1.3, "1 MiB": 1.2}, 1.5, 0.3)
_ON_IMAGES = {
    JOURNALED: _Limits({"4 KiB": 0.75, "64 KiB": 0.9, "1 MiB": 1.1}, 1.25, 0.16),
    "XFS": _Limits({"4 KiB": 1.0, "64 KiB": 1.2, "1 MiB": 1.1}, 1.25, 0.2),
}


def _limits_of(place: str) -> _Limits:
    return next((of for name, of in _ON_IMAGES.items() if place.startswith(name)), _ELSEWHERE)


def measure(options: Options) -> list[Figure]:
    """Compare saves of each durability, and checkpoints, with the floor in each place."""
    return [
        figure
        for place, there in places(options)
        for label, size in SIZES.items()
        for judge in (_judge_power, _judge_process)
        for figure in judge(there, place, label, size)
    ]


def _judge_power(options: Options, place: str, label: str, size: int) -> list[Figure]:
    say(f"save, power: {label}, {place}")
    limits, at = _limits_of(place), f"{label}, {place}"
    with options.space() as space, ExitStack() as stack:
        saved = open_session(stack, space / "save", size, "power")
        kept = open_session(stack, space / "checkpoint", size, "power")
        with SessionStore(space / "save") as store:
            flushes = store.stats(sizes=False).flushes
        there = [kind for kind in (LangGraph, OpenAIAgents) if kind in peers.present("power")]
        others = open_peers(stack, [Floor, *there], space, saved.state)
        turns: dict[str, Callable[[], object]] = {
            OURS: saved.save,
            _KEPT: kept.checkpoint,
            **{name: one.save for name, one in others.items()},
            "model_dump_json": saved.state.model_dump_json,
        }
        seen = interleave(turns, rounds=options.rounds(150 if size < KIB * KIB else 50))
    median = {name: sample.median for name, sample in seen.items()}
    is_large = size >= KIB * KIB  # there the serialisation is not the disk's
    least = median[FLOOR] + (median["model_dump_json"] if is_large else 0)
    over = "(floor + dump)" if is_large else "floor"
    figures = [
        Figure(
            _GROUP,
            f"save, power / {over}, {at}",
            TIMES,
            [median[OURS] / least],
            limit=limits.power[label],
            note=flushes,
        ),
        Figure(
            _GROUP,
            f"checkpoint / save, {at}",
            TIMES,
            [median[_KEPT] / median[OURS]],
            limit=limits.checkpoint,
        ),
    ]
    is_compared = place.startswith(JOURNALED) and not is_large
    figures += [
        Figure(
            _GROUP,
            f"{kind.name} / save, {at}",
            f"{TIMES} faster",
            [median[kind.name] / median[OURS]],
            limit=1.0 if is_compared else None,
            at_least=True,
        )
        for kind in there
    ]
    return figures + raw(_GROUP, seen, at)


def _judge_process(options: Options, place: str, label: str, size: int) -> list[Figure]:
    say(f"save, process: {label}, {place}")
    at = f"{label}, {place}"
    with options.space() as space, ExitStack() as stack:
        saved = open_session(stack, space / "save", size, "process")
        beside: list[type[Contender]] = [Floor]
        others = open_peers(stack, beside, space, saved.state)
        turns = {OURS: saved.save, FLOOR: others[FLOOR].save}
        seen = interleave(turns, rounds=options.rounds(150 if size < KIB * KIB else 50))
    ratio = seen[OURS].median / seen[FLOOR].median
    limit = _limits_of(place).process if size == 4 * KIB else None
    name = f"save, process / floor, {at}"
    return [
        Figure(_GROUP, name, TIMES, [ratio], limit=limit),
        *raw(_GROUP, seen, at, how="process"),
    ]


GROUPS: dict[str, Group] = {"places": measure}
