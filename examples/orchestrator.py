"""An orchestrator that loses nothing: kill it at any instant, start it again, and it continues.

It shows how to
- persist a session after every step: `save()` inside a node, `checkpoint()` when it is complete;
- name the node that follows in each checkpoint, so that a resume knows where to go on;
- start a job or go on with it by one call; of several orchestrators exactly one does it.

Run it, kill it (`kill -9`), and run it again:

    python orchestrator.py --root ./store --step-delay 1

With `--runs DIR` it replays recorded runs instead (one JSON file each), a step for each decision:

    python orchestrator.py --root ./store --runs ./legacy_runs

The id of a job is the id of its session, so that starting again never does a job twice. A step
that died before its checkpoint runs again: write steps for which that does no harm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore import (
    END,
    End,
    Session,
    SessionClaimed,
    SessionEnded,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionStoreError,
)


@dataclass(frozen=True)
class Job:
    """The work of one session: how it is opened, and how it continues from any state."""

    session_id: str
    open: Callable[[SessionStore, int], Session]
    run: Callable[[Session], None]


def say(text: str) -> None:
    print(text, flush=True)


# --- a small graph of nodes: each works on the state and returns the node that follows -----------

SOURCES = {
    "count_and_list": "412 of 500 customers answered",
    "support": "37 tickets, 3 of them open",
    "sales": "12 orders, up from 9",
}


def collect(session: Session) -> str:
    notes: dict[str, str] = {}
    session.state.data_buffer["notes"] = notes
    for source, note in SOURCES.items():
        notes[source] = note
        session.save()  # survives a crash; a resume begins this node again
    return "draft"


def draft(session: Session) -> str:
    data = session.state.data_buffer
    data["version"] = data.get("version", 0) + 1
    data["draft"] = "; ".join(f"{source}: {note}" for source, note in data["notes"].items())
    return "review"


def review(session: Session) -> str:
    data = session.state.data_buffer
    data.setdefault("remarks", []).append(f"{len(data['draft'])} characters: shorten them")
    return "publish" if data["version"] >= 3 else "draft"


def publish(session: Session) -> End:
    data = session.state.data_buffer
    data["report"] = f"Weekly report, version {data['version']}. {data['draft']}."
    return END


NODES: dict[str, Callable[[Session], str | End]] = {
    "collect": collect,
    "draft": draft,
    "review": review,
    "publish": publish,
}


def graph_job(session_id: str, step_delay: float) -> Job:
    def open_session(store: SessionStore, max_recoveries: int) -> Session:
        return store.create_or_resume(
            session_id, "weekly-report", entry_point="collect", max_recoveries=max_recoveries
        )

    def run(session: Session) -> None:
        progress = session.state.progress
        node: str | End
        node = progress.resume_from or (END if progress.path else session.state.entry_point)
        while not isinstance(node, End):
            say(f"{session.session_id}: step {node}")
            time.sleep(step_delay)
            following = NODES[node](session)
            session.checkpoint("node_complete", node=node, next_node=following)
            say(f"{session.session_id}: step {node} done, revision {session.revision}")
            time.sleep(step_delay)
            node = following
        session.complete(output={"report": session.state.data_buffer["report"]})

    return Job(session_id, open_session, run)


# --- recorded runs: each decision is a step ------------------------------------------------------


def replay_job(record: dict[str, Any], step_delay: float) -> Job:
    session_id = record["id"]
    recorded = SessionState.from_legacy_run(record, session_id)

    def open_session(store: SessionStore, max_recoveries: int) -> Session:
        if store.exists(session_id):
            stored = store.load(session_id)
            if stored.status is SessionStatus.FAILED and not stored.is_interrupted:
                raise SessionEnded(session_id, stored)  # its record says that it fails
        # The run as it was before its first decision.
        state = SessionState.from_legacy_run(record, session_id)
        state.status = SessionStatus.ACTIVE
        state.decisions, state.problems = [], []
        state.metrics, state.result = type(state.metrics)(), type(state.result)()
        state.timestamps.completed_at = None
        return store.create_or_resume(session_id, state=state, max_recoveries=max_recoveries)

    def run(session: Session) -> None:
        state = session.state
        for decision in recorded.decisions[len(state.decisions) :]:
            step = f"{decision['id']} ({decision['node_id']})"
            say(f"{session_id}: step {step}")
            time.sleep(step_delay)
            state.decisions.append(decision)
            state.metrics.decision_count += 1
            if decision["node_id"] not in state.metrics.nodes_executed:
                state.metrics.nodes_executed.append(decision["node_id"])
            session.checkpoint("decision")
            say(f"{session_id}: step {step} done, revision {session.revision}")
            time.sleep(step_delay)
        # The record says how the run ended. The `with` block keeps a status that is not ACTIVE.
        state.problems, state.metrics = recorded.problems, recorded.metrics
        state.result, state.status = recorded.result, recorded.status
        state.timestamps.completed_at = recorded.timestamps.completed_at
        session.save()

    return Job(session_id, open_session, run)


# --- the orchestrator itself ---------------------------------------------------------------------


def sweep(store: SessionStore) -> None:
    """Mark the sessions of dead processes. Resume nothing, and leave live sessions alone."""
    report = store.recover()
    for item in report.swept:
        say(f"sweep: {item.session_id} marked: {item.reason}")
    for item in report.alive:
        say(f"sweep: {item.session_id} is alive: {item.reason}")
    for item in (*report.unknown, *report.damaged, *report.failed):
        say(f"sweep: {item.session_id} needs a person: {item.reason}")


def work(store: SessionStore, job: Job, max_recoveries: int) -> bool:
    """Do a job, or what is left of it; return whether all is well."""
    try:
        with job.open(store, max_recoveries) as session:
            how = "resumed" if session.is_resumed else "started"
            say(f"{job.session_id}: {how}, revision {session.revision}")
            job.run(session)
        say(f"{job.session_id}: ended as {session.state.status}, revision {session.revision}")
    except SessionEnded as ended:
        say(f"{job.session_id}: {ended.state.status} already, nothing to do")
    except SessionClaimed as error:
        say(f"{job.session_id}: left to another process: {error}")
    except SessionStoreError as error:
        say(f"{job.session_id}: cannot go on: {error}")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory of the store")
    parser.add_argument("--session", default="weekly-report", help="id of the session to run")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="replay the run records in DIR")
    parser.add_argument(
        "--step-delay", type=float, default=0.0, help="seconds that a step takes, and a pause after"
    )
    parser.add_argument(
        "--max-recoveries", type=int, default=3, help="give a session up after more crashes"
    )
    options = parser.parse_args()

    if options.runs is None:
        jobs = [graph_job(options.session, options.step_delay)]
    else:
        records = [json.loads(file.read_bytes()) for file in sorted(options.runs.glob("*.json"))]
        jobs = [replay_job(record, options.step_delay) for record in records]

    with SessionStore(options.root) as store:
        sweep(store)
        results = [work(store, job, options.max_recoveries) for job in jobs]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
