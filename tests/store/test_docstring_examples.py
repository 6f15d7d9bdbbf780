"""Each example in a public docstring runs, on a store with one session that is paused."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import sessionstore
from sessionstore import Session, SessionStore, Step

METHODS = {
    f"{kind.__name__}.{name}": member
    for kind in (SessionStore, Session)
    for name, member in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_")
}
CALLED = {**METHODS, "SessionStore": SessionStore, "Session": Session}
WITHOUT = {"SessionStore.close"}
"""What needs no example."""


def stopped() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that the examples use: a store with the session that they speak of."""
    monkeypatch.chdir(tmp_path)
    with SessionStore("store", durability="process") as store:
        with store.create("triage", session_id="ticket-1") as session:
            session.state.data_buffer["team"] = "billing"
            session.checkpoint("node_complete", node="classify")
            session.journal("messages").append({"role": "user"}, {"role": "assistant"})
            session.step("plan", lambda text: {"team": text}, "billing")
            with suppress(KeyboardInterrupt):
                session.step(Step("pay", at_most_once=True), stopped)
            session.pause("ask")
        yield {"store": store, "SessionStore": SessionStore, "sessionstore": sessionstore}


@pytest.mark.parametrize("name", sorted(CALLED))
def test_an_example_runs_and_prints_what_it_says(name: str, home: dict[str, Any]) -> None:
    text = inspect.getdoc(CALLED[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, home, name, None, 0)
    assert bool(example.examples) is (name not in WITHOUT)
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
