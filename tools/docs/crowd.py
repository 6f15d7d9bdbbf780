"""Fill a store with three hundred sessions, as a fleet of workers leaves them after a bad night.

The tour and the tests of the tables look at this store. Processes really die here: each role of
``python crowd.py ROOT NOW ROLE`` is a worker, and this file imports nothing but the package, so
that it runs under any name. What it makes is the same each time, but for process ids.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sessionstore import Session, SessionState, SessionStore, Step

GOALS = (
    "answer the mail",
    "triage ticket 4711",
    "reconcile the invoices of January with the statements of both banks, and report what differs",
    "translate the handbook",
    "お客様への返信を書く: 注文番号 20260125 の配送が遅れている理由を説明する",
    "collect prices",
    "draft the release notes 🚀 for everybody who has waited for the new importer since October",
    "summarize https://example.org/reports/2026/01/25/a-very-long-path/without-any-blank.html",
)
NODES = ("plan", "fetch", "write", "review_the_draft_with_the_customer", "送信")
ERRORS = (
    ValueError("no such city: Atlantis"),
    TimeoutError("the model did not answer within 120 seconds, three times in a row"),
    RuntimeError("upstream said:\n  503 Service Unavailable\n  retry after 30 s"),
    KeyError("customer_id"),
    OSError(28, "No space left on device"),
)
LONG_ID = "nightly-reconciliation-of-the-invoices-of-all-subsidiaries-2026-01-25"
RUNNING, ENDED, PAUSED, FAILED, STALE, UNSETTLED = 8, 134, 20, 30, 20, 6
SWEPT, TWICE, THRICE = 82, 24, 9
"""How many crashed and were swept; how many of them died again, and a third time."""
TOTAL = RUNNING + ENDED + PAUSED + FAILED + STALE + UNSETTLED + SWEPT


class Worker:
    """A process of the fleet, whose clock stands where the next session wants it."""

    def __init__(self, root: str, now: datetime) -> None:
        self.now = self.moment = now
        self.store = SessionStore(root, clock=lambda: self.moment)

    def start(self, number: int, *, minutes_ago: float, named: str = "") -> Session[SessionState]:
        """Start a session, and let it take a few steps."""
        self.moment = self.now - timedelta(minutes=minutes_ago)
        made = f"session_{self.moment:%Y%m%d_%H%M%S}_{number:08x}"
        labels = {"team": ("mail", "billing", "search")[number % 3]}
        if number % 17 == 0:
            labels["title"] = f"Ticket {number}: 東京オフィスのプリンター"
        session = self.store.create(
            GOALS[number % len(GOALS)], session_id=named or made, agent_id="agent-7", labels=labels
        )
        for step in range(1 + number % 3):
            session.state.data_buffer["step"] = step
            node = NODES[(number + step) % len(NODES)]
            session.checkpoint("node_complete", node=node, next_node=NODES[step])
        return session

    def hold(self) -> None:
        """Run sessions until stdin is closed."""
        held = [self.start(number, minutes_ago=number + 1) for number in range(RUNNING)]
        print("ready", flush=True)
        sys.stdin.read()
        for session in held:
            session.release()

    def end(self) -> None:
        """End sessions in every way but by death."""
        for number in range(100, 100 + ENDED):
            # A third of them ended weeks ago.
            age = number * 7 if number % 3 else number * 400
            with self.start(number, minutes_ago=age) as session:
                if number % 9 == 0:
                    session.cancel("the customer withdrew the order")
                else:
                    session.complete({"answer": number})
        for number in range(300, 300 + PAUSED):
            with self.start(number, minutes_ago=number / 3) as session:
                session.pause(node="ask")
        for number in range(400, 400 + FAILED):
            named = LONG_ID if number == 400 else ""
            with self.start(number, minutes_ago=number / 4, named=named) as session:
                session.fail(ERRORS[number % len(ERRORS)])

    def crash(self) -> None:
        """Die while sessions run."""
        for number in range(500, 500 + SWEPT):
            self.start(number, minutes_ago=(number - 499) * 1.5)
        _die()

    def crash_again(self, times: int) -> None:
        """Go on with sessions that were swept, and die once more."""
        found = self.store.find(status="failed", limit=None, order="session_id")
        swept = [item.session_id for item in found if item.is_interrupted]
        self.moment = self.now - timedelta(minutes=1)
        for session_id in swept[: TWICE if times == 2 else THRICE]:
            self.store.resume(session_id).save()
        _die()

    def crash_within_steps(self) -> None:
        """Die within a step of each of several sessions, which nobody may repeat."""
        sessions = [
            self.start(number, minutes_ago=number - 599) for number in range(600, 600 + UNSETTLED)
        ]
        _pay(sessions)

    def crash_unseen(self) -> None:
        """Die while sessions run, and nobody has swept since."""
        for number in range(700, 700 + STALE):
            self.start(number, minutes_ago=(number - 699) / 2)
        _die()

    def sweep(self) -> None:
        """Mark what dead processes left."""
        self.moment = self.now - timedelta(seconds=90)
        self.store.recover()


def _die() -> None:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def _pay(sessions: list[Session[SessionState]]) -> None:
    if not sessions:
        _die()
    sessions[0].step(Step("pay", at_most_once=True), _pay, sessions[1:])


ROLES: tuple[tuple[str, ...], ...] = (
    ("end",),
    ("crash",),
    ("crash_within_steps",),
    ("sweep",),
    ("crash_again", "2"),
    ("sweep",),
    ("crash_again", "3"),
    ("sweep",),
    ("crash_unseen",),
)


def _damage(root: Path) -> None:
    """Damage files, and leave behind what interrupted writes leave."""
    ended = sorted((root / "sessions").glob("session_*_0000006[0-9a-f]"))
    torn, empty, zeroed, lost, open_to_all, kept = ended[:6]
    whole = (torn / "state.json").read_bytes()
    (torn / "state.json").write_bytes(whole[: len(whole) // 2])
    (empty / "state.json").write_bytes(b"")
    (zeroed / "state.json").write_bytes(bytes(512))
    (lost / "state.json").unlink()
    (open_to_all / "state.json").chmod(0o644)
    newest = max((kept / "checkpoints").iterdir())
    newest.write_bytes(b"{")
    (kept / ".new-0123456789abcdef").write_bytes(b"{")
    (root / "locks" / "stray.lock").touch()


@contextmanager
def crowd(root: Path, now: datetime | None = None, program: str = __file__) -> Iterator[None]:
    """Fill the store, and let a worker hold the sessions that run, until the block ends.

    ``program`` is a copy of this file, by the name that owner records are to show.
    """
    moment = (now or datetime.now(UTC)).isoformat()
    directory, name = os.path.split(os.path.abspath(program))
    is_beside = root.is_relative_to(directory)
    command = [sys.executable, name, os.path.relpath(root, directory) if is_beside else str(root)]
    for role in ROLES:
        done = subprocess.run([*command, moment, *role], check=False, cwd=directory)
        expected = -signal.SIGKILL if role[0].startswith("crash") else 0
        if done.returncode != expected:
            raise RuntimeError(f"{role[0]} ended with {done.returncode}")
    holder = subprocess.Popen(
        [*command, moment, "hold"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=directory,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        _damage(root)
        yield
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def main() -> None:
    """Play a role."""
    root, now, role, *numbers = sys.argv[1:]
    getattr(Worker(root, datetime.fromisoformat(now)), role)(*map(int, numbers))


if __name__ == "__main__":
    main()
