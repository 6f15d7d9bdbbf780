"""Processes of other software that change a store without any claim."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from contextlib import suppress

from sessionstore import (
    ClaimLost,
    InvalidSessionId,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionNotFound,
    SessionStore,
    SessionStoreError,
    StorageError,
)
from tests.faults.support.history import ERA, SESSIONS, Journal

CHEATED = (SessionClaimed, RevisionConflict, ClaimLost, SessionNotFound, InvalidSessionId)


def hold_among_cheats(root: str, journals: str, seed: str, seconds: str) -> None:
    """Claim, save some times, let go, while others change the files underneath."""
    chance, journal = random.Random(int(seed)), Journal(journals)
    store = SessionStore(root, durability="process")
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        try:
            session = store.claim(session_id, timeout=0.02)
        except (*CHEATED, SessionCorrupt) as error:  # a file that is rewritten may be torn
            journal.write("refused", session_id, what="claim", error=type(error).__name__)
            continue
        except SessionStoreError as error:
            journal.write("unexpected", session_id, what="claim", error=repr(error))
            continue
        facts = {"inc": session.state.incarnation, "how": "claimed"}
        journal.write("held", session_id, rev=session.revision, **facts)
        try:
            for _ in range(chance.randrange(8)):
                session.state.data_buffer["pid"] = os.getpid()
                began = journal.write("saving", session_id, rev=session.revision + 1)
                revision = (
                    session.checkpoint().revision if chance.random() < 0.2 else session.save()
                )
                journal.write("saved", session_id, began=began, inc=facts["inc"], rev=revision)
        except (RevisionConflict, ClaimLost) as error:
            journal.write("refused", session_id, what="save", error=type(error).__name__)
        except StorageError as error:
            # Who was just claiming when its lock file was deleted cleans up once more.
            removed = error.errno == errno.ENOENT
            facts = {"what": "save", "error": "StorageError" if removed else repr(error)}
            journal.write("refused" if removed else "unexpected", session_id, **facts)
        except SessionStoreError as error:
            journal.write("unexpected", session_id, what="save", error=repr(error))
        journal.write("letting go", session_id)
        session.release()
    journal.write("done")


def _newest_era(root: str, session_id: str) -> int:
    """Return the last foreign era of a session, of a round before; 0 where there was none."""
    path = os.path.join(root, "sessions", session_id, "state.json")
    while True:
        # It may be moved away just now, and comes back.
        with suppress(FileNotFoundError), open(path, "rb") as file:
            return int(json.loads(file.read())["revision"]) // ERA
        time.sleep(0.001)


def replace_on(root: str, journals: str, seed: str, seconds: str) -> None:
    """Put states of our own in place of others', again and again, without any claim."""
    chance, journal = random.Random(int(seed)), Journal(journals)
    until = time.monotonic() + float(seconds)
    eras = {session_id: _newest_era(root, session_id) for session_id in SESSIONS}
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        path = os.path.join(root, "sessions", session_id, "state.json")
        era = eras[session_id] + 1
        try:
            with open(path, "rb") as file:
                state = json.loads(file.read())
            state["revision"] = era * ERA
            state["data_buffer"]["foreign"] = era
            ours = f"{path}.{os.getpid()}"
            with open(ours, "w") as file:
                json.dump(state, file)
            os.replace(ours, path)
        except FileNotFoundError:  # it was moved away
            continue
        eras[session_id] = era
        journal.write("foreign", session_id, era=era)
        time.sleep(chance.uniform(0.01, 0.04))
    journal.write("done")


def rewrite_on(root: str, journals: str, seed: str, seconds: str) -> None:
    """Write states of our own into others' files, in place, without any claim.

    One counts from when the file was still in its place after it was written: a file that was
    exchanged meanwhile took the bytes away with it, and nothing is promised to who wrote them.
    """
    chance, journal = random.Random(int(seed)), Journal(journals)
    until = time.monotonic() + float(seconds)
    eras = {session_id: _newest_era(root, session_id) for session_id in SESSIONS}
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        path = os.path.join(root, "sessions", session_id, "state.json")
        era = eras[session_id]
        is_in_place = False
        while not is_in_place:
            # Another one each time: somebody may have read, and saved on, what was written before.
            era += 1
            with open(path, "r+b", buffering=0) as file:
                before = file.read()
                state = json.loads(before)
                state["revision"] = era * ERA
                state["data_buffer"]["foreign"] = era
                # Longer by blanks: never cut off, and its size tells it from what was there.
                os.pwrite(file.fileno(), json.dumps(state).encode().ljust(len(before) + 1), 0)
                is_in_place = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        eras[session_id] = era
        journal.write("foreign", session_id, era=era)
        time.sleep(chance.uniform(0.01, 0.04))
    journal.write("done")


def move_on(root: str, journals: str, seed: str, seconds: str) -> None:
    """Move directories of claimed sessions away and back."""
    chance, journal = random.Random(int(seed)), Journal(journals)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        path = os.path.join(root, "sessions", session_id)
        away = os.path.join(root, f"away-{session_id}")
        os.rename(path, away)
        time.sleep(chance.uniform(0.0, 0.01))
        os.rename(away, path)
        journal.write("moved", session_id)
        time.sleep(chance.uniform(0.0, 0.03))
    journal.write("done")


def unlock_on(root: str, journals: str, seed: str, seconds: str) -> None:
    """Delete lock files, so that a second process can claim what is held."""
    chance, journal = random.Random(int(seed)), Journal(journals)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        session_id = chance.choice(SESSIONS)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(root, "locks", f"{session_id}.lock"))
            journal.write("unlocked", session_id)
        time.sleep(chance.uniform(0.0, 0.01))
    journal.write("done")
