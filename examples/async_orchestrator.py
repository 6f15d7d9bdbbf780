"""Fifty sessions at once in one event loop, each saved after every step, all of them crash-proof.

It shows `AsyncSessionStore`: the same names as `SessionStore`, awaited. Saves of different
sessions wait for the disk side by side, while the event loop goes on. Kill it (`kill -9`) and run
it again: it sweeps, and every session goes on from its own last checkpoint.

    python async_orchestrator.py --root ./store --step-delay 0.5
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter

from sessionstore import (
    AsyncSession,
    AsyncSessionStore,
    RevisionConflict,
    SessionClaimed,
    SessionStatus,
)

STEPS = ("fetch", "parse", "rate", "store")


async def open_session(store: AsyncSessionStore, session_id: str) -> AsyncSession | None:
    """Create or resume the session, and return it. Return None if it has ended."""
    if not await store.exists(session_id):
        return await store.create("rate-page", session_id=session_id, stream_id="crawl")
    state = await store.load(session_id)
    unfinished = state.status in (SessionStatus.ACTIVE, SessionStatus.PAUSED)
    if not unfinished and not state.is_interrupted:
        return None
    if state.is_interrupted and not state.is_resumable:
        await store.delete(session_id)  # it has no checkpoint yet: nothing is lost
        return await open_session(store, session_id)
    return await store.resume(session_id, expected_revision=state.revision)


async def run(store: AsyncSessionStore, number: int, step_delay: float) -> str:
    """Run one session, or the rest of it; return its status."""
    session_id = f"page-{number:02}"
    try:
        session = await open_session(store, session_id)
    except (SessionClaimed, RevisionConflict):
        return "left to another process"
    if session is None:
        return "done before"
    async with session:
        state = session.state
        begun = len(state.progress.path)
        for step in STEPS[begun:]:
            await asyncio.sleep(step_delay)  # the work of the step, safe to repeat
            state.data_buffer[step] = f"{step} of page {number}"
            state.progress.path.append(step)
            state.progress.steps_executed += 1
            await session.checkpoint("node_complete", node=step)
        await session.complete(output={"rating": number % 5 + 1})
    return "resumed and completed" if begun else "completed"


async def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory of the store")
    parser.add_argument("--sessions", type=int, default=50, help="how many at once")
    parser.add_argument("--step-delay", type=float, default=0.0, help="seconds that a step takes")
    options = parser.parse_args()

    async with AsyncSessionStore(options.root) as store:
        report = await store.recover()
        print(f"sweep: {len(report.swept)} left by dead processes", flush=True)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run(store, number, options.step_delay))
                for number in range(options.sessions)
            ]
    for outcome, count in Counter(task.result() for task in tasks).most_common():
        print(f"{count} {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
