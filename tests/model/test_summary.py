"""A summary is a plain frozen value, also while its models are still the JSON of an index."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, cast

import pytest

from sessionstore import Page, SessionOwner, SessionRecovery, SessionStatus, SessionSummary

OWNER = {"pid": 4711, "host": "web1", "token": "00" * 8}
RECOVERY = {"count": 2, "at": "2026-01-01T00:00:00Z", "reason": "gone", "owner": OWNER}
MODELS = {
    "owner": SessionOwner.model_validate(OWNER),
    "recovery": SessionRecovery.model_validate(RECOVERY),
}


def indexed() -> SessionSummary:
    """Return a summary as an index gives it."""
    return SessionSummary(
        "s-1", status=SessionStatus.FAILED, recovery=cast("Any", RECOVERY), owner=cast("Any", OWNER)
    )


def whole() -> SessionSummary:
    return SessionSummary("s-1", status=SessionStatus.FAILED, **cast("Any", MODELS))


@pytest.mark.parametrize("name", ["owner", "recovery"])
def test_json_becomes_a_model_once_when_it_is_asked_for(name: str) -> None:
    item = indexed()
    model = getattr(item, name)
    assert model == MODELS[name]
    assert type(model) is type(MODELS[name])
    assert getattr(item, name) is model
    assert item.recoveries == 2


def test_a_summary_from_an_index_equals_one_from_a_state_and_shows_the_same() -> None:
    assert indexed() == whole()
    assert repr(indexed()) == repr(whole())
    assert indexed() != dataclasses.replace(whole(), owner=None)
    assert [one.name for one in dataclasses.fields(indexed())][-5:] == [
        "recovery",
        "pid",
        "owner",
        "liveness",
        "unsettled_steps",
    ]


@pytest.mark.parametrize("make", [indexed, whole])
def test_a_summary_survives_pickling_copying_and_replacing(make: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(make(), protocol)) == whole()
    assert copy.copy(make()) == copy.deepcopy(make()) == whole()
    assert dataclasses.replace(make(), pid=1) == dataclasses.replace(whole(), pid=1)


@pytest.mark.parametrize("name", ["owner", "recovery", "session_id"])
def test_a_summary_is_frozen(name: str) -> None:
    item = indexed()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(item, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(item, name)
    assert item == whole()


def test_a_plain_summary_has_no_models() -> None:
    item = SessionSummary("s-1")
    assert (item.owner, item.recovery, item.recoveries, item.is_stale) == (None, None, 0, False)


def test_a_page_has_the_length_of_its_items_and_iterates_over_them() -> None:
    items = [SessionSummary("a"), SessionSummary("b")]
    page = Page(items, next_cursor="more")
    assert (len(page), list(page)) == (2, items)
