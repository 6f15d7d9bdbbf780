"""What a session with very many checkpoints costs: to look into, and to thin out."""

from __future__ import annotations

import os
import time

from benchmarks.harness import Group, Options, interleave, raw, say
from benchmarks.limits import TIMES, Figure
from sessionstore import SessionStore

COUNT = 10_000


def measure_many(options: Options) -> list[Figure]:
    """Time ``history`` and ``explain`` against listing and stat of the files; then thin out."""
    count = COUNT // 10 if options.quick else COUNT
    say(f"many: a session of {count:,} checkpoints")
    with options.space() as space:
        store = SessionStore(space, durability="process")
        with store.create("bench", session_id="many") as session:
            for number in range(count):
                session.checkpoint("node_complete", node=f"node{number % 7}")
            session.fail("bench")
        place = str(store.directory("many") / "checkpoints")

        def list_and_stat() -> None:
            for name in os.listdir(place):
                os.stat(f"{place}/{name}")

        seen = interleave(
            {
                "listing and stat": list_and_stat,
                "history": lambda: store.history("many"),
                "explain": lambda: store.explain("many"),
            },
            rounds=options.rounds(100),
        )
        floor = seen["listing and stat"].median
        figures = [
            Figure("many", f"{name} over listing and stat of {count:,} checkpoints", TIMES,
                   [seen[name].median / floor], limit=5.0)
            for name in ("history", "explain")
        ]  # fmt: skip
        figures += raw("many", seen, f"{count:,} checkpoints")
        longest = _thin_out(space)
    name = f"longest checkpoint() while keep_checkpoints=5 thins out {count:,}"
    return [*figures, Figure("many", name, "ms", [longest * 1000])]


def _thin_out(space: os.PathLike[str]) -> float:
    """Switch the limit on, and keep checkpoints until it is met; return the longest, in seconds."""
    store = SessionStore(space, durability="process", keep_checkpoints=5)
    longest = 0.0
    with store.resume("many") as session:
        while len(store.checkpoint_names("many")) > 10:
            for _ in range(50):
                begin = time.perf_counter()
                session.checkpoint("node_complete", node="last")
                longest = max(longest, time.perf_counter() - begin)
        session.complete()
    return longest


GROUPS: dict[str, Group] = {"many": measure_many}
