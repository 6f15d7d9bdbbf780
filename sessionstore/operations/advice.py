"""What to do next about a session that was explained: a command to type, and a call in Python.

A command cannot run the application. Where a call resumes the session, the command hands it to
the start-up loop, which resumes it.
"""

from __future__ import annotations

import shlex

from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.status import FINISHED
from sessionstore.operations.explanation import SHOWN_STEPS, Advice, Explanation, Situation

MAX_RECOVERIES, MAX_STOPS = 3, 10
"""What the start-up loop takes by default."""


def advise(told: Explanation) -> list[Advice]:
    """Return what to do next, the most urgent first."""
    name, situation = told.session_id, told.situation
    if situation is Situation.RUNNING and not told.is_held:
        text = "it holds no lock, so it cannot be asked: end its process yourself, then sweep"
        return [Advice(text, "store.recover()", "sessionstore recover --apply")]
    if told.liveness is not None and told.liveness.is_orphaned:
        return [
            Advice("end the process that has the lock, then sweep"),
            _sweep("put on record that its process died, as start-up code does"),
        ]
    if situation is Situation.RUNNING:
        return _wait(told)
    found: list[Advice] = []
    if situation is Situation.UNKNOWN:
        found.append(
            Advice(
                "if you know that its process is gone, put that on record",
                f'store.recover(assume_dead=["{name}"])',
                f"sessionstore recover --apply --assume-dead {name}",
            )
        )
    if told.cancel_request is not None:
        if situation is Situation.STALE:
            found.append(_sweep("put on record that its process died, which cancels it"))
        call, typed = _options(told)
        again = "or, if you mean to run it all the same"
        resume = f'store.resume("{name}", again=True{call})'
        return [*found, Advice(again, resume, f"sessionstore retry {name} --again{typed}")]
    for step in told.unsettled_steps[:SHOWN_STEPS]:
        found += _settle(name, step)
    if told.unresumable is not None:
        found += _rescue(told)
    elif why_left_out(told):
        found.append(
            Advice(
                "once the cause is mended, have the start-up loop try it again",
                f'store.retry("{name}")',
                f"sessionstore retry {name}",
            )
        )
        found += _from_last_save(told)
    else:
        found += _go_on(told)
        found += _from_last_save(told)
    return found + _give_up(told)


def _wait(told: Explanation) -> list[Advice]:
    """Return advice for a session that a live process holds."""
    name = told.session_id
    call = f'store.claim("{name}", timeout=60)'
    command = f"sessionstore watch {name} --until paused,completed,failed,cancelled"
    if told.cancel_request is None:
        ask = Advice("ask it to end", f'store.cancel("{name}")', f"sessionstore cancel {name}")
        return [ask, Advice("wait for it", call, command)]
    return [
        Advice("it meets the request at its next save: wait for it", call, command),
        _sweep("if it hangs, end its process yourself, then sweep, which cancels it"),
    ]


def _sweep(text: str) -> Advice:
    return Advice(text, "store.recover()", "sessionstore recover --apply")


def _settle(session_id: str, step: str) -> list[Advice]:
    command = f"sessionstore steps {session_id}"
    with_session = f'with store.edit("{session_id}") as session: session'
    return [
        Advice(
            f"find out what came of the step `{step}`; if it has happened, say what it returned",
            f"{with_session}.settle_step({step!r}, …)",
            f"{command} --settle {shlex.quote(f'{step}=JSON')}",
        ),
        Advice(
            "if nothing came of it, let it run again",
            f"{with_session}.rerun_step({step!r})",
            f"{command} --rerun {shlex.quote(step)}",
        ),
    ]


def why_left_out(told: Explanation) -> str:
    """Return why the start-up loop leaves out an interrupted session; "" if it does not."""
    recovery = told.recovery
    if recovery is None or told.situation not in (Situation.INTERRUPTED, Situation.STALE):
        return ""
    # The loop sweeps first, which counts the death of a stale one.
    if recovery.count + (told.situation is Situation.STALE) > MAX_RECOVERIES:
        return f"more than {MAX_RECOVERIES} processes died while they ran it"
    if recovery.stops > MAX_STOPS:
        return f"it was stopped more than {MAX_STOPS} times"
    return ""


def _options(told: Explanation) -> tuple[str, str]:
    """Return what a retry of this session needs, in Python and as typed."""
    if told.situation is Situation.UNKNOWN:
        return ", force=True", " --force"
    call = ", again=True" if told.status in FINISHED else ""
    # A pause waits for somebody: a retry has to be told that nobody comes.
    is_waiting = told.situation is Situation.PAUSED
    return call, " --again" if call or is_waiting else ""


def _go_on(told: Explanation) -> list[Advice]:
    name, situation = told.session_id, told.situation
    call, typed = _options(told)
    resume, retry = f'store.resume("{name}"{call})', f"sessionstore retry {name}{typed}"
    match situation:
        case Situation.STALE:
            return [
                _sweep("put on record that its process died: the start-up loop goes on with it"),
                Advice("or go on with it, and count its crashes from 0", resume, retry),
            ]
        case Situation.INTERRUPTED:
            text = "the start-up loop goes on with it: start the application, and look on"
            return [Advice(text, resume, f"sessionstore watch {name}")]
        case Situation.UNKNOWN:
            text = "or do that, and count its crashes from 0"
        case Situation.PAUSED:
            text = "go on with it, if it waits for nobody any more"
        case Situation.FAILED:
            text = "once the cause is mended, have the start-up loop try it again"
        case _:
            text = "if you mean to run it again"
    return [Advice(text, resume, retry)]


def _from_last_save(told: Explanation) -> list[Advice]:
    if told.lost is None or not (told.lost.revisions or told.lost.steps):
        return []
    return [_retry_from(told, "or go on from the state that was saved last", None)]


def _retry_from(told: Explanation, text: str, checkpoint_id: str | None) -> Advice:
    """Return how to go on from a checkpoint, or from the state that was saved last."""
    name, (call, typed) = told.session_id, _options(told)
    if checkpoint_id is None:
        chosen, option = "from_last_save=True", "--from-last-save"
    else:
        chosen, option = f'checkpoint_id="{checkpoint_id}"', f"--at {_short(told, checkpoint_id)}"
    return Advice(
        text,
        f'store.resume("{name}", {chosen}{call})',
        f"sessionstore retry {name} {option}{typed}",
    )


def _short(told: Explanation, checkpoint_id: str) -> str:
    """Return ``r12`` for a checkpoint, where no other has that revision; else its id."""
    latest = told.checkpoint.checkpoint_id if told.checkpoint is not None else checkpoint_id
    names = [parse_checkpoint_id(one) for one in {*told.alternatives, latest, checkpoint_id}]
    own = parse_checkpoint_id(checkpoint_id)
    if own is None or [one and one.revision for one in names].count(own.revision) > 1:
        return checkpoint_id
    return f"r{own.revision}"


def _rescue(told: Explanation) -> list[Advice]:
    """Return advice for a session of which a resume finds nothing to restore."""
    name, damaged = told.session_id, told.checkpoint
    found: list[Advice] = []
    if damaged is not None:
        found.append(
            Advice(
                "put the damage into quarantine and name the newest sound checkpoint",
                "store.check(repair=True)",
                "sessionstore fsck --repair",
            )
        )
    if told.alternatives:
        text = "or go on from another state" if found else "go on from another state"
        found.append(_retry_from(told, text, told.alternatives[-1]))
    # Where checkpoints cannot be read at all, that is why, and none can be made either.
    if damaged is None or damaged.damaged != told.unresumable:
        text = "or go on from the state that was saved last"
        found.append(_retry_from(told, text.removeprefix("" if found else "or "), None))
    show = f"sessionstore show {name}"
    found.append(Advice("look at what was saved of it", f'store.load("{name}")', show))
    return found


def _give_up(told: Explanation) -> list[Advice]:
    name, situation, text = told.session_id, told.situation, "or give it up"
    if situation in (Situation.INTERRUPTED, Situation.STALE):
        return [Advice(text, f'store.cancel("{name}")', f"sessionstore cancel {name}")]
    if situation in (Situation.PAUSED, Situation.UNKNOWN):
        is_unknown = situation is Situation.UNKNOWN
        call, typed = (", force=True", " --force") if is_unknown else ("", "")
        return [
            Advice(
                text,
                f'store.mark("{name}", "cancelled", reason="given up"{call})',
                f"sessionstore mark {name} cancelled --reason 'given up'{typed}",
            )
        ]
    return []


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
        fork = f"sessionstore fork {name} --at {_short(told, kept)}"
        found.append(
            Advice(
                "or go on with a copy, and leave it as it is",
                f'store.fork("{name}", "{kept}")',
                f"{fork} | sessionstore retry - --again",
            )
        )
    return found
