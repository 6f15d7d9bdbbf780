"""Journals keep what was appended, whole and in order, and go back with the state."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_HOSTILE = "tests/faults/test_journal_hostile.py::"
_KILLS = (
    "tests/faults/test_journal_kills.py::"
    "test_killed_before_any_change_every_append_is_there_whole_or_not_at_all"
)
_SCAN = "tests/storage/files/test_journal_scan.py::"
_CRASHES = "tests/faults/test_journal_crashes.py::"

MUTANTS = (
    # --- 1, 2: what was appended is there ---------------------------------------------------------
    Mutant(
        "a line has no checksum",
        10,
        "storage/files/journal_line.py",
        (
            (
                '    return b\',"crc":"%08x"}\\n\' % crc32(line[:_CHECKSUM_AT])'
                " == line[_CHECKSUM_AT:]\n",
                "    return line.endswith(b'\"}\\n')\n",
            ),
        ),
        _HOSTILE + "test_what_somebody_changed_is_damage_that_names_its_line_and_is_kept"
        "[a value of the last line]",
    ),
    Mutant(
        "a line does not name its predecessor",
        2,
        "storage/files/journal_line.py",
        (("% (before.checksum, checksum)", "% (line[_PREVIOUS_AT:][:8], checksum)"),),
        _SCAN + "test_a_line_that_follows_another_than_it_names_is_not_read",
    ),
    Mutant(
        "an append is not flushed",
        2,
        "durable/append.py",
        (("outcome.extend(map(_flush_data, (self._fd(),)))", "outcome.append(None)"),),
        _CRASHES + "test_what_was_appended_is_there_whole_and_in_order_whatever_a_power_cut_leaves",
    ),
    Mutant(
        "the names of a journal are not flushed",
        2,
        "storage/files/journal_file.py",
        (("        if not self._is_anchored:\n", "        if False:\n"),),
        _CRASHES + "test_what_was_appended_is_there_whole_and_in_order_whatever_a_power_cut_leaves",
    ),
    Mutant(
        "a position counts what is not flushed",
        2,
        "session/writer.py",
        (("stamps(state, flushed=not needs_flush)", "stamps(state, flushed=False)"),),
        _HOSTILE + "test_a_save_counts_only_what_was_flushed",
    ),
    Mutant(
        "a failed flush is tried again",
        3,
        "durable/append.py",
        (
            ("        return self._failure is not None\n", "        return False\n"),
            (
                "            if self._failure is not None:\n"
                "                raise FlushFailed(self._failure)\n",
                "",
            ),
        ),
        "tests/session/test_open_journal.py::"
        "test_after_a_failed_flush_the_journal_is_written_anew_under_the_same_name",
    ),
    Mutant(
        "an append is acknowledged by a flush that began before it",
        2,
        "durable/append.py",
        (("            self.flushed = covered\n", "            self.flushed = self.end\n"),),
        "tests/durable/test_append.py::"
        "test_a_flush_acknowledges_only_what_was_written_before_it_began",
    ),
    Mutant(
        "the numbers of a lost end are given again",
        1,
        "session/open_journal.py",
        (("self._is_short = self._appender.end.number < self._saved.number", "pass"),),
        _HOSTILE + "test_a_journal_that_is_shorter_than_a_save_says_is_reported_and_goes_on",
    ),
    Mutant(
        "the new name of a pruned journal is not flushed",
        2,
        "storage/files/journal_copy.py",
        (("    try:\n        journals.flush()\n", "    try:\n        pass\n"),),
        "tests/operations/test_prune_journals.py::"
        "test_a_prune_whose_new_file_may_not_survive_says_so",
    ),
    Mutant(
        "a removed checkpoint comes back without its records",
        2,
        "storage/files/journal_copy.py",
        (("        checkpoints.flush()\n", "        pass\n"),),
        _CRASHES + "test_whatever_a_power_cut_leaves_of_a_prune_each_checkpoint_has_its_records",
    ),
    Mutant(
        "a journal that is written anew counts its lines from one",
        1,
        "storage/files/journal_copy.py",
        (
            (
                "        for index, item in enumerate(batch, start=1):\n",
                "        for index, item in enumerate(batch, start=1):\n"
                "            count = locals().get('count', 0) + 1\n",
            ),
            ("                item.number,\n", "                count,\n"),
        ),
        FILES + "test_keys_and_numbers_go_on_in_a_rewritten_journal",
    ),
    # --- 5: one process appends -------------------------------------------------------------------
    Mutant(
        "an append does not look at the lock",
        5,
        "storage/files/journal_file.py",
        (("            self._check(cancellable)\n", ""),),
        _HOSTILE + "test_a_holder_that_lost_its_lock_file_and_another_never_both_append",
    ),
    Mutant(
        "a journal has no lock",
        5,
        "storage/files/lock.py",
        (
            (
                "            _require_regular(file)\n"
                "            is_ours = os_lock.lock_descriptor()(file.fileno(), blocking=False)\n",
                "            _require_regular(file)\n            is_ours = True\n",
            ),
        ),
        _HOSTILE + "test_a_holder_that_lost_its_lock_file_and_another_never_both_append",
    ),
    # --- 12: going back ---------------------------------------------------------------------------
    Mutant(
        "a way back is in the journal before it is in the state",
        12,
        "session/opener.py",
        (
            (
                "            prepared = writer.begin_resume(",
                "            for name in restored.state.rewinds:\n"
                "                opened = writer.journal(name)\n"
                "                opened._write(opened._opened(), [], None, writer.now())\n"
                "            prepared = writer.begin_resume(",
            ),
        ),
        _KILLS + "[go back-power]",
    ),
    Mutant(
        "what a way back left behind is gone for ever",
        12,
        "model/journal.py",
        (
            (
                "        if not is_hidden(rewind.number, kept):\n            kept",
                "        if True:\n            kept",
            ),
        ),
        _KILLS + "[go on again-power]",
    ),
    Mutant(
        "a way back counts without the append that it came with",
        4,
        "storage/files/journal_scan.py",
        (
            ("            counted += batch\n", ""),
            ("                batch.append(item)\n", "                counted.append(item)\n"),
        ),
        _SCAN + "test_a_way_back_counts_with_the_whole_of_its_append_or_not_at_all",
    ),
)
