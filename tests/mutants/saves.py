"""What a save promises: it survives, or it changed nothing, and readers see it whole."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = (
    # --- 1: what was saved survives the process ---------------------------------------------------
    Mutant(
        "a save is only remembered",
        1,
        "storage/files/claim.py",
        (
            (
                "                staged = replace.Staged(directory, payload,"
                " flush_file=self._power)\n",
                "                return\n",
            ),
        ),
        "tests/session/test_processes.py::test_acknowledged_saves_survive_sigkill_at_any_instant[process]",
    ),
    Mutant(
        "the checkpoint is linked after the state",
        1,
        "storage/files/claim.py",
        (
            (
                "                with self._kept(staged, payload, checkpoint_id):\n"
                "                    self._swap(directory, staged, revision)\n",
                "                self._swap(directory, staged, revision)\n"
                "                staged.name = STATE\n"
                "                with self._kept(staged, payload, checkpoint_id):\n"
                "                    pass\n",
            ),
        ),
        "tests/mutants/test_gaps.py::test_a_state_never_names_a_checkpoint_that_is_not_there",
    ),
    # --- 2: and a loss of power -------------------------------------------------------------------
    Mutant(
        "no flush of the file",
        2,
        "durable/replace.py",
        (
            (
                "            if flush_file:\n                write_out(fd)",
                "            if flush_file is None:\n                write_out(fd)",
            ),
        ),
        "tests/durable/test_replace.py::test_only_power_mode_pays_for_flushes[power]",
    ),
    Mutant(
        "no flush of the directory",
        2,
        "durable/directory.py",
        (
            (
                "        try:\n            flush(self._fd)\n",
                "        try:\n            pass\n",
            ),
        ),
        "tests/durable/test_replace.py::test_only_power_mode_pays_for_flushes[power]",
    ),
    Mutant(
        "a directory that cannot be flushed stops every save",
        2,
        "durable/directory.py",
        (("            if error.errno in _NO_DIRECTORY_FLUSH:\n", "            if not error:\n"),),
        "tests/durable/test_directory.py::"
        "test_a_store_works_where_directories_cannot_be_flushed[EINVAL-power]",
    ),
    Mutant(
        "a failed flush of a directory counts as one that is not possible",
        3,
        "durable/directory.py",
        (("            if error.errno in _NO_DIRECTORY_FLUSH:\n", "            if error:\n"),),
        "tests/durable/test_directory.py::test_a_failed_flush_of_a_directory_is_an_error[EIO]",
    ),
    Mutant(
        "checkpoints are flushed in power mode only",
        2,
        "storage/files/claim.py",
        (
            (
                "replace.Staged(directory, payload, flush_file=True)",
                "replace.Staged(directory, payload, flush_file=self._power)",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_checkpoint_is_durable_before_a_state_that_names_it[process]",
    ),
    Mutant(
        "the checkpoint's name is not flushed before the state",
        2,
        "storage/files/checkpoint_file.py",
        (
            (
                "                    staged.flush_names(checkpoints)\n                yield\n",
                "                    pass\n"
                "                yield\n"
                "                checkpoints.flush()\n",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_checkpoint_is_durable_before_a_state_that_names_it[power]",
    ),
    # --- 3: a save that raised changed nothing ----------------------------------------------------
    Mutant(
        "a failed flush is tried again",
        3,
        "durable/directory.py",
        (
            (
                "        os.fsync(fd)\n\n\ndef full_flush(",
                "        try:\n            os.fsync(fd)\n        except OSError:\n"
                "            os.fsync(fd)\n\n\ndef full_flush(",
            ),
        ),
        "tests/durable/test_replace.py::test_a_failed_flush_is_never_repeated_on_the_same_file",
    ),
    Mutant(
        "a failed flush of the directory is kept quiet",
        3,
        "storage/files/claim.py",
        (
            (
                "raise DurabilityUncertain(self.session_id, revision, error) from error",
                "return",
            ),
        ),
        "tests/durable/test_replace.py::"
        "test_a_failing_flush_of_the_directory_leaves_the_state_visible_and_says_so",
    ),
    Mutant(
        "the new version is remembered after the swap",
        3,
        "storage/files/claim.py",
        (
            (
                "        self._attempted = (revision, staged.version)\n        try:\n"
                "            staged.swap_in(STATE, expected)\n",
                "        try:\n            staged.swap_in(STATE, expected)\n"
                "            self._attempted = (revision, staged.version)\n",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_an_interrupt_right_after_the_swap_leaves_the_session_usable",
    ),
    Mutant(
        "the file that was displaced stays",
        3,
        "durable/replace.py",
        (
            (
                "                directory.unlink(self.name)\n            except OSError:\n",
                "                pass\n            except OSError:\n",
            ),
        ),
        "tests/durable/test_replace.py::test_the_expected_file_is_replaced[exchange]",
    ),
    # --- 4: readers see a complete state ----------------------------------------------------------
    Mutant(
        "the state is removed, then the new one renamed",
        4,
        "durable/replace.py",
        (
            (
                "        if exchange(directory, self.name, name):\n            try",
                "        directory.unlink(name)\n"
                "        os.rename(self.name, name, src_dir_fd=directory.fd,"
                " dst_dir_fd=directory.fd)\n"
                "        if directory.fd is not None:\n"
                "            return\n"
                "        if exchange(directory, self.name, name):\n            try",
            ),
        ),
        "tests/session/test_processes.py::"
        "test_readers_never_see_a_torn_state_nor_an_older_one_again[process]",
    ),
)
