"""What is read ahead of a comparison, and that nothing of it stays."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.storage.files.index import ahead, rebuild
from sessionstore.storage.files.index.observe import Eyes
from tests.support.index import assert_true, fill

ALWAYS, NEVER = -1e9, 1e9


@pytest.mark.parametrize("cold", [ALWAYS, NEVER])
def test_the_next_batch_is_read_before_it_is_worked_on_if_the_disk_is_slow(
    monkeypatch: pytest.MonkeyPatch, cold: float
) -> None:
    monkeypatch.setattr(ahead, "_COLD", cold)
    read: list[int] = []
    seen: list[int] = []
    before = threading.active_count()
    for batch in ahead.in_batches(range(95), 10, read.append):
        if cold == ALWAYS and seen:
            assert set(batch) <= set(read) or len(seen) == 10, "all but the first two are there"
        seen += batch
    assert seen == list(range(95))
    assert sorted(read) == (list(range(20, 95)) if cold == ALWAYS else [])
    assert threading.active_count() == before


@pytest.mark.parametrize("at", [0, 25])
def test_who_stops_in_the_middle_leaves_no_thread(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(ahead, "_COLD", ALWAYS)
    before = threading.active_count()
    batches = ahead.in_batches(range(100), 10, lambda _: None)

    def work() -> None:
        with closing(batches):
            for batch in batches:
                if at in batch:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert threading.active_count() == before


def test_what_cannot_be_read_is_left_to_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_COLD", ALWAYS)

    def read(_: int) -> None:
        raise PermissionError

    assert [list(batch) for batch in ahead.in_batches(range(5), 2, read)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("name", ["touch", "signature"])
def test_an_index_says_the_same_from_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ahead, "_COLD", ALWAYS)
    monkeypatch.setattr(rebuild, "_BATCH", 2)
    monkeypatch.setattr(rebuild, "_WINDOW", 7)
    real, by = getattr(Eyes, name), set[int]()

    def look(self: Eyes, session_id: str) -> object:
        by.add(threading.get_ident())
        return real(self, session_id)

    fill(tmp_path, 20)
    store = SessionStore(tmp_path)
    if name == "signature":
        store.find()
    monkeypatch.setattr(Eyes, name, look)
    store.find(verify=True)
    assert by - {threading.get_ident()}, "nobody read ahead"
    assert_true(store)
