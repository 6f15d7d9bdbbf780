"""Check and repair: damage is found and repaired without losing anything or disturbing anybody."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionstore.model.state import SessionState
from sessionstore.storage.report import CheckReport, Finding, FindingKind
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import (
    BackendT,
    Harness,
    dead_owner,
    forget,
    in_threads,
    live_owner,
)

Store = SessionStore[SessionState]


def on_data(report: CheckReport) -> list[Finding]:
    """Return the findings that do not stem from how the test wrote something."""
    return [item for item in report.findings if item.kind is not FindingKind.WRONG_MODE]


def kinds(report: CheckReport) -> list[str]:
    """Return their kinds, in order."""
    return [str(item.kind) for item in on_data(report)]


class CheckContract(Harness[BackendT]):
    """What ``store.check`` finds and mends."""

    def ended(self, store: Store, session_id: str = "s") -> list[str]:
        """Make a session with two checkpoints that came to its end; return their ids."""
        kept = []
        with store.create("g", session_id=session_id) as session:
            for step in (1, 2):
                session.state.data_buffer["done"] = step
                kept.append(session.checkpoint("step").checkpoint_id)
            session.state.data_buffer["done"] = 3
            session.complete()
        return kept

    def repaired(self, store: Store) -> CheckReport:
        """Check, repair, and see that the second repair has nothing left to do."""
        found = store.check()
        report = store.check(repair=True)
        assert [(item.kind, item.session_id, item.file) for item in found.findings] == [
            (item.kind, item.session_id, item.file) for item in report.findings
        ]
        assert all(item.is_repaired for item in report.findings), report.findings
        assert not report.has_damage
        assert store.check(repair=True).findings == ()
        return report

    def test_a_sound_store_has_no_findings(self, backend: BackendT, store: Store) -> None:
        self.ended(store, "one")
        self.ended(store, "two")
        before = self.read_raw(backend, "one")
        seen: list[tuple[int, int]] = []
        report = store.check(repair=True, progress=lambda done, total: seen.append((done, total)))
        assert (on_data(report), report.checked, report.has_damage) == ([], 2, False)
        assert seen == [(0, 2), (1, 2), (2, 2)]
        assert self.read_raw(backend, "one") == before

    def test_a_check_without_repair_changes_nothing(self, backend: BackendT, store: Store) -> None:
        kept = self.ended(store)
        torn = self.damage(backend, "s")
        self.write_raw_checkpoint(backend, "s", kept[0], b"[]")
        report = store.check()
        assert report.has_damage
        assert kinds(report) == ["damaged_state", "damaged_checkpoint"]
        assert all(item.repair and not item.is_repaired for item in report.findings)
        assert self.read_raw(backend, "s") == torn
        assert self.read_raw_checkpoint(backend, "s", kept[0]) == b"[]"

    def test_a_damaged_state_is_replaced_by_its_newest_checkpoint(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.ended(store)
        before = self.raw(backend, "s")
        self.damage(backend, "s")
        (found,) = on_data(self.repaired(store))
        assert (found.kind, found.is_damage) == (FindingKind.DAMAGED_STATE, True)
        assert kept[1] in found.repair
        raw = self.raw(backend, "s")
        checkpoint = json.loads(self.read_raw_checkpoint(backend, "s", kept[1]) or b"")
        assert raw["data_buffer"] == {"done": 2}
        assert raw["revision"] == checkpoint["revision"] + 1
        assert raw["incarnation"] not in (None, before["incarnation"])
        assert raw["latest_checkpoint_id"] == kept[1]
        assert raw["owner"] is raw["pid"] is None
        with store.resume("s") as session:
            assert session.state.data_buffer == {"done": 2}

    def test_one_that_was_running_looks_interrupted(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["done"] = 1
        session.checkpoint("step")
        forget(session)
        whole = self.read_raw(backend, "s")
        self.write_raw(backend, "s", whole[: whole.index(b'"goal_id"')])  # it still says ACTIVE
        self.repaired(store)
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["data_buffer"]) == ("failed", {"done": 1})
        assert "damaged" in raw["result"]["error"]
        assert raw["recovery"]["count"] == 1
        assert [item.session_id for item in store.find(interrupted=True, resumable=True)] == ["s"]

    @pytest.mark.parametrize("said", [False, True])
    def test_one_that_had_ended_is_restored_but_not_run_again(
        self, backend: BackendT, store: Store, said: bool
    ) -> None:
        kept = self.ended(store)
        if said:  # the damaged state tells how it ended
            whole = self.read_raw(backend, "s")
            self.write_raw(backend, "s", whole[: whole.index(b'"goal_id"')])
        else:
            self.damage(backend, "s")
        self.repaired(store)
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["latest_checkpoint_id"]) == ("failed", kept[1])
        assert raw["recovery"] is None
        assert "died" not in raw["result"]["error"]
        assert f"checkpoint {kept[1]} was restored" in raw["result"]["error"]
        assert ("the damaged state says completed" in raw["result"]["error"]) is said
        assert store.find(interrupted=True).items == ()

    def test_a_restored_state_that_was_not_active_keeps_its_status(
        self, backend: BackendT, store: Store
    ) -> None:
        store.create("g", session_id="s").pause(node="ask")
        self.damage(backend, "s")
        self.repaired(store)
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["recovery"]) == ("paused", None)
        assert (raw["result"]["success"], raw["result"]["error"]) == (None, None)

    def test_an_older_checkpoint_is_restored_where_the_newest_is_damaged(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.ended(store)
        torn = self.damage(backend, "s")
        self.write_raw_checkpoint(backend, "s", kept[1], torn)
        assert kinds(self.repaired(store)) == ["damaged_state", "damaged_checkpoint"]
        raw = self.raw(backend, "s")
        assert (raw["data_buffer"], raw["latest_checkpoint_id"]) == ({"done": 1}, kept[0])
        assert self.read_raw_checkpoint(backend, "s", kept[1]) is None

    def test_what_a_resume_went_back_from_is_not_restored(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.ended(store)
        forget(store.resume("s", checkpoint_id=kept[0], again=True))
        (aside,) = set(backend.checkpoint_ids("s")) - set(kept)
        assert json.loads(self.read_raw_checkpoint(backend, "s", aside) or b"")["revision"] == 4
        self.damage(backend, "s")
        self.repaired(store)
        assert self.raw(backend, "s")["latest_checkpoint_id"] == kept[1]

    def test_a_session_without_a_sound_checkpoint_is_put_aside(
        self, backend: BackendT, store: Store
    ) -> None:
        for name in ("a", "s", "z"):
            store.create("g", session_id=name).complete()
        before = {name: self.read_raw(backend, name) for name in ("a", "z")}
        self.damage(backend, "s")
        report = self.repaired(store)
        assert report.checked == 3
        assert not store.exists("s")
        assert {name: self.read_raw(backend, name) for name in before} == before
        store.create("g", session_id="s").complete()  # the id is free again

    @pytest.mark.parametrize("left", [0, 1])
    def test_a_damaged_checkpoint_is_put_aside_and_no_longer_named(
        self, backend: BackendT, store: Store, left: int
    ) -> None:
        kept = self.ended(store)
        before = self.raw(backend, "s")
        for name in kept[left:]:
            self.write_raw_checkpoint(backend, "s", name, b'{"torn')
        expected = ["damaged_checkpoint"] * (2 - left) + ["dangling_checkpoint"]
        assert kinds(self.repaired(store)) == expected
        raw = self.raw(backend, "s")
        assert raw["latest_checkpoint_id"] == (kept[0] if left else None)
        assert raw["revision"] == before["revision"] + 1
        assert (raw["data_buffer"], raw["incarnation"]) == ({"done": 3}, before["incarnation"])
        assert sorted(backend.checkpoint_ids("s")) == kept[:left]

    def test_a_checkpoint_that_is_missing_is_no_longer_named(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.ended(store)
        self.remove_raw_checkpoint(backend, "s", kept[1])
        assert kinds(self.repaired(store)) == ["dangling_checkpoint"]
        assert self.raw(backend, "s")["latest_checkpoint_id"] == kept[0]

    @pytest.mark.parametrize("named", ["kept", "pruned", "none"])
    def test_a_state_that_is_older_than_its_checkpoints_goes_on_from_the_newest(
        self, backend: BackendT, store: Store, named: str
    ) -> None:
        """A power cut may leave that of durability "process": of revisions none is used twice."""
        with store.create("g", session_id="s") as session:
            before = self.raw(backend, "s")
            kept = [session.checkpoint("step").checkpoint_id]
            early = before if named == "none" else self.raw(backend, "s")
            for step in (2, 3, 4):
                session.state.data_buffer["done"] = step
                kept.append(session.checkpoint("step").checkpoint_id)
            newest = session.revision
        if named == "pruned":
            self.remove_raw_checkpoint(backend, "s", kept.pop(0))
        early |= {"status": "paused", "owner": None, "pid": None}
        self.write_raw(backend, "s", json.dumps(early).encode())
        expected = "dangling_checkpoint" if named == "pruned" else "old_state"
        assert kinds(self.repaired(store)) == [expected]
        raw = self.raw(backend, "s")
        assert (raw["latest_checkpoint_id"], raw["revision"]) == (kept[-1], newest + 1)
        with store.resume("s") as session:
            assert session.state.data_buffer == {"done": 4}
            assert session.revision > newest
        assert all(item.damaged is None for item in store.checkpoints("s"))

    def test_doubled_keys_are_written_once(self, backend: BackendT, store: Store) -> None:
        self.ended(store)
        before = self.raw(backend, "s")
        doubled = b'{"duration_ms": 7, "goal_id": "stale",' + self.read_raw(backend, "s")[1:]
        self.write_raw(backend, "s", doubled)
        (found,) = on_data(self.repaired(store))
        assert (found.kind, found.is_damage) == (FindingKind.DOUBLED_KEYS, False)
        assert "duration_ms, goal_id" in found.detail
        payload = self.read_raw(backend, "s")
        assert payload.count(b'"duration_ms"') == payload.count(b'"goal_id"') == 1
        raw = self.raw(backend, "s")
        assert raw["revision"] == before["revision"] + 1
        changed = {"revision", "saves_from", "timestamps"}
        assert {k: v for k, v in raw.items() if k not in changed} == {
            k: v for k, v in before.items() if k not in changed
        }

    def test_doubled_keys_of_a_checkpoint_are_reported_and_kept(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.ended(store)
        before = self.read_raw_checkpoint(backend, "s", kept[0]) or b""
        doubled = b'{"goal_id": "stale",' + before[1:]
        self.write_raw_checkpoint(backend, "s", kept[0], doubled)
        state = self.read_raw(backend, "s")
        for repair in (False, True, True):
            report = store.check(repair=repair)
            (found,) = on_data(report)
            assert (found.kind, found.is_damage) == (FindingKind.DOUBLED_KEYS, False)
            assert found.detail.startswith("goal_id: ")
            assert kept[0] in found.file
            assert not found.is_repaired
            assert not report.has_damage
        assert self.read_raw_checkpoint(backend, "s", kept[0]) == doubled
        assert self.read_raw(backend, "s") == state
        assert store.load_checkpoint("s", kept[0]).goal_id == "g"

    def double(self, backend: BackendT, **changes: Any) -> bytes:
        """Rewrite the state with a doubled key, as the original framework does."""
        rewritten = self.rewrite(backend, "s", **changes)
        doubled = b'{"duration_ms": 7,' + rewritten.lstrip()[1:]
        self.write_raw(backend, "s", doubled)
        return doubled

    def test_what_a_sweep_needs_to_know_outlives_a_repair(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        self.abandon(backend, session)
        before = self.raw(backend, "s")
        self.double(backend)
        self.repaired(store)
        raw = self.raw(backend, "s")
        for name in ("status", "owner", "pid", "timestamps"):
            assert raw[name] == before[name]
        assert raw["owner"]["token"] == dead_owner().token
        assert [item.session_id for item in store.recover().swept] == ["s"]

    def assert_untouched(self, report: CheckReport, why: str) -> None:
        findings: list[Finding] = [
            item
            for item in report.findings
            if item.session_id and item.kind is not FindingKind.ACTIVE_WITHOUT_OWNER
        ]
        assert findings
        for item in findings:
            assert not item.is_repaired, item
            assert why in item.repair

    def test_a_held_session_is_not_touched(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        torn = self.damage(backend, "s")
        report = self.other_store(backend).check(repair=True)
        assert report.has_damage
        self.assert_untouched(report, "is held by this process: pid")
        assert self.read_raw(backend, "s") == torn
        forget(session)

    def test_one_whose_owner_lives_without_a_lock_is_not_touched(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        with live_owner() as by:
            self.abandon(backend, session, by)
            doubled = self.double(backend)
            self.assert_untouched(store.check(repair=True), "still runs")
            assert self.read_raw(backend, "s") == doubled
        self.repaired(store)

    def test_damage_that_still_names_a_live_owner_is_not_touched(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        forget(session)
        with live_owner() as by:
            torn = json.dumps({"status": "active", "pid": by.pid, "goal_id": "half a"})[:-3]
            self.write_raw(backend, "s", torn.encode())
            self.assert_untouched(store.check(repair=True), f"pid {by.pid}")
            assert self.read_raw(backend, "s") == torn.encode()
        self.repaired(store)
        assert not store.exists("s")

    def test_one_whose_owner_cannot_be_known_is_reported_and_not_touched(
        self, backend: BackendT, store: Store
    ) -> None:
        forget(store.create("g", session_id="s"))
        doubled = self.double(backend, owner=None, pid=None)
        report = store.check(repair=True)
        assert kinds(report) == ["doubled_keys", "active_without_owner"]
        assert not report.has_damage
        self.assert_untouched(report, "no owner recorded")
        assert self.read_raw(backend, "s") == doubled

    def test_of_racing_repairs_each_leaves_a_sound_store(
        self, backend: BackendT, store: Store
    ) -> None:
        names = [f"s{number}" for number in range(4)]
        for name in names:
            self.ended(store, name)
            self.damage(backend, name)
        done: list[str] = []
        for report in in_threads(3, lambda _: self.other_store(backend).check(repair=True)):
            assert isinstance(report, CheckReport), report
            done += [item.session_id or "" for item in on_data(report) if item.is_repaired]
        assert sorted(done) == names
        assert store.check().findings == ()
        for name in names:
            assert self.raw(backend, name)["data_buffer"] == {"done": 2}
