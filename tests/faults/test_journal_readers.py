"""Readers beside a writer that appends as fast as it can, and appends from many threads at once."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sessionstore import AsyncSessionStore, JournalView, SessionStore
from tests.faults.support.journal_readers import SESSION, rewrite_on
from tests.faults.support.tally import tally
from tests.support.processes import Child

COUNTED = bool(os.environ.get("SESSIONSTORE_TALLY"))
SECONDS = 20.0 if COUNTED else 3.0
RECORDS = 10_000_000 if COUNTED else 100_000
"""How many records all readers together read at least."""
READERS = 2
LOOKS = 40
"""How many different contents a reader meets beside rewrites."""


def result_of(reader: Child) -> dict[str, Any]:
    """Return what a reader says in the end: until then it tells that it lives."""
    while "problem" not in (said := reader.hear()):
        pass
    return said


@pytest.mark.timeout(3600)
def test_readers_beside_a_fast_writer_miss_nothing_see_nothing_torn_and_never_go_back(
    tmp_path: Path,
) -> None:
    module = "faults.support.journal_readers"
    with ExitStack() as stack:
        writer = stack.enter_context(Child(f"{module}.append_on", tmp_path, SECONDS))
        assert writer.hear() == {"begun": True}
        readers = [
            stack.enter_context(Child(f"{module}.read_on", tmp_path, SECONDS, RECORDS // READERS))
            for _ in range(READERS)
        ]
        told = [result_of(reader) for reader in readers]
        (tmp_path / "done").touch()
        appended = writer.hear()["appended"]
    assert [item["problem"] for item in told] == [""] * READERS
    read = sum(item["read"] for item in told)
    assert read >= RECORDS
    assert SessionStore(tmp_path).journal(SESSION).count() == appended
    tally("journals: records read beside a writer", promise=4, cases=read)


def test_a_reader_beside_a_rewrite_sees_the_old_records_or_the_new_and_counts_one_of_them(
    tmp_path: Path,
) -> None:
    with SessionStore(tmp_path, durability="process").create("goal", session_id=SESSION) as session:
        journal = session.journal()
        journal.rewrite([[0, ""]] * 5)
        done = threading.Event()
        writer = threading.Thread(target=rewrite_on, args=(journal, done))
        writer.start()
        view = SessionStore(tmp_path).journal(SESSION)
        turns = set[int]()
        try:
            while len(turns) < LOOKS:
                values = [record.value for record in view]
                assert len({value[0] for value in values}) == 1, values
                assert len(values) == 5 + values[0][0] % 3
                assert view.count() in (5, 6, 7)
                turns.add(values[0][0])
        finally:
            done.set()
            writer.join()
    tally("journals: records read beside a writer", promise=4, cases=LOOKS)


def appended_by(worker: int, turn: int) -> list[list[int]]:
    return [[worker, turn, part] for part in range(1 + turn % 3)]


def check_batches(journal: JournalView, workers: int, turns: int) -> None:
    """Each append is there whole, none within another, those of one worker in order."""
    values = [record.value for record in journal]
    seen = [0] * workers
    while values:
        worker, turn, _ = values[0]
        whole = appended_by(worker, turn)
        assert values[: len(whole)] == whole
        assert seen[worker] == turn
        seen[worker] += 1
        del values[: len(whole)]
    assert seen == [turns] * workers


def test_appends_of_many_threads_are_whole_and_what_returned_is_read(tmp_path: Path) -> None:
    workers, turns = 8, 25
    with SessionStore(tmp_path).create("goal", session_id=SESSION) as session:

        def work(worker: int) -> None:
            journal, view = session.journal(), SessionStore(tmp_path).journal(SESSION)
            for turn in range(turns):
                number = journal.append(*appended_by(worker, turn))
                (record,) = view.read(after=number - 1, limit=1)
                assert record.value == appended_by(worker, turn)[-1]
                if turn % 5 == 0:
                    session.checkpoint()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
        session.save()
    check_batches(SessionStore(tmp_path).journal(SESSION), workers, turns)
    store = SessionStore(tmp_path)
    last = store.journal(SESSION).read(everything=True)[-1].number
    assert store.load(SESSION).journals["main"][0] == last
    tally("journals: races", promise=1, cases=workers * turns)


def test_appends_of_many_tasks_are_whole_also_where_tasks_are_cancelled(tmp_path: Path) -> None:
    workers, turns = 10, 10

    async def main() -> None:
        async with AsyncSessionStore(tmp_path) as store:
            session = await store.create("goal", session_id=SESSION)
            journal = session.journal()

            async def work(worker: int) -> None:
                for turn in range(turns):
                    await journal.append(*appended_by(worker, turn))

            async def waver() -> None:
                for _ in range(turns):
                    task = asyncio.create_task(journal.append([workers, 0, 0]))
                    await asyncio.sleep(0.001)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

            await asyncio.gather(*map(work, range(workers)), waver())
            await session.complete()

    asyncio.run(main())
    records = SessionStore(tmp_path).journal(SESSION).read()
    wavering = [record for record in records if record.value[0] == workers]
    assert len(wavering) <= turns
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    tally("journals: races", promise=1, cases=len(records))
