"""The mutants: each takes away one thing that a promise rests on.

A mutant names the text that it replaces, exactly; where the package no longer has that text, the
run fails, so that no mutant dies unnoticed with the code that it was made for.
"""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One thing taken away, the promise that rests on it, the test that has to fail."""

    name: str
    promise: int
    file: str
    replace: tuple[tuple[str, str], ...]
    test: str


FILES = "tests/test_conformance.py::TestFilesPower::"

MUTANTS = (
    # --- 1: what was saved survives the process ---------------------------------------------------
    Mutant(
        "a save is only remembered",
        1,
        "backends/files/claim.py",
        (
            (
                "                staged = durable.Staged(directory, payload,"
                " flush_file=self._power)\n"
                "                self._swap(directory, staged, revision)\n",
                "                return\n",
            ),
        ),
        "tests/test_processes.py::test_acknowledged_saves_survive_sigkill_at_any_instant[process]",
    ),
    Mutant(
        "the checkpoint is linked after the state",
        1,
        "backends/files/claim.py",
        (
            (
                "                with self._kept(directory, staged, payload, checkpoint_id):\n"
                "                    self._swap(directory, staged, revision)\n",
                "                self._swap(directory, staged, revision)\n"
                "                staged.name = STATE\n"
                "                with self._kept(directory, staged, payload, checkpoint_id):\n"
                "                    pass\n",
            ),
        ),
        "tests/test_mutation_gaps.py::test_a_state_never_names_a_checkpoint_that_is_not_there",
    ),
    # --- 2: and a loss of power -------------------------------------------------------------------
    Mutant(
        "no flush of the file",
        2,
        "durable.py",
        (
            (
                "            if flush_file:\n                flush(fd)\n",
                "            if flush_file is None:\n                flush(fd)\n",
            ),
        ),
        "tests/test_durable.py::test_only_power_mode_pays_for_flushes[power]",
    ),
    Mutant(
        "no flush of the directory",
        2,
        "durable.py",
        (
            (
                "        if self._fd is not None:\n            flush(self._fd)\n",
                "        return\n",
            ),
        ),
        "tests/test_durable.py::test_only_power_mode_pays_for_flushes[power]",
    ),
    Mutant(
        "checkpoints are flushed in power mode only",
        2,
        "backends/files/claim.py",
        (
            (
                "staged = durable.Staged(directory, payload, flush_file=True)",
                "staged = durable.Staged(directory, payload, flush_file=self._power)",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_checkpoint_is_durable_before_a_state_that_names_it[process]",
    ),
    Mutant(
        "the checkpoint's name is not flushed before the state",
        2,
        "backends/files/claim.py",
        (
            (
                "                    checkpoints.flush()\n                    yield\n",
                "                    yield\n                    checkpoints.flush()\n",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_checkpoint_is_durable_before_a_state_that_names_it[power]",
    ),
    # --- 3: a save that raised changed nothing ----------------------------------------------------
    Mutant(
        "a failed flush is tried again",
        3,
        "durable.py",
        (
            (
                "        os.fsync(fd)\n\n\ndef full_flush(",
                "        try:\n            os.fsync(fd)\n        except OSError:\n"
                "            os.fsync(fd)\n\n\ndef full_flush(",
            ),
        ),
        "tests/test_durable.py::test_a_failed_flush_is_never_repeated_on_the_same_file",
    ),
    Mutant(
        "a failed flush of the directory is kept quiet",
        3,
        "backends/files/claim.py",
        (
            (
                "raise DurabilityUncertain(self.session_id, revision, error) from error",
                "return",
            ),
        ),
        "tests/test_durable.py::"
        "test_a_failing_flush_of_the_directory_leaves_the_state_visible_and_says_so",
    ),
    Mutant(
        "the new signature is remembered after the swap",
        3,
        "backends/files/claim.py",
        (
            (
                "        self._attempted = (revision, staged.signature)\n        try:\n"
                "            staged.swap_in(STATE, self._expected)\n",
                "        try:\n            staged.swap_in(STATE, self._expected)\n"
                "            self._attempted = (revision, staged.signature)\n",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_an_interrupt_right_after_the_swap_leaves_the_session_usable",
    ),
    Mutant(
        "the file that was displaced stays",
        3,
        "durable.py",
        (
            (
                "            with suppress(OSError):\n                directory.unlink(self.name)\n"
                "            return\n",
                "            return\n",
            ),
        ),
        "tests/test_durable.py::test_the_expected_file_is_replaced[exchange]",
    ),
    # --- 4: readers see a complete state ----------------------------------------------------------
    Mutant(
        "the state is removed, then the new one renamed",
        4,
        "durable.py",
        (
            (
                "        if exchange(directory, self.name, name):\n            if Signature",
                "        directory.unlink(name)\n"
                "        os.rename(self.name, name, src_dir_fd=directory.fd,"
                " dst_dir_fd=directory.fd)\n"
                "        if directory.fd is not None:\n"
                "            return\n"
                "        if exchange(directory, self.name, name):\n            if Signature",
            ),
        ),
        "tests/test_processes.py::"
        "test_readers_never_see_a_torn_state_nor_an_older_one_again[process]",
    ),
    # --- 5: no update is lost in silence ----------------------------------------------------------
    Mutant(
        "the signature is not checked before the write",
        5,
        "backends/files/claim.py",
        (("            self._check_state(directory, revision - 1)\n", ""),),
        "tests/test_mutation_gaps.py::"
        "test_a_state_that_others_changed_is_not_replaced_even_for_an_instant",
    ),
    Mutant(
        "what the exchange handed back is not looked at",
        5,
        "durable.py",
        (
            (
                "            if Signature.of(directory.status(self.name)) != expected:\n"
                "                raise Displaced\n",
                "",
            ),
        ),
        "tests/test_durable.py::test_a_writer_that_comes_right_before_the_swap_keeps_its_state",
    ),
    Mutant(
        "the lock is given back before the last write",
        5,
        "writing.py",
        (
            (
                "            try:\n                revision = self._store(prepared)\n",
                "            if prepared.ends:\n"
                "                __import__('fcntl').flock(self.claim._lock._fd, 8)\n"
                "            try:\n                revision = self._store(prepared)\n",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_claim_is_held_until_its_last_write_is_in_place[complete]",
    ),
    Mutant(
        "the lock file at the path is not compared with the locked one",
        5,
        "backends/files/lock.py",
        (
            (
                "return status.st_ino == self._inode",
                "return status.st_ino > 0",
            ),
        ),
        "tests/test_files_backend.py::test_a_claim_without_its_lock_file_is_lost[new]",
    ),
    Mutant(
        "a forked child keeps the descriptor of the lock",
        5,
        "backends/files/lock.py",
        (
            (
                "    for held in list(_held):\n        held.close()\n    _mutex.release()\n",
                "    _mutex.release()\n",
            ),
        ),
        "tests/test_processes.py::"
        "test_the_lock_is_free_after_the_owner_dies_though_its_child_lives",
    ),
    # --- 6: of racing resumers one wins -----------------------------------------------------------
    Mutant(
        "the expected revision is not compared",
        6,
        "taking.py",
        (
            (
                "if expected_revision is not None and state.revision != expected_revision:",
                "if expected_revision is not None and expected_revision < 0:",
            ),
        ),
        "tests/test_processes.py::test_of_eight_racing_resumers_one_wins_and_the_others_learn_who",
    ),
    Mutant(
        "the loser is not told who won",
        6,
        "taking.py",
        (("                owner=claim.previous_owner,\n", ""),),
        FILES + "test_a_revision_that_has_passed_is_refused",
    ),
    # --- 7: the living are never taken for dead ---------------------------------------------------
    Mutant(
        "a held lock proves nothing",
        7,
        "inspection.py",
        (("        if probe.held:\n", "        if probe.held and probe is None:\n"),),
        "tests/test_owner.py::test_a_held_lock_means_alive_whatever_the_record_says",
    ),
    Mutant(
        "the boot id is ignored",
        7,
        "owner.py",
        (
            (
                'same_boot = owner.boot_id is not None and owner.boot_id == here["boot_id"]',
                "same_boot = True",
            ),
        ),
        "tests/test_owner.py::"
        "test_on_a_network_file_system_another_boot_is_unknown[changes0-rebooted since]",
    ),
    Mutant(
        "the start token is ignored",
        7,
        "owner.py",
        (
            (
                "        return token == owner.start_token\n",
                "        return True\n",
            ),
        ),
        "tests/test_owner.py::test_a_pid_that_was_reused_does_not_keep_a_session_alive",
    ),
    Mutant(
        "a process is judged by create_time()",
        7,
        "owner.py",
        (
            (
                'return file.read().rpartition(b")")[2].split()[19].decode("ascii")',
                'return str(__import__("psutil").Process(pid).create_time())',
            ),
        ),
        "tests/test_owner.py::test_the_start_token_is_the_kernels",
    ),
    Mutant(
        "a zombie counts as alive",
        7,
        "owner.py",
        (
            (
                "ended = status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)",
                "ended = False and status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)",
            ),
        ),
        "tests/test_processes.py::test_a_zombie_is_dead_and_swept",
    ),
    Mutant(
        "what cannot be known counts as dead",
        7,
        "owner.py",
        (
            (
                'return Liveness(Verdict.UNKNOWN, "no owner recorded")',
                'return Liveness(Verdict.DEAD, "no owner recorded")',
            ),
        ),
        FILES + "test_what_cannot_be_known_is_reported_and_not_touched[None]",
    ),
    Mutant(
        "another host's owner counts as dead",
        7,
        "owner.py",
        (
            (
                'return Liveness(Verdict.UNKNOWN, f"{elsewhere}, whose',
                'return Liveness(Verdict.DEAD, f"{elsewhere}, whose',
            ),
        ),
        "tests/test_owner.py::"
        "test_on_a_network_file_system_another_boot_is_unknown[changes1-on another host]",
    ),
    Mutant(
        "the sweep does not look again under the claim",
        7,
        "recovery.py",
        (
            (
                "        if state.status is not SessionStatus.ACTIVE:\n            return\n"
                "        verdict = owner.judge",
                "        verdict = owner.judge",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_session_that_ended_between_scan_and_claim_is_not_marked",
    ),
    Mutant(
        "a paused session keeps its owner",
        7,
        "stamping.py",
        (
            (
                "holder = owner if status is SessionStatus.ACTIVE else None",
                "holder = owner",
            ),
        ),
        FILES + "test_only_a_running_session_names_an_owner",
    ),
    # --- 8: what was accepted loads back equal ----------------------------------------------------
    Mutant(
        "NaN is accepted",
        8,
        "storable.py",
        (("or (kind is float and item - item == 0)", "or kind is float"),),
        "tests/test_storable.py::test_the_message_is_the_one_of_the_design",
    ),
    # --- 9: create and delete are atomic ----------------------------------------------------------
    Mutant(
        "a session is created in place",
        9,
        "backends/files/backend.py",
        (
            ('aside = f"{durable.temporary_name()}-{session_id}"', "aside = session_id"),
            ("                durable.move_new(sessions, aside, sessions, session_id)\n", ""),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_create_that_is_killed_between_two_calls_leaves_a_whole_session_or_none",
    ),
    Mutant(
        "a session is deleted without a rename",
        9,
        "backends/files/claim.py",
        (
            (
                "durable.move_new(sessions, self.session_id, trash, trashed)",
                "shutil.rmtree(self._path)",
            ),
        ),
        "tests/test_mutation_gaps.py::"
        "test_a_delete_that_is_killed_between_two_calls_leaves_a_whole_session_or_none",
    ),
    Mutant(
        "a late claim does not look which directory it finds",
        9,
        "backends/files/claim.py",
        (("if directory.identity() != self._identity:", "if self._identity is None:"),),
        "tests/test_files_backend.py::test_a_session_that_was_moved_away_is_lost",
    ),
    # --- 10: damage is reported and fatal to nobody -----------------------------------------------
    Mutant(
        "the sweep hides damage",
        10,
        "recovery.py",
        (
            (
                "                self.damaged.append(Swept(item.session_id, item.damaged))\n",
                "                continue\n",
            ),
        ),
        FILES + "test_damage_is_reported_and_stops_nobody",
    ),
    Mutant(
        "a page skips what has the same time",
        10,
        "query.py",
        (
            (
                "if self._sort_key((place, None)) > start]",
                "if self._sort_key((place, None))[:2] > start[:2]]",
            ),
        ),
        FILES + "test_pages_neither_repeat_nor_skip",
    ),
    # --- 11: private, and nothing acts ------------------------------------------------------------
    Mutant(
        "links are followed",
        11,
        "durable.py",
        (("        flags |= _NO_FOLLOW | _BINARY", "        flags |= _BINARY"),),
        "tests/test_links.py::test_something_else_in_place_of_the_state_is_damage[link]",
    ),
    Mutant(
        "a FIFO is waited for",
        11,
        "durable.py",
        (("| _BINARY | _NON_BLOCKING\n", "| _BINARY\n"),),
        "tests/test_links.py::test_something_else_in_place_of_the_state_is_damage[FIFO]",
    ),
    Mutant(
        "text of a session is not escaped",
        11,
        "text.py",
        (("escape(char) if unicodedata", "char if unicodedata"),),
        "tests/test_cli.py::"
        "test_hostile_text_in_any_field_reaches_the_output_only_escaped[ls-never-table]",
    ),
    Mutant(
        "files are readable by everybody",
        11,
        "durable.py",
        (
            (
                "os.open(name, flags, 0o600, dir_fd=self._fd)",
                "os.open(name, flags, 0o644, dir_fd=self._fd)",
            ),
        ),
        "tests/test_files_backend.py::test_the_layout_is_the_promised_one_and_private",
    ),
    Mutant(
        "an id may name a parent directory",
        11,
        "ids.py",
        (
            (
                '_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)',
                '_SAFE = re.compile(r"[A-Za-z0-9./][A-Za-z0-9./_-]{0,127}", re.ASCII)',
            ),
        ),
        "tests/test_links.py::test_an_id_that_could_leave_the_root_is_refused_everywhere[../s1]",
    ),
)
