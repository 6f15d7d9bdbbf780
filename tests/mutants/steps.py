"""A step that returned never runs again, and none gets the result of another."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_STEPS = "tests/session/test_steps.py::"
_FILE = "session/steps.py"

MUTANTS = (
    Mutant(
        "a result is returned before it is kept",
        1,
        _FILE,
        (
            (
                "        self._append(steps.kept(name, call.steps_from, payload), flush=True)\n"
                "        log_session(",
                "        log_session(",
            ),
        ),
        _STEPS + "test_a_step_that_returned_is_not_called_again[files]",
    ),
    Mutant(
        "a checkpoint closes no steps",
        12,
        "session/writer.py",
        (("cancellable=True, undo=undo, closes_steps=True)", "cancellable=True, undo=undo)"),),
        _STEPS + "test_what_closes_steps_lets_the_code_behind_it_run_anew[files-checkpoint]",
    ),
    Mutant(
        "a record counts under another number of steps_from",
        12,
        _FILE,
        (
            (
                "for (number, name), one in records.items() if number == steps_from}",
                "for (number, name), one in records.items()}",
            ),
        ),
        _STEPS
        + "test_a_checkpoint_closes_the_steps_of_an_earlier_claim_that_it_did_not_use[files]",
    ),
    Mutant(
        "a name is taken twice",
        1,
        _FILE,
        (("            if step.name in self._used:\n", "            if False:\n"),),
        _STEPS + "test_a_name_is_used_once_between_two_checkpoints[files]",
    ),
    Mutant(
        "arguments are not compared",
        1,
        _FILE,
        (
            (
                "        if not kept.is_settled and kept.digest != digest:\n",
                "        if False:\n",
            ),
        ),
        _STEPS + "test_a_kept_step_with_other_arguments_is_refused[files]",
    ),
    Mutant(
        "no record is made before a call that may happen once",
        1,
        _FILE,
        (("            self._record_start(step, steps_from, digest)\n", ""),),
        _STEPS + "test_a_step_that_may_run_once_is_not_called_again_after_a_death",
    ),
    Mutant(
        "a rerun calls what nobody has settled",
        1,
        _FILE,
        (
            (
                "kept.status is StepStatus.UNSETTLED:\n                raise self._unsettled",
                "kept.status is StepStatus.UNSETTLED and not step.rerun:\n"
                "                raise self._unsettled",
            ),
        ),
        _STEPS + "test_rerun_calls_no_step_of_which_nobody_knows_what_came",
    ),
    Mutant(
        "what a resume went back from counts no steps that a crash left unsaved",
        1,
        "session/opener.py",
        (("                current.journals = ends\n", ""),),
        "tests/session/test_journal_resume.py::"
        "test_steps_that_no_save_told_of_are_replayed_by_what_goes_back_to_them",
    ),
    Mutant(
        "a fork closes its steps under a number of its parent",
        1,
        "operations/journal_copy.py",
        (("    state.steps_from = min(state.steps_from, ends.get(STEPS, [0])[0])\n", ""),),
        FILES + "test_a_fork_of_a_state_that_went_back_closes_its_steps",
    ),
)
