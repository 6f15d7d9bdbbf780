"""Ids: what could leave the root, or mean something else elsewhere, is refused."""

from __future__ import annotations

import doctest
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore import InvalidSessionId, SessionStore, id_for
from sessionstore.model.ids import (
    check_id,
    checkpoint_ids_in_order,
    is_id,
    make_checkpoint_id,
    make_session_id,
    parse_checkpoint_id,
)

NOON = datetime(2026, 11, 22, 12, 3, 11, tzinfo=UTC)

GOOD = ["a", "A", "0", "a.b", "a_b", "a-b", "a..b", "x" * 128, "session_20261122_120311_00c0ffee",
        "console", "com", "com10", "nulls", "my.con", "lpt"]  # fmt: skip
BAD: list[Any] = [
    "", ".", "..", ".hidden", "-rf", "_a", "a/b", "../a", "a/../b", "/etc", "a\\b", "C:a", "a:b",
    "a b", " a", "a ", "a\n", "a\0", "a\x1b[31m", "\u202ea", "é", "a\u0301", "\u0661", "\uff41",
    "a*", "a?", "~a", "$a", "%41", "x" * 129, "a.", "a..", "con", "CON", "Nul", "prn", "aux",
    "com1", "COM9", "com0", "lpt1", "LPT0", "con.txt", "Aux.tar.gz", "nul.", "\ud800",
    None, 7, b"a", ["a"], Path("a"),
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD)
def test_a_safe_id_is_taken_as_it_is(value: str) -> None:
    assert check_id(value) == value
    assert is_id(value)


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_an_unsafe_id_is_refused_with_a_printable_reason(value: Any) -> None:
    with pytest.raises(InvalidSessionId) as refused:
        check_id(value)
    assert not is_id(value)
    assert refused.value.session_id is value
    assert str(refused.value).isprintable()
    assert refused.value.reason in str(refused.value)


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_no_door_of_the_store_lets_an_unsafe_id_in(tmp_path: Path, value: Any) -> None:
    root = tmp_path / "root"
    store = SessionStore(root)
    for attempt in (
        lambda: store.load(value),
        lambda: store.exists(value),
        lambda: store.claim(value),
        lambda: store.resume(value),
        lambda: store.delete(value),
        lambda: store.liveness(value),
        lambda: store.checkpoints(value),
        lambda: store.load_checkpoint(value),
        lambda: store.recover(assume_dead=[value]),
    ):
        with pytest.raises(InvalidSessionId):
            attempt()
    if value is not None:  # None asks for a generated one
        with pytest.raises(InvalidSessionId):
            store.create("triage", session_id=value)
    assert [entry.name for entry in tmp_path.iterdir() if entry != root] == []
    assert not list(root.rglob("state.json"))


@settings(database=None, deadline=None)
@given(value=st.text(max_size=140) | st.from_regex(r"[A-Za-z0-9._/\\-]{1,140}", fullmatch=True))
def test_an_accepted_id_is_one_plain_name_on_every_system(value: str) -> None:
    if is_id(value):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", value)
        assert not value.endswith(".")
        assert Path("root", value).parent == Path("root")
        assert value.partition(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


def test_a_generated_session_id_tells_when_and_is_safe() -> None:
    made = make_session_id(NOON)
    assert re.fullmatch(r"session_20261122_120311_[0-9a-f]{8}", made)
    assert is_id(made)


def test_generated_ids_of_one_second_differ() -> None:
    assert len({make_session_id(NOON) for _ in range(100)}) == 100
    assert len({make_checkpoint_id("manual", "plan", 1, NOON) for _ in range(100)}) == 100


@settings(database=None, deadline=None)
@given(kind=st.text(), node=st.none() | st.text(), revision=st.integers(0, 10**12))
def test_a_checkpoint_id_is_safe_and_tells_its_revision_whatever_the_node_is_called(
    kind: str, node: str | None, revision: int
) -> None:
    made = make_checkpoint_id(kind, node, revision, NOON)
    assert is_id(made)
    parsed = parse_checkpoint_id(made)
    assert parsed is not None
    assert parsed.revision == revision


@pytest.mark.parametrize(
    ("kind", "node"),
    [("node_complete", "plan"), ("manual", None), ("pause", "ask_user"), ("a-b", "x-1")],
)
def test_the_parts_of_a_plain_checkpoint_id_are_read_back(kind: str, node: str | None) -> None:
    parsed = parse_checkpoint_id(make_checkpoint_id(kind, node, 12, NOON))
    assert parsed == (kind, node, 12)


@pytest.mark.parametrize(
    "foreign",
    ["", "cp", "cp_node_complete_greeter_20261122_132325", "a.b.r1.c", "cp_x.r.y", "cp_x.r-1.y",
     "cp_x.r٣.y", "cp_x.12.y", "cp_a.b.c.r1.d"],
)  # fmt: skip
def test_an_id_that_is_not_ours_has_no_parts(foreign: str) -> None:
    assert parse_checkpoint_id(foreign) is None


# --- id_for --------------------------------------------------------------------------------------

STABLE = {
    ("mail", "Anna@example.org", 7): "mail-Anna-example-org-7-7c2182717f6f091ee944b271db7bf5c0",
    ("",): "fb912574cecad54c6a0bc75b46172350",
    ("con",): "con-8f67004cdaf53fca42a37b4f23900a14",
    ("ä/ö", -5): "5-44c77c75e8463074f788590e0afcb2a8",
}
"""The ids that were given from the first release on."""


@pytest.mark.parametrize(("names", "expected"), STABLE.items())
def test_an_id_for_names_stays_the_same_for_ever(
    names: tuple[str | int, ...], expected: str
) -> None:
    assert id_for(*names) == expected


class Kind(StrEnum):
    MAIL = "mail"


def test_an_id_for_names_tells_apart_what_differs() -> None:
    names: list[tuple[str | int, ...]] = [
        ("a", "bc"), ("ab", "c"), ("a-bc",), ("abc",), ("a", "b", "c"), ("bc", "a"), ("A", "bc"),
        ("a", "bc", ""), ("", "a", "bc"), ("1",), (1,), (-1,), ("-1",), (16,), ("10",), ("i1:1",),
        ("é",), ("e\u0301",), ("\ud83d\ude00",), ("\U0001f600",), ("x" * 200,), ("x" * 201,),
        (10**5000,), (10**5000 + 1,),
    ]  # fmt: skip
    assert len({id_for(*each).lower() for each in names}) == len(names)
    assert len({id_for(*each)[-32:] for each in names}) == len(names)
    assert id_for(Kind.MAIL) == id_for("mail")


@pytest.mark.parametrize("name", [None, True, 1.5, b"a", ["a"], NOON])
def test_a_name_that_is_neither_text_nor_an_integer_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="text or an integer"):
        id_for("mail", name)


def test_an_id_for_no_name_is_refused() -> None:
    with pytest.raises(TypeError, match="at least one name"):
        id_for()


@settings(database=None, max_examples=300)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=())) | st.integers() | st.sampled_from(BAD[:-5]),
        min_size=1,
        max_size=5,
    )
)
def test_an_id_for_any_names_is_valid_and_ends_in_the_hash(names: list[str | int]) -> None:
    made = id_for(*names)
    assert check_id(made) == made
    assert len(made) <= 97
    assert re.search(r"(^|-)[0-9a-f]{32}\Z", made)
    assert made == id_for(*names)


@pytest.mark.parametrize("name", [name for name in BAD if isinstance(name, str)])
def test_an_id_for_an_unsafe_name_is_safe(name: str) -> None:
    assert is_id(id_for(name))
    assert is_id(id_for(name, name))


def test_the_example_of_id_for_runs() -> None:
    example = doctest.DocTestFinder().find(id_for, "id_for", globs={})[0]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_checkpoint_ids_are_in_order_as_far_as_they_tell() -> None:
    later = NOON + timedelta(days=1)
    in_order = [
        "cp_node_complete_zebra_20260101_000000",
        "cp_node_complete_ape_20260202_000000",
        make_checkpoint_id("pause", "z", 2, NOON),
        make_checkpoint_id("node", "a", 9, later),
        make_checkpoint_id("node", "z", 10, NOON),
        make_checkpoint_id("before_resume", "a", 10, later),
    ]
    assert checkpoint_ids_in_order(reversed(in_order)) == in_order
    assert checkpoint_ids_in_order(["b", "a"]) == ["a", "b"]
