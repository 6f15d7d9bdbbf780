"""What a claim costs, and how many sessions one process can hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backends import open_session
from benchmarks.harness import KIB, SIZES, Group, Options, interleave, raw, say
from benchmarks.limits import TIMES, Figure
from sessionstore import Session, SessionState, SessionStore, StorageError

_KEPT = 20_000


def measure_claims(options: Options) -> list[Figure]:
    """Claim and release a paused session, less the writes to the lock file that this makes."""
    figures: list[Figure] = []
    for label in ("4 KiB", "64 KiB"):
        say(f"claim: {label}")
        with options.space() as space:
            with ExitStack() as stack:
                session = open_session(stack, space / "store", SIZES[label], "power")
                session_id = session.session_id
                session.pause()
            store = SessionStore(space / "store")
            record = (space / "store" / "locks" / f"{session_id}.lock").read_bytes()
            fd = os.open(space / "writes", os.O_RDWR | os.O_CREAT, 0o600)

            def write(fd: int = fd, record: bytes = record) -> None:
                for _ in ("claimed", "released"):
                    os.lseek(fd, 0, os.SEEK_SET)
                    os.write(fd, record)
                    os.ftruncate(fd, len(record))

            def claim(
                store: SessionStore[SessionState] = store, session_id: str = session_id
            ) -> None:
                store.claim(session_id).release()

            seen = interleave(
                {"claim + release": claim, "its writes": write}, rounds=options.rounds(300)
            )
            store.close()
            os.close(fd)
            beyond = (seen["claim + release"].median - seen["its writes"].median) / 1000
        name = f"claim + release beyond its writes, {label}"
        figures.append(Figure("claim", name, "ms", [beyond], limit=1.0))
        figures += raw("claim", seen, label)
    return [*figures, *_measure_kept(options)]


def _measure_kept(options: Options) -> list[Figure]:
    """Claim and release a session that keeps many checkpoints, and one that keeps one."""
    counts = {"one checkpoint": 1, f"{_KEPT:,} checkpoints": _KEPT}
    say(f"claim: {_KEPT:,} checkpoints")
    with options.space() as space:
        store = SessionStore(space, durability="process")
        ways = {}
        for label, count in counts.items():
            with store.create("bench", session_id=f"of-{count}") as session:
                kept = session.checkpoint("node_complete", node="node")
            place = store.directory(session.session_id) / "checkpoints"
            for number in range(count - 1):  # each of them as a session would have made it
                copy = place / f"{kept.checkpoint_id}{number:08x}.json"
                copy.write_bytes(b"{}")
            ways[label] = partial(_claim_once, store, session.session_id)
        seen = interleave(ways, rounds=options.rounds(300))
        store.close()
    one, many = (seen[label].median for label in counts)
    name = f"claim + release with {_KEPT:,} checkpoints over one"
    return [Figure("claim", name, TIMES, [many / one], limit=1.2), *raw("claim", seen, "kept")]


def _claim_once(store: SessionStore[SessionState], session_id: str) -> None:
    store.claim(session_id).release()


def measure_holding(options: Options) -> list[Figure]:
    """Hold many sessions in one process, and run into the descriptor limit in another."""
    say("hold: 5,000 sessions")
    with options.space() as space:
        held = _in_child("hold", str(space / "many"), "5000")
    with options.space() as space:
        past = _in_child("overrun", str(space / "few"), "64")
    allowed = held["limit"] >= 5000 + _DESCRIPTORS_OF_OTHERS
    note = f"descriptor limit {held['limit']:,}"
    if not allowed:
        note += ": less than 5,000 need, so as many as it allows"
    return [
        Figure(
            "hold",
            "sessions held at once by one process",
            "",
            [held["held"]],
            limit=5000 if allowed else held["limit"] - _DESCRIPTORS_OF_OTHERS,
            at_least=True,
            note=note,
        ),
        Figure("hold", "descriptors for each", "", [held["descriptors"] / held["held"]]),
        Figure("hold", "memory for each", "KiB", [held["kib"] / held["held"]]),
        Figure("hold", "save while all are held", "µs", [held["save_us"]], note="process, 4 KiB"),
        Figure(
            "hold",
            "past the limit, the error says which limit to raise",
            "",
            [float(past["named"])],
            limit=1.0,
            at_least=True,
            note=past["message"],
        ),
        Figure(
            "hold",
            "past the limit, the sessions that are held still save",
            "",
            [float(past["saved"])],
            limit=1.0,
            at_least=True,
        ),
    ]


_DESCRIPTORS_OF_OTHERS = 32


def _in_child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.claims", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _hold(root: str, wanted: int) -> dict[str, Any]:
    limit = _descriptor_limit()
    wanted = min(wanted, limit - _DESCRIPTORS_OF_OTHERS)
    store = SessionStore(root, durability="process")
    with ExitStack() as stack:
        first = open_session(stack, Path(root), 4 * KIB, "process")
        first.save()
        fds, kib = _open_descriptors(), _resident_kib()
        held = [store.create("bench") for _ in range(wanted - 1)]
        answer = {
            "limit": limit,
            "held": 1 + len(held),
            "descriptors": _open_descriptors() - fds + 1,
            "kib": _resident_kib() - kib,
            "save_us": interleave({"save": first.save}, rounds=100)["save"].median,
        }
        for session in held:
            session.cancel()
    return answer


def _overrun(root: str, limit: int) -> dict[str, Any]:
    """Hold sessions until no more descriptors are to be had, then save and end each of them."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    store = SessionStore(root, durability="process")
    held: list[Session[SessionState]] = []
    message, saved = "no error", 0
    try:
        while len(held) <= limit:
            held.append(store.create("bench"))
    except StorageError as error:
        _, _, message = str(error).partition(": ")  # without the path
    for session in held:
        saved += session.save() > 1
        session.cancel()
    named = "RLIMIT_NOFILE" in message and "ulimit -n" in message
    return {"message": message, "named": named, "saved": saved == len(held)}


def _descriptor_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit, and counts handles instead
        return 16_000_000
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 16_000_000 if soft == resource.RLIM_INFINITY else soft


def _open_descriptors() -> int:
    import psutil

    process = psutil.Process()
    if sys.platform == "win32":
        return process.num_handles()
    return process.num_fds()


def _resident_kib() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / KIB


GROUPS: dict[str, Group] = {"claim": measure_claims, "hold": measure_holding}

if __name__ == "__main__":  # a child of measure_holding
    child, where, count = sys.argv[1:]
    print(json.dumps((_hold if child == "hold" else _overrun)(where, int(count))))
