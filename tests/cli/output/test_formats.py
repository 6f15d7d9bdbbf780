"""One report in every format: only the format that is asked for is computed and written."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sessionstore.cli.errors import Exit
from sessionstore.cli.output.formats import Report, emit, emit_each
from sessionstore.cli.output.json import Item
from sessionstore.errors import SessionNotFound


def report(computed: list[str], *, listed: str | None = None) -> Report:
    """Return a report of two sessions that notes which of its formats are computed."""

    def each(kind: str) -> Iterator[str]:
        for name in ("a", "b"):
            computed.append(kind)
            yield name

    def fields() -> Item:
        computed.append("fields")
        return {"count": 2}

    return Report(
        schema="sessionstore.test/1",
        lines=({"id": name} for name in each("lines")),
        fields=fields,
        ids=each("ids"),
        table=lambda: computed.append("table"),
        listed=listed,
    )


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_only_what_is_asked_for_is_computed(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    computed: list[str] = []
    emit(report(computed), form)
    kind = {"json": "fields", "jsonl": "lines"}.get(form, form)
    assert set(computed) == {kind}
    written = capsys.readouterr().out
    lines = written.splitlines()
    if form == "jsonl":
        schema = {"schema": "sessionstore.test.line/1"}
        assert [json.loads(line) for line in lines] == [schema | {"id": name} for name in "ab"]
    elif form == "json":
        assert json.loads(written) == {"schema": "sessionstore.test/1", "count": 2}
    else:
        assert lines == (["a", "b"] if form == "ids" else [])


def test_a_list_is_written_as_it_comes_and_the_fields_follow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    computed: list[str] = []
    emit(report(computed, listed="sessions"), "json")
    assert computed == ["lines", "lines", "fields"]
    assert list(json.loads(capsys.readouterr().out).items()) == [
        ("schema", "sessionstore.test/1"),
        ("sessions", [{"id": "a"}, {"id": "b"}]),
        ("count", 2),
    ]


@pytest.mark.parametrize(
    ("ids", "code"),
    [(["a"], Exit.OK), (["a", "none"], Exit.PARTLY), (["none"], Exit.NOT_FOUND)],
)
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_a_refusal_stops_only_its_own_session(
    ids: list[str], code: Exit, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("sessionstore.cli.output.formats.refused", lambda _: Exit.NOT_FOUND)

    def act(session_id: str) -> Item:
        if session_id == "none":
            raise SessionNotFound(session_id, "here")
        done.append(session_id)
        return {}

    found = emit_each([*ids, *ids], act, form, schema="x/1", done="done", listed="all")
    assert found is code
    assert done == [name for name in [*ids, *ids] if name == "a"]
