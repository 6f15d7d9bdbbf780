"""A start-up worker: it resumes every session that was interrupted, after three crashes at most.

It shows how any number of workers share the work without talking to each other: each session is
resumed by exactly one of them, and the others go on to the next. A session that keeps killing its
worker is given up after three more attempts.

    python worker.py --root ./store             # resume what crashed, end
    python worker.py --root ./store --new 5     # create five sessions first; kill it meanwhile
    python worker.py --root ./store --poison    # create one that kills every worker that runs it
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack

from sessionstore import Session, SessionStore

GOAL = "resize-images"
MAX_RECOVERIES = 3


def say(text: str) -> None:
    print(f"worker {os.getpid()}: {text}", flush=True)


def work(session: Session, step_delay: float) -> None:
    """Do what is left of a session, image by image."""
    state = session.state
    done = state.data_buffer.setdefault("done", [])
    for image in state.input_data["images"][len(done) :]:
        time.sleep(step_delay)
        if image == "poison":
            os.kill(os.getpid(), signal.SIGKILL)  # as when the system runs out of memory
        done.append(image)
        state.progress.steps_executed += 1
        session.checkpoint("image", node=image)
    session.complete(output={"resized": len(done)})


def resume_interrupted(store: SessionStore, step_delay: float) -> None:
    """Resume, one after the other, the interrupted sessions that may be tried again."""
    interrupted = store.resume_interrupted(goal_id=GOAL, max_recoveries=MAX_RECOVERIES)
    for session in interrupted:
        crashes = session.state.recovery.count if session.state.recovery else 0
        steps = session.state.progress.steps_executed
        say(f"resumed {session.session_id} at {steps} (crash {crashes})")
        try:
            with session:
                work(session, step_delay)
        except Exception as error:  # the session is stored as failed: no worker resumes it
            say(f"{session.session_id} raised {error!r}")
        say(f"ended {session.session_id} as {session.state.status}")
    for skipped in interrupted.skipped:
        verb = "lost" if skipped.is_taken else "given up"
        say(f"{verb} {skipped.session_id}: {skipped.reason}")


def create_and_work(store: SessionStore, count: int, poison: bool, step_delay: float) -> None:
    images = ["a.png", "poison", "b.png"] if poison else ["a.png", "b.png", "c.png"]
    with ExitStack() as held:
        sessions = []
        for _ in range(count):
            session = held.enter_context(store.create(GOAL, input_data={"images": images}))
            session.checkpoint("start")
            say(f"created {session.session_id}")
            sessions.append(session)
        for session in sessions:
            work(session, step_delay)
            say(f"ended {session.session_id} as {session.state.status}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory of the store")
    parser.add_argument("--new", type=int, default=0, metavar="N", help="create N sessions first")
    parser.add_argument("--poison", action="store_true", help="create one that kills its worker")
    parser.add_argument("--step-delay", type=float, default=0.0, help="seconds that a step takes")
    options = parser.parse_args()

    with SessionStore(options.root) as store:
        if options.new or options.poison:
            create_and_work(store, options.new or 1, options.poison, options.step_delay)
        resume_interrupted(store, options.step_delay)
    return 0


if __name__ == "__main__":
    sys.exit(main())
