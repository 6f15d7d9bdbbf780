"""What a save, a checkpoint, a claim and a held session cost. ``python -m benchmarks.save``."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json

from benchmarks import listing
from benchmarks.harness import KIB, TIMES, Figure, Group, Options, interleave, main, raw
from sessionstore import Session, SessionState, SessionStore, StorageError

SIZES = {"4 KiB": 4 * KIB, "64 KiB": 64 * KIB, "1 MiB": KIB * KIB}
_ASCII = (
    "the session was saved after each step and then a node asked for more context about this order"
    " because the customer wrote that nothing had arrived so please check with the carrier again"
)
_OTHERS = "café naïve Zürich über señor € → 東京 привет"


# --- the contenders ------------------------------------------------------------------------------


def fill(state: SessionState, size: int) -> None:
    """Fill ``data_buffer`` with chat-like messages until the state takes ``size`` bytes."""
    chance = random.Random(size)
    ascii_words, other_words = _ASCII.split(), _OTHERS.split()
    messages: list[dict[str, Any]] = []
    state.data_buffer["messages"] = messages
    room = size - len(state.model_dump_json().encode())
    while room > 0:
        length = min(int(chance.triangular(200, 4 * KIB, 400)), room)
        # A message in five has words that are not ASCII, and then one word in ten is.
        share = 0.1 if chance.random() < 0.2 else 0.0
        text = ""
        while len(text) < length:
            words = other_words if chance.random() < share else ascii_words
            text += chance.choice(words) + chance.choice((" ", " ", " ", ", ", ".\n"))
        message = {"role": chance.choice(("user", "assistant", "tool")), "content": text}
        messages.append(message)
        over = size - len(state.model_dump_json().encode())
        if over < 0:
            message["content"] = text[: max(1, len(text) + over)]
        room = min(over, room - 1)


def floor(directory: Path, payload: bytes) -> Callable[[], None]:
    """Return the least that a durable replacement does; bytes and directory are at hand."""
    directory.mkdir()
    at = os.open(directory, os.O_RDONLY)
    counter = itertools.count()

    def replace() -> None:
        name = f"new-{next(counter)}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at)
        os.write(fd, payload)
        os.fsync(fd)
        os.close(fd)
        os.rename(name, "state.json", src_dir_fd=at, dst_dir_fd=at)
        os.fsync(at)

    replace()
    return replace


def open_session(
    stack: ExitStack, root: Path, size: int, durability: Literal["power", "process"]
) -> Session[SessionState]:
    """Return a session whose stored state takes ``size`` bytes."""
    store = SessionStore(root, durability=durability)
    session = stack.enter_context(store.create("bench", agent_id="support"))
    session.state.progress.path = ["plan", "fetch", "answer"]
    session.save()  # from here on the state has its owner, and its final length
    fill(session.state, size)
    session.save()
    return session


def _stored_bytes(session: Session[SessionState]) -> bytes:
    return (session.directory / "state.json").read_bytes()


# --- groups --------------------------------------------------------------------------------------


def measure_saves(options: Options) -> list[Figure]:
    """Compare a save that survives a loss of power with the floor, and a checkpoint with it."""
    figures: list[Figure] = []
    for label, size in SIZES.items():
        rounds = options.rounds(150 if size < KIB * KIB else 60)
        with options.space() as space, ExitStack() as stack:
            saved = open_session(stack, space / "save", size, "power")
            kept = open_session(stack, space / "checkpoint", size, "power")
            payload = _stored_bytes(saved)
            seen = interleave(
                {
                    "floor": floor(space / "floor", payload),
                    "floor again": floor(space / "again", payload),
                    "model_dump_json": saved.state.model_dump_json,
                    "from_json": partial(from_json, payload),
                    "save, power": saved.save,
                    "checkpoint": kept.checkpoint,
                },
                rounds=rounds,
            )
            checkpoint = kept.checkpoint()
            names = kept.directory / "state.json", kept.directory / "checkpoints"
            one = names[0].stat(), (names[1] / f"{checkpoint.checkpoint_id}.json").stat()
        medians = {name: sample.median for name, sample in seen.items()}
        least = medians["floor"] + medians["model_dump_json"] + medians["from_json"]
        shared = one[0].st_ino == one[1].st_ino
        figures += [
            Figure(
                "save",
                f"save, power / (floor + dump + from_json), {label}",
                TIMES,
                [medians["save, power"] / least],
                limit=1.25,
                note=f"state.json has {len(payload):,} bytes",
            ),
            Figure(
                "save",
                f"checkpoint / save, {label}",
                TIMES,
                [medians["checkpoint"] / medians["save, power"]],
                limit=1.6,
            ),
            Figure(
                "save",
                f"state.json and its checkpoint are one inode, {label}",
                "",
                [float(shared)],
                limit=1.0,
                at_least=True,
                note=f"{one[0].st_nlink} names",
            ),
            Figure(
                "save",
                f"floor again / floor (the noise), {label}",
                TIMES,
                [medians["floor again"] / medians["floor"]],
            ),
            *raw("save", seen, f", {label}"),
        ]
    return figures


def measure_process_saves(options: Options) -> list[Figure]:
    """Compare a save that survives the death of the process only with the floor.

    One disturbs the other: what such a save leaves unwritten is flushed with whoever flushes
    next, and who comes after a flush finds cold caches and a fresh journal transaction. So they
    are timed in turn one by one, and also in turn ten by ten, each beside the floor of its kind.
    """
    figures: list[Figure] = []
    for label, size in SIZES.items():
        rounds = options.rounds(150 if size < KIB * KIB else 60)
        with options.space() as space, ExitStack() as stack:
            saved = open_session(stack, space / "save", size, "process")
            payload = _stored_bytes(saved)
            replace = floor(space / "floor", payload)
            contenders = {"floor": replace, "save, process": saved.save}
            for turns, block in (("one by one", 1), ("ten by ten", 10)):
                seen = interleave(contenders, rounds=rounds // block, block=block)
                ratio = seen["save, process"].median / seen["floor"].median
                limit = 0.20 if size == 4 * KIB else None
                name = f"save, process / floor, {label}, {turns}"
                figures.append(Figure("process", name, TIMES, [ratio], limit=limit))
                figures += raw("process", seen, f", {label}, {turns}")
    return figures


def measure_claims(options: Options) -> list[Figure]:
    """Claim and release a paused session, less the writes to the lock file that this makes."""
    figures: list[Figure] = []
    for label in ("4 KiB", "64 KiB"):
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

            name = f"claim + release, {label}"
            seen = interleave(
                {name: claim, f"its writes, {label}": write}, rounds=options.rounds(300)
            )
            os.close(fd)
            beyond = (seen[name].median - seen[f"its writes, {label}"].median) / 1000
        figures.append(Figure("claim", f"{name}, beyond its writes", "ms", [beyond], limit=1.0))
        figures += raw("claim", seen)
    return figures


def measure_holding(options: Options) -> list[Figure]:
    """Hold many sessions in one process, and run into the descriptor limit in another."""
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
    command = [sys.executable, "-m", "benchmarks.save", "--child", *arguments]
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


GROUPS: dict[str, Group] = {
    "save": measure_saves,
    "process": measure_process_saves,
    "claim": measure_claims,
    "hold": measure_holding,
    **listing.GROUPS,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child, where, count = sys.argv[2:]
        print(json.dumps((_hold if child == "hold" else _overrun)(where, int(count))))
        sys.exit()
    sys.exit(main(GROUPS, "Measure sessionstore against the limits of its design."))
