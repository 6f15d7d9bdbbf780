"""Processes that run one session after the other, and processes that ask them to stop."""

from __future__ import annotations

import os
import random

from sessionstore import (
    CancellationRequested,
    Session,
    SessionClaimed,
    SessionState,
    SessionStore,
    SessionStoreError,
)
from tests.support.children import messages, say
from tests.support.processes import DEADLINE


def work(root: str) -> None:
    """Hold a session, and save each time that the test says so; then say how it went."""
    store = SessionStore(root)
    with store.create("goal", session_id="s1") as session:
        session.checkpoint()
        say(token=session.owner.token)
        for message in messages():
            if message["do"] == "complete":
                session.complete()
                break
            session.save()
            say(revision=session.revision)
    say(left=True)


def resume_for_ever(root: str, session_id: str, rounds: str, seed: str) -> None:
    """Resume the session again and again; say which claim met which request, and how it ended."""
    chance = random.Random(int(seed))
    store = SessionStore(root, durability="process")
    ended = 0
    while ended < int(rounds):
        try:
            session = store.resume(session_id, again=True, timeout=DEADLINE)
        except SessionClaimed:
            continue
        met = _steps(session, chance.randrange(1, 30), chance.choice(["pause", "complete"]))
        say(token=session.owner.token, met=met)
        ended += 1


def _steps(session: Session[SessionState], count: int, verdict: str) -> str | None:
    try:
        with session:
            for _ in range(count):
                session.save()
            getattr(session, verdict)()
    except CancellationRequested as request:
        return request.reason
    return None


def ask_for_ever(root: str, session_id: str, name: str) -> None:
    """Ask whoever holds the session until told to stop; say who was asked, and what for."""
    store = SessionStore(root, durability="process")
    say(ready=True)
    number = 0
    os.set_blocking(0, False)
    while True:
        number += 1
        reason = f"{name}-{number}"
        try:
            seen = store.cancel(session_id, reason=reason)
        except SessionStoreError as error:
            say(reason=reason, token=None, error=type(error).__name__, text=str(error))
        else:
            token = seen.owner.token if seen.owner else None
            say(reason=reason, outcome=seen.outcome, token=token)
        try:
            if os.read(0, 100) == b"":
                return
        except BlockingIOError:
            continue
