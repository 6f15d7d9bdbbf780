"""What was saved stays within reach, and whoever comes next hides no death."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_TAKE_OVERS = "tests/faults/test_take_overs.py::"

MUTANTS = (
    # --- 12: what a stop keeps --------------------------------------------------------------------
    Mutant(
        "a stop keeps no last save",
        12,
        "session/verdict.py",
        (
            (
                "        outcome.stopped(writer.state, error, writer.owner, writer.now()),\n"
                "        keep=writer.last_save(),\n",
                "        outcome.stopped(writer.state, error, writer.owner, writer.now()),\n",
            ),
        ),
        _TAKE_OVERS + "test_each_stop_keeps_the_last_save_once_without_a_copy[error0]",
    ),
    Mutant(
        "a failure keeps no last save",
        12,
        "session/verdict.py",
        (
            (
                "    changes = outcome.failed(writer.state, error, writer.now())\n"
                "    return writer.prepare(changes, keep=writer.last_save(), ending=ending)\n",
                "    changes = outcome.failed(writer.state, error, writer.now())\n"
                "    return writer.prepare(changes, ending=ending)\n",
            ),
        ),
        _TAKE_OVERS + "test_each_stop_keeps_the_last_save_once_without_a_copy[error2]",
    ),
    Mutant(
        "the last save of an earlier stop stays",
        12,
        "session/prepared_write.py",
        (("return Keep(LAST_SAVE, replaces=latest)", "return Keep(LAST_SAVE)"),),
        FILES + "test_a_last_save_is_replaced_and_never_in_the_way_of_a_newer_state",
    ),
    Mutant(
        "a stop takes the place of the application's checkpoint",
        12,
        "session/prepared_write.py",
        ((" if latest is None or is_last_save(latest) else None", ""),),
        FILES + "test_a_last_save_is_replaced_and_never_in_the_way_of_a_newer_state",
    ),
    Mutant(
        "a stop is not counted",
        12,
        "session/outcome.py",
        (("stops=before.stops + 1,", "stops=before.stops,"),),
        _TAKE_OVERS + "test_a_stop_is_counted_as_a_stop_and_not_as_a_crash[error0]",
    ),
    Mutant(
        "an interrupted end leaves its session ACTIVE",
        12,
        "session/verdict.py",
        (
            (
                "            if writer.needs_verdict:\n                left_by",
                "            if False:\n                left_by",
            ),
        ),
        _TAKE_OVERS + "test_an_interrupt_while_a_block_is_left_says_so_once_more",
    ),
    # --- 12: what a resume goes on from -----------------------------------------------------------
    Mutant(
        "without a checkpoint there is nothing to resume",
        12,
        "session/resume.py",
        (
            (
                "if checkpoint_id is None and (from_last_save or latest.is_from_last_save):",
                "if checkpoint_id is None and from_last_save:",
            ),
        ),
        FILES + "test_without_a_checkpoint_a_resume_goes_on_from_the_last_save[kill]",
    ),
    Mutant(
        "the next resume forgets that one went on from the last save",
        12,
        "session/writer.py",
        (
            (
                "keep = Keep(LAST_SAVE) if as_last_save and self.claim.keeps_last_save else None",
                "keep = None",
            ),
        ),
        _TAKE_OVERS + "test_after_a_resume_of_the_last_save_the_next_one_goes_on_from_there",
    ),
    Mutant(
        "a resume that fails leaves what it kept",
        12,
        "session/opener.py",
        (("            elif kept is not None:\n", "            elif False:\n"),),
        FILES + "test_a_resume_that_fails_leaves_nothing_behind",
    ),
    Mutant(
        "what has ended is run again by anybody",
        12,
        "session/resume.py",
        (("        raise SessionEnded(state.session_id, state)\n", "        return\n"),),
        FILES + "test_what_has_ended_is_resumed_only_on_purpose[complete]",
    ),
    Mutant(
        "a take-over that fails leaves the session ACTIVE",
        12,
        "session/opener.py",
        (("            if writer.settle() > found:\n", "            if False:\n"),),
        _TAKE_OVERS + "test_a_take_over_that_fails_once_it_is_stored_leaves_the_session_to_others"
        "[KeyboardInterrupt-claim]",
    ),
    # --- 12: deaths -------------------------------------------------------------------------------
    Mutant(
        "a claim hides the death",
        12,
        "session/opener.py",
        (("        if died is not None:\n            now", "        if False:\n            now"),),
        _TAKE_OVERS + "test_whoever_takes_over_a_dead_processs_session_records_the_death[claim]",
    ),
    Mutant(
        "a resume hides the death",
        12,
        "session/opener.py",
        (
            (
                "        if found.died is not None:\n            now",
                "        if False:\n            now",
            ),
        ),
        _TAKE_OVERS + "test_five_kills_with_a_resume_in_between_count_five",
    ),
    Mutant(
        "a start that is refused hides the death",
        12,
        "session/opener.py",
        (
            (
                "                if died is not None:  # no crash",
                "                if False:  # no crash",
            ),
        ),
        _TAKE_OVERS + "test_a_refused_start_counts_the_death_all_the_same[another goal]",
    ),
    Mutant(
        "an edit hides the death",
        12,
        "session/edit.py",
        (("            if died is not None:\n", "            if False:\n"),),
        _TAKE_OVERS + "test_an_edit_that_changes_nothing_records_the_death",
    ),
    # --- 12: edits and the loop -------------------------------------------------------------------
    Mutant(
        "an edit never replaces another",
        12,
        "session/edit.py",
        (("replaces=latest if is_unread else None", "replaces=None"),),
        _TAKE_OVERS + "test_an_edit_replaces_the_edit_that_nobody_resumed",
    ),
    Mutant(
        "an edit that raised leaves a new session",
        12,
        "session/edit.py",
        (("                writer.delete()\n", "                pass\n"),),
        _TAKE_OVERS + "test_a_session_of_an_edit_that_raised_was_never_there",
    ),
    Mutant(
        "an edit that was stored is deleted",
        12,
        "session/edit.py",
        (
            (
                "if self._is_new and not (is_stored or writer.is_released)",
                "if self._is_new and not writer.is_released",
            ),
        ),
        _TAKE_OVERS + "test_a_session_of_an_edit_that_was_stored_stays[DurabilityUncertain]",
    ),
    Mutant(
        "the loop resumes what has moved on since it was listed",
        12,
        "operations/start_up.py",
        (("resume(item.session_id, expected_revision=item.revision)", "resume(item.session_id)"),),
        _TAKE_OVERS + "test_the_loop_leaves_out_what_others_took_or_ended_since_it_was_listed",
    ),
    Mutant(
        "the loop never gives up on a crash loop",
        12,
        "operations/start_up.py",
        (
            (
                "        if why := too_many_crashes(item.recoveries, self._max_recoveries):\n",
                "        if why := too_many_crashes(0, self._max_recoveries):\n",
            ),
        ),
        _TAKE_OVERS + "test_five_kills_with_a_resume_in_between_count_five",
    ),
    Mutant(
        "the loop never gives up on what is stopped again and again",
        12,
        "operations/start_up.py",
        (("        if item.stops > self._max_stops:\n", "        if False:\n"),),
        _TAKE_OVERS + "test_the_loop_leaves_out_what_was_stopped_too_often",
    ),
    Mutant(
        "a start-up does not look at the crashes",
        12,
        "session/resume.py",
        (
            (
                "    if why := too_many_crashes(count, max_recoveries):\n",
                "    if why := too_many_crashes(0, max_recoveries):\n",
            ),
        ),
        _TAKE_OVERS + "test_five_kills_with_a_resume_in_between_count_five",
    ),
)
