"""Fifty sessions at once in one event loop, each saved after every step, all of them crash-proof.

It shows `AsyncSessionStore`: the same names as `SessionStore`, awaited. Saves of different
sessions wait for the disk side by side, while the event loop goes on. Kill it (`kill -9`) and run
it again: every session goes on from its own last checkpoint.

    python async_orchestrator.py --root ./store --step-delay 0.5
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter

from sessionstore import END, AsyncSessionStore, End, SessionClaimed, SessionEnded

FOLLOWING: dict[str, str | End] = {"fetch": "parse", "parse": "rate", "rate": "store", "store": END}


async def run(store: AsyncSessionStore, number: int, step_delay: float) -> str:
    """Run one session, or the rest of it; return its status."""
    session_id = f"page-{number:02}"
    try:
        session = await store.create_or_resume(session_id, "rate-page", stream_id="crawl")
    except SessionEnded:
        return "done before"
    except SessionClaimed:
        return "left to another process"
    async with session:
        state, progress = session.state, session.state.progress
        step = progress.resume_from or (END if progress.path else "fetch")
        while step is not END:
            await asyncio.sleep(step_delay)  # the work of the step, safe to repeat
            state.data_buffer[step] = f"{step} of page {number}"
            await session.checkpoint("node_complete", node=step, next_node=FOLLOWING[step])
            step = FOLLOWING[step]
        await session.complete(output={"rating": number % 5 + 1})
    return "resumed and completed" if session.is_resumed else "completed"


async def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory of the store")
    parser.add_argument("--sessions", type=int, default=50, help="how many at once")
    parser.add_argument("--step-delay", type=float, default=0.0, help="seconds that a step takes")
    options = parser.parse_args()

    async with AsyncSessionStore(options.root) as store, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run(store, number, options.step_delay))
            for number in range(options.sessions)
        ]
    for outcome, count in Counter(task.result() for task in tasks).most_common():
        print(f"{count} {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
