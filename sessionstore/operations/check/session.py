"""Check sessions: find damage and left-overs, and repair them without losing anything.

A repair holds the claim of each session, puts what it replaces into quarantine, and deletes nothing
that could be data. It can be interrupted anywhere: the next repair goes on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from sessionstore.clock import to_text
from sessionstore.errors import SessionCorrupt, SessionNotFound, SessionStoreError, StorageError
from sessionstore.log import about, logger
from sessionstore.model import codec, mending
from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.state import SessionOwner, SessionState, SessionStatus
from sessionstore.model.stored import Stored
from sessionstore.operations.check.condition import SessionCondition, doubled_keys, read_condition
from sessionstore.process import liveness
from sessionstore.session import foreign_values, outcome
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.report import CheckReport, Finding, FindingKind, Progress
from sessionstore.storage.values import Probe

__all__ = ["CheckReport", "Finding", "FindingKind", "check"]

_LOOKS = 10
_SETTLING = 0.1
"""Seconds after which a state must still be damaged: other software, which holds no lock, may be
writing it in place or creating the session."""

# Findings that no repair can mend: a person or the system has to.
_NOT_OURS = frozenset({FindingKind.ACTIVE_WITHOUT_OWNER, FindingKind.UNREADABLE})
_GIVEN_BACK = "it had ended, but how it ended is lost: its process had released it"
_MENDED = "single values would be replaced by null or by text; the original would be kept"
_KEPT = "nothing: it loads, and checkpoints are never changed"


def check(backend: Backend, *, repair: bool, progress: Progress | None = None) -> CheckReport:
    """Check everything in ``backend``; repair what can be repaired if ``repair`` is true."""
    findings = list(backend.check_place(repair=repair))
    # These cannot be claimed at all.
    judged = {item.session_id for item in findings if item.kind is FindingKind.DAMAGED_STATE}
    try:
        ids = sorted(session_id for session_id in backend.ids() if session_id not in judged)
    except StorageError:
        if not any(item.kind is FindingKind.UNREADABLE for item in findings):
            raise
        ids = []  # a finding says already that the sessions cannot be listed
    for done, session_id in enumerate(ids):
        if progress:
            progress(done, len(ids))
        findings += _Session(backend, session_id).check(repair=repair)
    if progress:
        progress(len(ids), len(ids))
    return CheckReport(tuple(findings), len(ids) + len(judged), repair)


class _Session:
    """The check of one session."""

    def __init__(self, backend: Backend, session_id: str) -> None:
        self.backend = backend
        self.session_id = session_id

    def check(self, *, repair: bool) -> list[Finding]:
        try:
            found = self._look()
            if repair and not all(map(_stays, found)):
                return self._claim_and_repair(found)
        except SessionNotFound:  # deleted since it was listed
            return []
        except SessionStoreError as error:
            return [self._unreadable(str(self.backend), error)]
        return found

    # --- looking ---------------------------------------------------------------------------------

    def _look(self) -> list[Finding]:
        """Return the findings and change nothing; what is being written now is no finding."""
        seen = read_condition(self.backend, self.session_id, None)
        for _ in range(_LOOKS):
            found = self._judge(seen, None)
            found += self.backend.check_kept(self.session_id, None, repair=False)
            if not found:
                return []
            before, seen = seen, read_condition(self.backend, self.session_id, None)
            if seen.stored == before.stored and seen.sound == before.sound:
                return found
        return []

    def _judge(self, seen: SessionCondition, claim: Claim | None) -> list[Finding]:
        """Return the findings, with what a repair would do."""
        found: list[Finding] = []
        if seen.damage is not None:
            found.append(self._damaged_state(seen, seen.damage))
        for _, error in seen.damaged:
            found.append(self._damaged_checkpoint(error))
        if seen.no_checkpoints is not None:
            found.append(self._damaged_checkpoint(seen.no_checkpoints))
        found += [self._unreadable(name, error) for name, error in seen.unreadable]
        for file, doubled in seen.doubled:
            detail = _say_doubled(doubled)
            found.append(self._finding(FindingKind.DOUBLED_KEYS, file, detail, _KEPT))
        for file, values in seen.foreign:
            found.append(self._finding(FindingKind.FOREIGN_VALUES, file, values, _KEPT))
        if seen.state is not None and seen.stored is not None:
            found += self._judge_state(seen, seen.stored)
            found += self._judge_owner(seen.state, seen.stored, claim)
        return found

    def _damaged_state(self, seen: SessionCondition, error: SessionCorrupt) -> Finding:
        newest = seen.newest(whole=True)
        if seen.state is not None:
            detail = f"{error.reason}; {mending.say(seen.values)}"
            return self._finding(FindingKind.DAMAGED_STATE, error.file, detail, _MENDED, True)
        if newest is None:
            what = "the session would be put into quarantine: it has no sound checkpoint of its own"
        else:
            what = f"checkpoint {newest.checkpoint_id} would be restored"
        return self._finding(FindingKind.DAMAGED_STATE, error.file, error.reason, what, True)

    def _damaged_checkpoint(self, error: SessionCorrupt) -> Finding:
        what = "it would be put into quarantine"
        return self._finding(FindingKind.DAMAGED_CHECKPOINT, error.file, error.reason, what, True)

    def _unreadable(self, file: str, error: SessionStoreError) -> Finding:
        what = "remove the cause that the system names, then check again"
        return self._finding(FindingKind.UNREADABLE, file, str(error), what, True)

    def _judge_state(self, seen: SessionCondition, stored: Stored) -> list[Finding]:
        found: list[Finding] = []
        newest = seen.newest(whole=False)
        what = f"its latest checkpoint would become {newest.checkpoint_id if newest else 'none'}"
        if (detail := seen.why_dangling()) is not None:
            kind = FindingKind.DANGLING_CHECKPOINT
            found.append(self._finding(kind, stored.file, detail, what, True))
        elif (detail := seen.why_behind(self._load)) is not None:
            found.append(self._finding(FindingKind.OLD_STATE, stored.file, detail, what))
        if seen.values and seen.damage is None:
            detail = mending.say(seen.values)
            found.append(self._finding(FindingKind.FOREIGN_VALUES, stored.file, detail, _MENDED))
        if doubled := doubled_keys(stored.payload):
            detail = _say_doubled(doubled)
            what = "it would be saved with each key once"
            found.append(self._finding(FindingKind.DOUBLED_KEYS, stored.file, detail, what))
        return found

    def _judge_owner(
        self, state: SessionState, stored: Stored, claim: Claim | None
    ) -> list[Finding]:
        if state.status is not SessionStatus.ACTIVE or not _names_nobody(state):
            return []
        verdict = liveness.judge(state, self.backend)
        if not verdict.is_unknown or (claim is None and self.backend.probe(self.session_id).held):
            return []
        what = (
            "if you know that nothing runs it: store.recover(assume_dead=[…]), or"
            f" sessionstore recover --apply --assume-dead {self.session_id}"
        )
        kind = FindingKind.ACTIVE_WITHOUT_OWNER
        return [self._finding(kind, stored.file, verdict.reason, what)]

    def _finding(
        self,
        kind: FindingKind,
        file: str,
        detail: str,
        what: str,
        is_damage: bool = False,  # noqa: FBT001, FBT002, RUF100 - private, and read with its kind
    ) -> Finding:
        return Finding(kind, self.session_id, file, detail, what, is_damage=is_damage)

    # --- mending ---------------------------------------------------------------------------------

    def _claim_and_repair(self, found: list[Finding]) -> list[Finding]:
        # Before the claim: it says whether the last holder gave the session back.
        last = self.backend.probe(self.session_id)
        by = self.backend.new_owner(self.backend.clock())
        try:
            claim = self.backend.claim_for_repair(self.session_id, by)
        except SessionNotFound:
            raise
        except SessionStoreError as error:
            return _untouched(found, error.fact)
        try:
            return self._repair(claim, last)
        finally:
            claim.release()

    def _repair(self, claim: Claim, last: Probe) -> list[Finding]:
        # Look again under the claim: its holder may have repaired or ended it since.
        seen = read_condition(self.backend, self.session_id, claim)
        found = self._judge(seen, claim)
        kept = self.backend.check_kept(self.session_id, claim, repair=False)
        if not found and not kept:
            return []
        if why := self._why_not(claim, seen, last):
            return _untouched([*found, *kept], why)
        claim.confirm()
        if seen.damage is not None:
            if seen.unreadable:
                return _untouched([*found, *kept], "a checkpoint could not be read")
            time.sleep(_SETTLING)
            if read_condition(self.backend, self.session_id, claim).damage is None:
                return _untouched([*found, *kept], "it was being written")
            if seen.state is None and seen.newest(whole=True) is None:
                return self._put_away([*found, *kept], claim)
        kept = self.backend.check_kept(self.session_id, claim, repair=True)
        return [*self._mend(found, claim, seen, last), *kept]

    def _put_away(self, found: list[Finding], claim: Claim) -> list[Finding]:
        """Put the whole session into quarantine; its other findings go along."""
        first, *others = found
        first = _mended(
            first, lambda: f"put into {self.backend.quarantine_session(claim, first.detail)}"
        )
        if not first.is_repaired:
            return [first, *_untouched(others, "the session could not be put into quarantine")]
        along = "put into quarantine with its session"
        return [first, *(replace(item, repair=along, is_repaired=True) for item in others)]

    def _mend(
        self, found: Iterable[Finding], claim: Claim, seen: SessionCondition, last: Probe
    ) -> list[Finding]:
        """Repair in this order: the state from a checkpoint, the checkpoints, the names of them."""
        mended: list[Finding] = []
        names = [name for name, _ in seen.damaged]
        bad: list[str | None] = [*names, *([None] if seen.no_checkpoints else [])]
        rewritten: Finding | None = None
        for item in found:
            if _stays(item):
                mended.append(item)
            elif item.kind is FindingKind.DAMAGED_STATE and seen.state is None:
                restore = partial(self._restore, claim, seen, last, item.detail)
                mended.append(_mended(item, restore))
            elif item.kind is FindingKind.DAMAGED_CHECKPOINT:
                quarantine = partial(self._quarantine_checkpoint, claim, bad.pop(0), item.detail)
                mended.append(_mended(item, quarantine))
            elif rewritten is None:  # foreign, dangling, old, doubled: one save mends all
                mended.append(_mended(item, partial(self._rewrite, claim, seen)))
                rewritten = mended[-1]
            else:
                done, repaired = rewritten.repair, rewritten.is_repaired
                mended.append(replace(item, repair=done, is_repaired=repaired))
        return mended

    def _why_not(self, claim: Claim, seen: SessionCondition, last: Probe) -> str | None:
        """Return why the session must not be touched, or None: its owner may hold no lock."""
        if seen.state is not None:
            return self._may_live(seen.state)
        if seen.stored is not None:
            torn = _named_in(seen.stored.payload)
            if torn is not None and (why := self._may_live(torn)):
                return why
        newest = seen.newest(whole=True)
        if newest is None:
            return None
        kept = self._load(newest.checkpoint_id)
        if _gave_back(kept, claim, last):
            return None  # its owner lived on, perhaps until now
        return self._may_live(kept)

    def _may_live(self, state: SessionState) -> str | None:
        if state.status is not SessionStatus.ACTIVE:
            return None
        verdict = liveness.judge(state, self.backend)
        return None if verdict.is_dead else f"it is active, and its owner {verdict}"

    def _load(self, checkpoint_id: str) -> SessionState:
        stored = self.backend.read_checkpoint(self.session_id, checkpoint_id)
        return codec.decode(stored.payload, SessionState, self.session_id, stored.file)

    def _restore(self, claim: Claim, seen: SessionCondition, last: Probe, reason: str) -> str:
        newest = seen.newest(whole=True)
        assert newest is not None  # otherwise the whole session is in quarantine
        state = self._load(newest.checkpoint_id)
        done = f"checkpoint {newest.checkpoint_id} was restored"
        if state.status is SessionStatus.ACTIVE:
            how = f"its state was damaged ({reason}), and {done}"
            now = to_text(self.backend.clock())
            if ended := _how_it_ended(seen, _gave_back(state, claim, last)):
                # What came after the checkpoint is lost, but nothing is to be run again.
                outcome.mark_stopped(
                    state,
                    SessionStatus.FAILED,
                    error=f"{how}; {ended}",
                    at=outcome.last_run(state, now),
                )
            else:
                # Workers shall see it as they see a session whose process died.
                died = Liveness(Verdict.DEAD, how, state.owner)
                outcome.mark_dead(state, died, SessionStatus.FAILED, now)
        # The revision of the lost state is unknown: a new incarnation reuses none.
        state.incarnation = secrets.token_hex(8)
        state.latest_checkpoint_id = newest.checkpoint_id
        state.checkpoint_enabled = True
        first = SessionWriter(
            claim, state, clock=self.backend.clock, backend=self.backend
        ).begin_save()
        place = self.backend.restore(claim, first.payload, first.revision, reason)
        logger.warning(
            "%s: %s: %s",
            self.session_id,
            reason,
            done,
            extra=about(
                "state_repaired", session_id=self.session_id, revision=first.revision, reason=reason
            ),
        )
        return f"{done}; what was there is in {place}" if place else done

    def _quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        place = self.backend.quarantine_checkpoint(claim, checkpoint_id, reason)
        return f"put into {place}"

    def _rewrite(self, claim: Claim, seen: SessionCondition) -> str:
        state = seen.state
        assert state is not None
        done = "saved again"
        if seen.why_dangling() is not None or seen.why_behind(self._load) is not None:
            newest = seen.newest(whole=False)
            state.latest_checkpoint_id = newest.checkpoint_id if newest else None
            if newest is not None:
                state.checkpoint_enabled = True
                # A power cut in process mode: no revision may name two states.
                state.saves_from = newest.revision or 0
                state.revision = max(state.revision, state.saves_from)
            done += f"; its latest checkpoint is {state.latest_checkpoint_id or 'none'} now"
        claim.foreign_values = seen.values
        if place := foreign_values.keep_original(claim):
            done += f"; what was there is in {place}"
        if state.status is SessionStatus.ACTIVE:
            # Owner and times stay: from them a sweep learns who died, and when it last ran.
            state.revision, state.saves_from = state.revision + 1, state.saves_from + 1
            claim.write(codec.encode(state), state.revision)
        else:
            writer = SessionWriter(claim, state, clock=self.backend.clock, backend=self.backend)
            writer.run(writer.begin_save)
        return done


def _mended(item: Finding, mend: Callable[[], str]) -> Finding:
    try:
        return replace(item, repair=mend(), is_repaired=True)
    except SessionStoreError as error:
        return replace(item, repair=f"not repaired: {error}")


def _untouched(found: Iterable[Finding], why: str) -> list[Finding]:
    return [item if _stays(item) else replace(item, repair=f"not touched: {why}") for item in found]


def _stays(item: Finding) -> bool:
    """Return whether a repair leaves the finding as it is."""
    return item.kind in _NOT_OURS or item.repair == _KEPT


def _gave_back(kept: SessionState, claim: Claim, last: Probe) -> bool:
    """Return whether the owner in checkpoint ``kept`` held the session last, and released it."""
    previous, holder = claim.previous_owner, kept.owner
    return (
        last.released
        and holder is not None
        and last.holder is not None
        and previous is not None
        and holder.token == last.holder.token == previous.token
    )


def _how_it_ended(seen: SessionCondition, gave_back: bool) -> str | None:
    """Return the evidence that the lost state was no longer ACTIVE, or None."""
    status = _said_in(seen.stored.payload).get("status") if seen.stored else None
    if status == SessionStatus.ACTIVE:
        return None
    if status in list(SessionStatus):
        return f"the damaged state says {status}"
    return _GIVEN_BACK if gave_back else None


def _say_doubled(keys: Iterable[str]) -> str:
    return f"{', '.join(keys)}: more than once, and the last one counts"


def _names_nobody(state: SessionState) -> bool:
    pids = (state.owner.pid if state.owner else None, state.pid)
    return all(pid is None or pid <= 0 for pid in pids)


def _said_in(payload: bytes) -> dict[str, Any]:
    """Return the readable part of a damaged state."""
    try:
        raw = from_json(payload, allow_partial=True)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _named_in(payload: bytes) -> SessionState | None:
    """Return a state with the owner that a damaged state still names; None if it names none."""
    raw = _said_in(payload)
    if raw.get("status") != SessionStatus.ACTIVE:
        return None
    pid = raw.get("pid")
    try:
        by = SessionOwner.model_validate(raw.get("owner"))
    except ValidationError:
        by = None
    if type(pid) is not int and (by is None or by.pid is None):
        return None
    return SessionState.model_construct(
        status=SessionStatus.ACTIVE, owner=by, pid=pid if type(pid) is int else None
    )
