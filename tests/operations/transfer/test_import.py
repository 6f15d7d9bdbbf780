"""Sessions come in: nothing is overwritten, and what is interrupted leaves whole sessions only."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sessionstore import (
    InvalidSessionId,
    SessionStatus,
    SessionStore,
)
from tests.support.processes import (
    Child,
    leftovers,
    new_session,
    session_path,
    tree,
)
from tests.support.transfer import Store, full, names

FORMS = ["x.tar.gz", "x.tgz", "x.tar", "x"]


def test_nothing_is_ever_overwritten(tmp_path: Path, store: Store, other: Store) -> None:
    full(store, "s1")
    new_session(tmp_path / "from", "s2")
    new_session(tmp_path / "to", "s1", checkpoint=False)
    store.export_sessions(tmp_path / "x.tar.gz")
    before = tree(session_path(tmp_path / "to", "s1"))
    report = other.import_sessions(tmp_path / "x.tar.gz")
    assert (names(report.imported), names(report.existing)) == (["s2"], ["s1"])
    assert not report.is_whole
    assert tree(session_path(tmp_path / "to", "s1")) == before
    assert leftovers(tmp_path) == []
    assert names(other.import_sessions(tmp_path / "x.tar.gz").existing) == ["s1", "s2"]


def test_one_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, store: Store, other: Store
) -> None:
    new_session(tmp_path / "from")
    store.export_sessions(tmp_path / "x.tar.gz")

    def be_faster(done: int, total: int) -> None:
        if (done, total) == (1, 2):  # it was read, and is about to be adopted
            new_session(tmp_path / "to", "s1", checkpoint=False)

    report = other.import_sessions(tmp_path / "x.tar.gz", progress=be_faster)
    assert names(report.existing) == ["s1"]
    assert other.load("s1").status is SessionStatus.FAILED


def test_one_session_can_be_given_another_name(tmp_path: Path, store: Store, other: Store) -> None:
    full(store)
    store.export_sessions(tmp_path / "x.tar.gz")
    (come,) = other.import_sessions(tmp_path / "x.tar.gz", session_id="copy").imported
    assert come.session_id == "copy"
    one, copy = store.load("s1"), other.load("copy")
    assert copy.model_dump(exclude={"session_id"}) == one.model_dump(exclude={"session_id"})
    assert [item.damaged for item in other.checkpoints("copy")] == [None] * 4
    with other.resume("copy") as session:
        session.complete()
    new_session(tmp_path / "from", "s2")
    store.export_sessions(tmp_path / "two.tar.gz")
    with pytest.raises(ValueError, match="more than one session"):
        other.import_sessions(tmp_path / "two.tar.gz", session_id="both")
    with pytest.raises(InvalidSessionId):
        other.import_sessions(tmp_path / "x.tar.gz", session_id="../x")
    assert not other.exists("both")


# --- interrupted --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_interrupted_leaves_whole_sessions_only(
    tmp_path: Path, store: Store, other: Store, how: signal.Signals
) -> None:
    for number in range(20):
        new_session(tmp_path / "from", f"s{number:02}")
    store.export_sessions(tmp_path / "x.tar.gz")
    new_session(tmp_path / "to", "before")
    sessions = tmp_path / "to" / "sessions"
    archive = tmp_path / "x.tar.gz"
    # First while it reads, then while it moves in what it has read. The signal hits wherever it
    # is by then, but no later than at the last step.
    for begin, last in ((5, (14, 15)), (20, (39, 40))):
        with Child("import_slowly", tmp_path / "to", archive, *last) as one:
            while one.hear()["total"] <= begin:
                continue
            one.signal(how)
            assert one.wait() == -how
        there = [path.name for path in sessions.iterdir() if not path.name.startswith(".")]
        for name in there:
            if name != "before":
                whole = session_path(tmp_path / "from", name)
                assert tree(session_path(tmp_path / "to", name)) == tree(whole)
    report = other.import_sessions(tmp_path / "x.tar.gz")
    assert len(report.imported) + len(report.existing) == 20
    other.recover()  # tidies up after the dead, as a start-up does
    assert leftovers(tmp_path / "to") == []
    assert not list((tmp_path / "to" / "locks").glob("import.*")) or how == signal.SIGKILL
    other.check(repair=True)
    assert not list((tmp_path / "to" / "locks").glob("import.*"))


def test_a_sweep_leaves_an_import_that_is_under_way_alone(
    tmp_path: Path, store: Store, other: Store
) -> None:
    for number in range(4):
        full(store, f"s{number}")
    store.export_sessions(tmp_path / "x.tar.gz")

    def sweep(done: int, total: int) -> None:
        sweeper = SessionStore(tmp_path / "to")
        sweeper.recover()
        sweeper.check(repair=True)

    report = other.import_sessions(tmp_path / "x.tar.gz", progress=sweep)
    assert len(report.imported) == 4
    for number in range(4):
        whole = session_path(tmp_path / "from", f"s{number}")
        assert tree(session_path(tmp_path / "to", f"s{number}")) == tree(whole)
