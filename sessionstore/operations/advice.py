"""What to do next about a session that was explained: calls, and command lines."""

from __future__ import annotations

import shlex

from sessionstore.model.checkpoint import Checkpoint
from sessionstore.operations.explanation import SHOWN_STEPS, Advice, Explanation, Situation

MAX_RECOVERIES, MAX_STOPS = 3, 10
"""What the start-up loop takes by default."""


def advise(told: Explanation) -> list[Advice]:
    """Return what to do next, the most urgent first."""
    name, situation = told.session_id, told.situation
    found: list[Advice] = []
    if situation is Situation.RUNNING and not told.is_held:
        text = "it holds no lock, so it cannot be asked: end its process yourself, then sweep"
        return [Advice(text, "store.recover()", "sessionstore recover --apply")]
    if told.liveness is not None and told.liveness.is_orphaned:
        return [
            Advice("end the process that has the lock, then sweep"),
            _sweep(),
        ]
    if situation is Situation.RUNNING:
        return [
            Advice("ask it to end", f'store.cancel("{name}")', f"sessionstore cancel {name}"),
            Advice("wait for it", f'store.claim("{name}", timeout=60)'),
        ]
    if situation is Situation.STALE:
        found.append(_sweep())
    if told.cancel_request is not None:
        call = f'store.resume("{name}", again=True)'
        return [*found, Advice("if you mean to run it all the same", call)]
    if situation is Situation.UNKNOWN:
        found.append(
            Advice(
                "if you know that its process is gone",
                f'store.recover(assume_dead=["{name}"])',
                f"sessionstore recover --apply --assume-dead {name}",
            )
        )
    found += [_settle(told.session_id, step) for step in told.unsettled_steps[:SHOWN_STEPS]]
    if told.unresumable is None:
        found += _resume(told)
    else:
        found += _rescue(told)
    if situation is Situation.FAILED or why_left_out(told):
        found.append(
            Advice(
                "or have the start-up loop try it again",
                f'store.retry("{name}")',
                f"sessionstore retry {name}",
            )
        )
    if situation is Situation.INTERRUPTED:
        found.append(Advice("give it up", f'store.cancel("{name}")', f"sessionstore cancel {name}"))
    if situation is Situation.STALE:
        found.append(
            Advice(
                "give it up",
                f'store.mark("{name}", "cancelled", reason=…)',
                f"sessionstore mark {name} cancelled --reason TEXT",
            )
        )
    return found


def _settle(session_id: str, step: str) -> Advice:
    return Advice(
        f"find out what came of the step `{step}`, and say so; or --rerun it, if nothing did",
        f'with store.edit("{session_id}") as session: session.settle_step({step!r}, …)',
        f"sessionstore steps {session_id} --settle {shlex.quote(f'{step}=JSON')}",
    )


def _sweep() -> Advice:
    return Advice(
        "put on record that its process died, as start-up code does",
        "store.recover()",
        "sessionstore recover --apply",
    )


def why_left_out(told: Explanation) -> str:
    """Return why the start-up loop leaves out an interrupted session; "" if it does not."""
    recovery = told.recovery
    if told.situation is not Situation.INTERRUPTED or recovery is None:
        return ""
    if recovery.count > MAX_RECOVERIES:
        return f"more than {MAX_RECOVERIES} processes died while they ran it"
    if recovery.stops > MAX_STOPS:
        return f"it was stopped more than {MAX_STOPS} times"
    return ""


def _resume(told: Explanation) -> list[Advice]:
    name, option = f'"{told.session_id}"', ""
    if told.situation is Situation.STALE:
        text = "go on with it, which puts that on record, too"
    elif told.situation in (Situation.COMPLETED, Situation.CANCELLED):
        text, option = "if you mean to run it again", ", again=True"
    elif told.situation is Situation.UNKNOWN:
        text, option = "and only then go on with it", ", force=True"
    else:
        text = "go on with it"
    found = [Advice(text, f"store.resume({name}{option})")]
    if told.lost is not None and (told.lost.revisions or told.lost.steps):
        call = f"store.resume({name}, from_last_save=True{option})"
        found.append(Advice("or go on from the state that was saved last", call))
    return found


def _rescue(told: Explanation) -> list[Advice]:
    """Return advice for a session of which a resume finds nothing to restore."""
    name = told.session_id
    found: list[Advice] = []
    if told.checkpoint is not None:
        found.append(
            Advice(
                "put the damage into quarantine and name the newest sound checkpoint",
                "store.check(repair=True)",
                "sessionstore fsck --repair",
            )
        )
    if told.alternatives:
        other = told.alternatives[-1]
        again = (
            ", again=True" if told.situation in (Situation.COMPLETED, Situation.CANCELLED) else ""
        )
        found.append(
            Advice(
                "go on from another state",
                f'store.resume("{name}", checkpoint_id="{other}"{again})',
            )
        )
    if not found or told.checkpoint is None:
        found.append(
            Advice(
                "look at what was saved of it", f'store.load("{name}")', f"sessionstore show {name}"
            )
        )
    return found


def advise_on_damage(told: Explanation, newest: Checkpoint | None) -> list[Advice]:
    """Return what to do about a state that cannot be read."""
    name = told.session_id
    found: list[Advice] = []
    if told.is_held:
        found.append(Advice("wait until its process lets go of it, since its next save is refused"))
    if newest is None:
        text = "put the whole session into quarantine, where nothing of it is lost"
    else:
        text = f"put the damage into quarantine and restore {newest.checkpoint_id}"
    found.append(Advice(text, "store.check(repair=True)", "sessionstore fsck --repair"))
    if newest is not None:
        kept = newest.checkpoint_id
        found.append(
            Advice(
                "or go on in a copy, and leave it as it is",
                f'store.fork("{name}", "{kept}")',
                f"sessionstore fork {name} --at {kept}",
            )
        )
    return found
