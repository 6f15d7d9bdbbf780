"""Journals: records beside the state, each append whole or not at all."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sessionstore.errors import (
    ClaimLost,
    NotStorable,
    SessionNotFound,
)
from sessionstore.model.state import SessionState
from sessionstore.session.journal import Journal, JournalView
from sessionstore.store.aio import AsyncSessionStore
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, in_threads

Store = SessionStore[SessionState]

VALUES: list[Any] = [
    {"role": "user", "text": 'a "quoted"\nline with \\ and \u2028 and ü and 🎈'},
    [],
    {},
    "",
    None,
    True,
    0,
    -(2**63),
    1.5,
    {"n": 7, "crc": "00000000", "rewind": [0, 1], "more": True, "flushed": 9},
    [[[{"a": [1, {"b": None}]}]]],
]
"""What reads back equal; some look like lines of a journal."""


def values(journal: JournalView) -> list[Any]:
    """Return the values that count, in order."""
    return [record.value for record in journal]


class JournalContract(Harness[BackendT]):
    """Append, read, go back: the same in every place."""

    # --- append and read -------------------------------------------------------------------------

    def test_what_is_appended_reads_back_equal_in_order(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            journal = session.journal()
            for number, value in enumerate(VALUES, start=1):
                assert journal.append(value) == number
                assert len(journal) == journal.count() == number
            session.complete()
        for reader in (store.journal("s"), self.other_store(backend).journal("s", "main")):
            found = reader.read()
            assert [record.value for record in found] == VALUES
            assert list(map(type, values(reader))) == list(map(type, VALUES))
            assert [record.number for record in found] == list(range(1, len(VALUES) + 1))
            assert all(record.at and record.key is None for record in found)
            assert reader.count() == len(reader) == len(VALUES)

    def test_a_batch_is_appended_whole_and_its_last_number_is_returned(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            assert session.journal().append("a", "b", "c") == 3
            assert session.journal().append("d") == 4
            with pytest.raises(NotStorable):
                session.journal().append("e", float("nan"), "f")
            with pytest.raises(TypeError):
                session.journal().append()
            assert values(session.journal()) == ["a", "b", "c", "d"]
            session.complete()

    def test_a_read_begins_behind_a_number_and_ends_at_a_limit(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append(*"abcdef")
            session.complete()
        journal = store.journal("s")
        assert [one.value for one in journal.read(after=4)] == ["e", "f"]
        assert [one.value for one in journal.read(limit=2)] == ["a", "b"]
        assert [one.value for one in journal.read(2, 3)] == ["c", "d", "e"]  # inside of a batch
        assert journal.read(after=6) == journal.read(after=99) == journal.read(limit=0) == []
        with pytest.raises(ValueError, match="limit"):
            journal.read(limit=-1)

    def test_a_key_that_is_there_returns_its_number_and_writes_nothing(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            assert session.journal().append("a", key="one") == 1
            assert session.journal().append("b", "c", key="two") == 3
            assert session.journal().append("other", key="one") == 1
            session.pause()
        with self.other_store(backend).resume("s") as session:  # as code that runs again
            assert session.journal().append("a", key="one") == 1
            assert session.journal().append("b", "c", key="two") == 3
            assert session.journal("other").append("a", key="one") == 1
            assert session.journal().append("d") == 4
            session.complete()
        found = [(record.value, record.key) for record in store.journal("s")]
        assert found == [("a", "one"), ("b", None), ("c", "two"), ("d", None)]

    def test_journals_are_apart_and_listed_by_name(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            assert store.journals("s") == []
            assert session.journal("never").count() == 0
            for name in ("messages", "events", "Results.v2"):
                session.journal(name).append(name)
            session.complete()
        found = {journal.name: values(journal) for journal in store.journals("s")}
        assert found == {name: [name] for name in ("Results.v2", "events", "messages")}
        assert [journal.name for journal in store.journals("s")] == sorted(found)

    def test_what_is_not_there_is_empty_or_not_found(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.complete()
        assert store.journal("s", "none").read() == []
        assert store.journal("s", "none").count() == 0
        assert bool(store.journal("s", "none"))
        for read in (store.journal("nobody").read, store.journal("nobody").count):
            with pytest.raises(SessionNotFound):
                read()
        with pytest.raises(SessionNotFound):
            store.journals("nobody")

    def test_an_append_leaves_the_state_as_it_is(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            before, revision = self.read_raw(backend, "s"), session.revision
            session.state.data_buffer["unsaved"] = 1
            session.journal().append("a")
            assert session.revision == revision
            assert self.read_raw(backend, "s") == before
            session.complete()

    def test_a_change_of_a_value_that_was_read_or_appended_changes_no_record(
        self, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            value = {"list": [1]}
            session.journal().append(value)
            value["list"].append(2)
            session.journal().read()[0].value["list"].append(3)
            assert values(session.journal()) == [{"list": [1]}]
            session.complete()

    # --- rewrite ---------------------------------------------------------------------------------

    def test_a_rewrite_replaces_all_records_at_once(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            journal = session.journal()
            journal.append("a", "b", key="two")
            last = journal.rewrite(["short"])
            assert values(journal) == ["short"]
            assert last > 2
            assert journal.append("again", key="two") > last  # its record no longer counts
            assert values(journal) == ["short", "again"]
            everything = [record.value for record in journal.read(everything=True)]
            assert everything == ["a", "b", "short", "again"]
            with pytest.raises(NotStorable):
                journal.rewrite(["x", {1: 2}])
            assert values(journal) == ["short", "again"]
            journal.rewrite([])
            assert (values(journal), journal.count()) == ([], 0)
            session.complete()
        assert values(store.journal("s")) == []

    # --- resume ----------------------------------------------------------------------------------

    def test_a_resume_of_the_latest_checkpoint_keeps_the_records_behind_it(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.journal().append("a")
        session.checkpoint("step")
        session.journal().append("b")
        self.abandon(backend, session)
        with self.other_store(backend).resume("s") as session:
            assert values(session.journal()) == ["a", "b"]
            assert session.journal().append("c") == 3
            session.complete()
        assert values(store.journal("s")) == ["a", "b", "c"]

    def test_a_resume_of_a_named_checkpoint_goes_back_and_numbers_go_on(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append("a", key="a")
            then = session.checkpoint("step")
            session.journal().append("b", key="b")
            session.journal("late").append("x")
            session.pause()
        reader = self.other_store(backend)
        with store.resume("s", checkpoint_id=then.checkpoint_id) as session:
            # It counts at once, before the next append, for the holder and for others.
            for journal in (session.journal(), reader.journal("s")):
                assert (values(journal), journal.count()) == (["a"], 1)
            assert values(session.journal("late")) == values(reader.journal("s", "late")) == []
            assert session.journal().append("a", key="a") == 1
            assert session.journal().append("other", key="b") > 2
            session.pause()
        assert values(reader.journal("s")) == ["a", "other"]
        numbers = [record.number for record in reader.journal("s").read(everything=True)]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 3

    def test_going_back_and_forth_undoes_it(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append("a")
            then = session.checkpoint("step")
            session.journal().append("b")
            later = session.checkpoint("step")
            session.pause()
        for chosen, found in ((then, ["a"]), (later, ["a", "b"]), (then, ["a"])):
            with store.resume("s", checkpoint_id=chosen.checkpoint_id) as session:
                assert values(session.journal()) == found
                session.journal().append("x")
                session.pause()
            assert values(store.journal("s")) == [*found, "x"]

    # --- readers ---------------------------------------------------------------------------------

    def test_readers_beside_a_writer_see_whole_appends_in_order(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        count = 60

        def work(number: int) -> int:
            if number == 0:
                for turn in range(count):
                    session.journal().append({"turn": turn}, {"turn": turn, "end": True})
                return 0
            reader, last, looks = self.other_store(backend).journal("s"), 0, 0
            while last < 2 * count:
                found = reader.read(after=last)
                assert len(found) % 2 == 0  # no half of a batch
                for record in found:
                    last += 1
                    assert record.number == last
                    assert record.value["turn"] == (last - 1) // 2
                looks += 1
            return looks

        outcomes = in_threads(3, work)
        assert all(isinstance(one, int) for one in outcomes), outcomes
        session.complete()

    # --- edit ------------------------------------------------------------------------------------

    def test_an_edit_that_only_appends_writes_no_state(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.pause()
        before, kept = self.read_raw(backend, "s"), backend.checkpoint_ids("s")
        for value in ("a", "b"):
            with store.edit("s") as session:
                session.journal().append(value)
        assert self.read_raw(backend, "s") == before
        assert backend.checkpoint_ids("s") == kept
        assert values(store.journal("s")) == ["a", "b"]

    def test_appends_of_an_edit_that_raises_stay_and_its_state_does_not(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.pause()
        before = self.read_raw(backend, "s")

        def change() -> None:
            with store.edit("s") as session:
                session.state.data_buffer["x"] = 1
                session.journal().append("happened")
                raise RuntimeError("by itself")

        with pytest.raises(RuntimeError):
            change()
        assert self.read_raw(backend, "s") == before
        assert values(store.journal("s")) == ["happened"]

    # --- threads and asyncio ---------------------------------------------------------------------

    def test_threads_that_append_at_once_lose_nothing(self, store: Store) -> None:
        session = store.create("g", session_id="s")

        def work(number: int) -> list[int]:
            append: Callable[..., int] = Journal.append
            return [append(session.journal(), [number, turn]) for turn in range(20)]

        given = in_threads(4, work)
        session.complete()
        numbers = [number for one in given if isinstance(one, list) for number in one]
        assert sorted(numbers) == list(range(1, 81)), given
        for thread in range(4):
            turns = [turn for one, turn in values(store.journal("s")) if one == thread]
            assert turns == list(range(20))

    def test_the_awaited_twins_do_the_same(self, backend: BackendT, store: Store) -> None:
        async def work() -> None:
            async with AsyncSessionStore(backend) as aio:
                async with aio.create("g", session_id="s") as session:
                    journal = session.journal("messages")
                    assert await journal.append("a", "b", key="one") == 2
                    assert await journal.append("a", "b", key="one") == 2
                    value = {"list": [1]}
                    appending = asyncio.ensure_future(journal.append(value))
                    await asyncio.sleep(0)
                    value["list"].append(2)
                    assert await appending == 3
                    with pytest.raises(NotStorable):
                        await journal.append(float("nan"))
                    assert await journal.count() == 3
                    assert [one.value async for one in journal] == ["a", "b", {"list": [1]}]
                    await session.complete()
                reader = aio.journal("s", "messages")
                assert [one.number for one in await reader.read(after=1, limit=1)] == [2]
                assert [one.name for one in await aio.journals("s")] == ["messages"]
                async with aio.resume("s", again=True) as session:
                    await session.journal("messages").rewrite(["c"])
                    await session.complete()
                assert [one.value async for one in reader] == ["c"]
                assert len(await reader.read(everything=True)) == 4
                with pytest.raises(ClaimLost):
                    await journal.append("late")

        asyncio.run(work())
        assert values(store.journal("s", "messages")) == ["c"]

    def test_tasks_that_append_at_once_are_stored_in_the_order_of_their_calls(
        self, backend: BackendT, store: Store
    ) -> None:
        async def work() -> None:
            async with (
                AsyncSessionStore(backend) as aio,
                aio.create("g", session_id="s") as session,
            ):
                journal = session.journal()
                numbers = await asyncio.gather(*(journal.append(n) for n in range(1, 41)))
                assert numbers == list(range(1, 41))
                await session.complete()

        asyncio.run(work())
        assert values(store.journal("s")) == list(range(1, 41))
