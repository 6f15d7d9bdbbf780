"""An exception becomes text: its message first, then a bounded traceback without values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import AsyncSessionStore, MemoryBackend, SessionState, SessionStore
from sessionstore.session import error_text
from sessionstore.session.error_text import describe_error, record_error
from tests.support.processes import read_state

Store = SessionStore[SessionState]
HERE = os.path.realpath(__file__)
SECRET = "s3cret-of-a-local-variable"


def caught(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:  # what left it is what is looked at
        return error
    raise AssertionError("nothing was raised")


def fail(message: str = "no such city") -> None:
    password = SECRET[::-1][::-1]
    assert password
    raise ValueError(message)


def dive(depth: int) -> None:
    if not depth:
        fail()
    dive(depth - 1)


def test_the_first_line_is_the_exception_and_the_last_where_it_was_raised() -> None:
    lines = record_error(caught(fail)).split("\n")
    assert lines[0] == "ValueError: no such city"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2] == f'  File "{HERE}", line {fail.__code__.co_firstlineno + 3}, in fail'
    assert lines[-1] == "    raise ValueError(message)"


def test_values_of_variables_are_not_in_it() -> None:
    assert SECRET not in record_error(caught(fail))


def test_an_exception_that_was_never_raised_is_one_line() -> None:
    assert record_error(ValueError("no such city")) == "ValueError: no such city"
    assert record_error(ValueError()) == "ValueError"
    assert record_error("by hand\nin two lines") == "by hand\nin two lines"


def test_only_the_last_frames_are_kept_and_the_others_counted() -> None:
    text = record_error(caught(lambda: dive(500)))
    places = [line for line in text.split("\n") if line.startswith("  File ")]
    assert len(places) == error_text.FRAMES
    assert places[-1].endswith("in fail")
    # 501 of dive(), one each of fail(), the lambda and caught().
    assert f"  {504 - error_text.FRAMES} frames left out\n" in text


def test_an_endless_recursion_is_recorded() -> None:
    def fall() -> None:
        fall()

    text = record_error(caught(fall))
    assert text.startswith("RecursionError: ")
    assert "frames left out" in text


def chained(depth: int) -> None:
    if not depth:
        raise KeyError("the root")
    try:
        chained(depth - 1)
    except Exception as error:
        raise RuntimeError(f"level {depth}") from error


def test_causes_are_named_with_their_last_frames_the_nearest_first() -> None:
    text = record_error(caught(lambda: chained(2)))
    lines = [line for line in text.split("\n") if not line.startswith(" ")]
    assert lines == [
        "RuntimeError: level 2",
        "caused by RuntimeError: level 1",
        "caused by KeyError: 'the root'",
        "Traceback (most recent call last):",
    ]
    assert text.index("raise KeyError") < text.index("Traceback")
    assert text.endswith('raise RuntimeError(f"level {depth}") from error')


def test_many_causes_are_counted_and_a_circle_ends() -> None:
    text = record_error(caught(lambda: chained(50)))
    assert text.count("caused by") == error_text.RELATED
    assert f"{50 - error_text.RELATED} further exceptions left out" in text
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert record_error(one) == "ValueError: one\ncaused by ValueError: two"


def test_what_was_being_handled_is_named_unless_it_was_hidden() -> None:
    def handle(*, hides: bool) -> None:
        try:
            fail("first")
        except ValueError:
            if hides:
                raise KeyError("second") from None
            raise KeyError("second")  # noqa: B904 - the implicit chain is the subject

    assert "while handling ValueError: first" in record_error(caught(lambda: handle(hides=False)))
    hidden = record_error(caught(lambda: handle(hides=True)))
    assert "while handling" not in hidden


def test_the_members_of_a_group_are_told_and_so_are_their_causes() -> None:
    members: list[Exception] = []
    for work in (lambda: fail("left"), lambda: chained(1)):
        error = caught(work)
        assert isinstance(error, Exception)
        members.append(error)

    def end() -> None:
        raise ExceptionGroup("two tasks", [ExceptionGroup("inner", members), TypeError("right")])

    text = record_error(caught(end))
    lines = [line for line in text.split("\n") if not line.startswith(" ")]
    assert lines == [
        "ExceptionGroup: two tasks (2 sub-exceptions)",
        "a member of the group: ExceptionGroup: inner (2 sub-exceptions)",
        "a member of the group: ValueError: left",
        "a member of the group: RuntimeError: level 1",
        "caused by KeyError: 'the root'",
        "a member of the group: TypeError: right",
        "Traceback (most recent call last):",
    ]


def test_a_huge_group_and_a_huge_message_are_bounded() -> None:
    group = ExceptionGroup("g" * 100_000, [ValueError("x" * 100_000) for _ in range(1000)])

    def end() -> None:
        raise group

    text = record_error(caught(end))
    assert len(text) < 10_000
    assert "96,022 characters left out" in text
    assert f"{1000 - error_text.RELATED} further exceptions left out" in text


def test_the_whole_text_is_bounded_whatever_the_frames_are_called() -> None:
    long = "f" * 5000
    place: dict[str, Any] = {}
    body = f"def {long}(n):\n    return {long}(n - 1) if n else 1 / 0  # {'x' * 9000}\n"
    exec(compile(body, "d" * 5000 + ".py", "exec"), place)
    text = record_error(caught(lambda: place[long](100)))
    assert max(map(len, text.split("\n"))) <= error_text.LINE_LIMIT + 4
    assert len(text) <= 2 * error_text.FRAMES * (error_text.LINE_LIMIT + 5) + 200


class Mute(Exception):
    def __str__(self) -> str:
        raise OSError("no words")


class Liar(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - it breaks its word


@pytest.mark.parametrize(("kind", "trouble"), [(Mute, "OSError"), (Liar, "TypeError")])
def test_an_exception_that_cannot_be_told_is_recorded_as_such(
    kind: type[Exception], trouble: str
) -> None:
    def end() -> None:
        raise kind

    text = record_error(caught(end))
    assert text.startswith(
        f"{kind.__name__}: its message cannot be told: str() raised {trouble}\nTraceback"
    )


def test_hostile_attributes_stop_no_record() -> None:
    error = SyntaxError("odd")
    error.filename = Mute()  # type: ignore[assignment]  # what nobody should do
    assert record_error(error) == "SyntaxError: odd\nits traceback cannot be told"


def test_a_syntax_error_names_the_line_that_is_wrong() -> None:
    text = record_error(caught(lambda: compile("a = 1\nb = = 2\n", "rules.py", "exec")))
    assert text.startswith("SyntaxError: ")
    assert text.endswith('  File "rules.py", line 2\n    b = = 2')


def test_notes_are_told() -> None:
    error = ValueError("no such city")
    for number in range(5):
        error.add_note(f"note {number}\nof two lines")
    assert record_error(error).split("\n") == [
        "ValueError: no such city",
        *(rf"note: note {number}\nof two lines" for number in range(error_text.NOTES)),
    ]


def test_lone_surrogates_and_line_ends_in_names_are_escaped() -> None:
    def end() -> None:
        raise ValueError("a\ud800b\nsecond")

    text = record_error(caught(end))
    assert text.startswith("ValueError: a\\ud800b\nsecond\nTraceback")
    assert describe_error("\udcff") == "\\udcff"
    json.loads(json.dumps(text)).encode()


@pytest.mark.parametrize("kind", ["files", "memory"])
def test_what_leaves_a_block_is_stored_whole_and_listed_in_one_line(
    tmp_path: Path, kind: str
) -> None:
    store: Store = SessionStore(tmp_path if kind == "files" else MemoryBackend())
    with pytest.raises(ValueError), store.create("goal", session_id="s1"):
        fail("two\nlines")
    error = store.load("s1").result.error
    assert error is not None
    assert error.startswith("ValueError: two\nlines\nTraceback (most recent call last):\n")
    assert error.endswith("raise ValueError(message)")
    for looked in range(2):  # read from its file, and from the index
        (item,) = store.find(status="failed")
        assert item.error == "ValueError: two", looked
    if kind == "files":
        (tmp_path / "sessions" / "s1" / "state.json").touch()
        (item,) = store.find(status="failed")
        assert item.error == "ValueError: two"


def test_an_exception_that_is_handed_to_fail_has_its_traceback(tmp_path: Path) -> None:
    store: Store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    try:
        fail()
    except ValueError as error:
        session.fail(error)
    assert str(store.load("s1").result.error).endswith("raise ValueError(message)")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_stop_says_where_and_still_counts_as_one(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    store: Store = SessionStore(tmp_path)

    def end() -> None:
        raise stop

    with pytest.raises(stop), store.create("goal", session_id="s1"):
        end()
    state = store.load("s1")
    assert state.is_interrupted
    assert state.recovery is not None
    assert state.recovery.reason == f"it was stopped by {stop.__name__}"
    assert str(state.result.error).startswith(f"{state.recovery.reason}\nTraceback")
    assert [item.session_id for item in store.find(interrupted=True)] == ["s1"]
    with store.resume("s1") as session:  # nothing is kept of what only repeats the stop
        assert session.state.result.error is None
        assert not [
            one for one in store.checkpoints("s1") if one.checkpoint_type == "before_resume"
        ]
        session.complete()


def test_what_leaves_an_awaited_block_has_its_traceback(tmp_path: Path) -> None:
    import asyncio

    async def work() -> None:
        async with AsyncSessionStore(tmp_path) as store, asyncio.TaskGroup() as group:

            async def one() -> None:
                async with store.create("goal", session_id="s1"):
                    await asyncio.sleep(0)
                    fail()

            group.create_task(one())

    with pytest.raises(ExceptionGroup):
        asyncio.run(work())
    assert "in one\n" in read_state(tmp_path, "s1")["result"]["error"]
