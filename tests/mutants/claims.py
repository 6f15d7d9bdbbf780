"""What a claim promises: no update is lost, and one of many wins."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

MUTANTS = (
    # --- 5: no update is lost in silence ----------------------------------------------------------
    Mutant(
        "the signature is not checked before the write",
        5,
        "storage/files/claim.py",
        (
            (
                "            expected = self._claimed.check_state(directory, revision - 1)\n"
                "        except BaseException:\n",
                "            expected = self._claimed.state\n        except BaseException:\n",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_state_that_others_changed_is_not_replaced_even_for_an_instant",
    ),
    Mutant(
        "what the exchange handed back is not looked at",
        5,
        "durable/replace.py",
        (
            (
                "            if not is_expected:\n                raise Displaced\n",
                "",
            ),
        ),
        "tests/durable/test_replace.py::test_a_writer_that_comes_right_before_the_swap_keeps_its_state",
    ),
    Mutant(
        "a forked child waits for the locks of its parent's threads",
        5,
        "process/fork.py",
        (
            (
                "        lock = self._made.get(pid)\n",
                "        lock = next(iter(self._made.values()), None)\n",
            ),
        ),
        "tests/process/test_fork.py::test_a_lock_that_another_thread_holds_is_free_in_a_child[c]",
    ),
    Mutant(
        "a forked child goes on with the database connection of its parent",
        5,
        "storage/files/index/database.py",
        (("        if os.getpid() != self._pid and ", "        if False and "),),
        "tests/session/test_forked_stores.py::"
        "test_a_child_leaves_the_database_connection_of_its_parent_alone[c]",
    ),
    Mutant(
        "the lock is given back before the last write",
        5,
        "session/writer.py",
        (
            (
                "            try:\n                self._store(prepared)\n",
                "            if prepared.ending is not None:\n"
                "                __import__('fcntl').flock(self.claim._lock._file, 8)\n"
                "            try:\n                self._store(prepared)\n",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_claim_is_held_until_its_last_write_is_in_place[complete]",
    ),
    Mutant(
        "the lock file at the path is not compared with the locked one",
        5,
        "storage/files/lock.py",
        (
            (
                "if status.st_ino == self._inode:",
                "if status.st_ino > 0:",
            ),
        ),
        "tests/storage/files/test_backend.py::test_a_claim_without_its_lock_file_is_lost[new]",
    ),
    Mutant(
        "a claim whose lock file was removed is not known as lost",
        5,
        "storage/files/claimed_directory.py",
        (("            self._lock.lose()\n", ""),),
        "tests/storage/files/test_cleaned_locks.py::"
        "test_a_session_whose_lock_file_was_cleaned_away_is_claimed_again_by_its_process[all]",
    ),
    Mutant(
        "a save touches no old lock file",
        5,
        "storage/files/lock.py",
        (("status.st_mtime) > _TOUCHED:", "status.st_mtime) < 0:"),),
        "tests/storage/files/test_cleaned_locks.py::"
        "test_a_holder_that_saves_now_and_then_keeps_its_lock_file[save]",
    ),
    Mutant(
        "a directory that stays open is not compared with the one at its path",
        5,
        "storage/files/claimed_directory.py",
        (
            (
                "                identity = (status.st_dev, status.st_ino)\n",
                "                identity = status and self._identity\n",
            ),
        ),
        "tests/storage/files/test_backend.py"
        "::test_a_session_that_was_moved_away_is_lost[later save]",
    ),
    Mutant(
        "the lock is looked at before the new file is written",
        5,
        "storage/files/claim.py",
        (
            (
                '        with self._claimed.opened("save", checks_lock=False) as directory:',
                '        with self._claimed.opened("save") as directory:',
            ),
            (
                "            self._claimed.check_held()\n            if self._cancellable",
                "            if self._cancellable",
            ),
        ),
        "tests/storage/files/test_claim_races.py::test_the_lock_is_looked_at_after_the_new_file_was_written",
    ),
    Mutant(
        "a save that displaced nobody knows what counts without the lock",
        5,
        "storage/files/claim.py",
        (
            (
                "            if not self._lock.is_in_place():\n",
                "            if self._lock.is_closed:\n",
            ),
        ),
        "tests/storage/files/test_claim_races.py::"
        "test_who_lost_its_lock_file_after_the_swap_is_not_told_that_it_saved[save]",
    ),
    Mutant(
        "a state whose signature differs is a conflict, whatever its bytes are",
        5,
        "durable/version.py",
        (("        if self.digest is None:\n", "        if self.digest:\n"),),
        "tests/durable/test_version.py::test_a_file_with_another_signature_is_known_by_its_bytes",
    ),
    Mutant(
        "other bytes of the same length are taken for ours",
        5,
        "durable/version.py",
        (
            (
                "return len(data) == self.length and hash(data) == self.digest",
                "return len(data) == self.length",
            ),
        ),
        "tests/storage/files/test_backend.py::test_a_state_that_others_changed_is_kept[touched]",
    ),
    Mutant(
        "a copy of a lock file that nobody locked counts as ours",
        5,
        "storage/files/lock.py",
        (("return held and record is not None", "return record is not None"),),
        "tests/storage/files/test_unstable_places.py::test_a_copy_of_the_lock_file_is_not_the_lock",
    ),
    Mutant(
        "a copy of the session's directory counts as the claimed one",
        5,
        "storage/files/claimed_directory.py",
        (("return os.path.lexists(os.path.join(self.path, name))", "return True"),),
        "tests/storage/files/test_backend.py"
        "::test_a_session_that_was_moved_away_is_lost[later save]",
    ),
    Mutant(
        "a foreign state is put back once, whatever comes meanwhile",
        5,
        "durable/replace.py",
        (
            (
                "                    if self._holds(put, expected):\n",
                "                    if put:\n",
            ),
        ),
        "tests/storage/files/test_claim_races.py::test_of_two_foreign_states_around_a_swap_the_newest_is_in_place[save]",
    ),
    Mutant(
        "a forked child keeps the descriptor of the lock",
        5,
        "storage/files/lock.py",
        (
            (
                "    for held in list(_held):\n        held.close()\n    for file",
                "    for file",
            ),
        ),
        "tests/session/test_processes.py::"
        "test_the_lock_is_free_after_the_owner_dies_though_its_child_lives",
    ),
    # --- 6: of racing resumers one wins -----------------------------------------------------------
    Mutant(
        "the expected revision is not compared",
        6,
        "session/resume.py",
        (
            (
                "if expected_revision is not None and state.revision != expected_revision:",
                "if expected_revision is not None and expected_revision < 0:",
            ),
        ),
        "tests/session/test_processes.py::test_of_eight_racing_resumers_one_wins_and_the_others_learn_who",
    ),
    Mutant(
        "the expected revision is not compared, as other backends would see it",
        6,
        "session/resume.py",
        (
            (
                "if expected_revision is not None and state.revision != expected_revision:",
                "if expected_revision is not None and expected_revision < 0:",
            ),
        ),
        FILES + "test_of_all_that_saw_one_revision_exactly_one_resumes[short work]",
    ),
    Mutant(
        "the loser does not wait until the winner has said who it is",
        6,
        "storage/files/lock.py",
        (("unnamed=LOOK_GRACE", "unnamed=PROBE_GRACE"),),
        "tests/storage/files/test_backend.py::"
        "test_who_is_refused_learns_who_has_the_lock_though_it_says_so_late[one that died]",
    ),
    Mutant(
        "the loser is not told who won",
        6,
        "session/resume.py",
        (("                owner=claim.previous_owner,\n", ""),),
        FILES + "test_a_revision_that_has_passed_is_refused",
    ),
    # --- the word of a holder that left in order --------------------------------------------------
    Mutant(
        "a word of another boot counts",
        5,
        "storage/files/last_word.py",
        (
            (
                "word == give(path, lock)",
                "{**word, 'boot_id': ''} == {**(give(path, lock) or {}), 'boot_id': ''}",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_word_vouches_only_for_what_it_names[of_another_boot]",
    ),
    Mutant(
        "a word of another version counts",
        5,
        "storage/files/last_word.py",
        (
            (
                "word == give(path, lock)",
                "{**word, 'version': ''} == {**(give(path, lock) or {}), 'version': ''}",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_word_vouches_only_for_what_it_names[of_another_version]",
    ),
    Mutant(
        "a word counts for another lock file",
        5,
        "storage/files/last_word.py",
        (
            (
                '"lock": list(lock)',
                '"lock": []',
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_lock_file_that_was_put_back_from_a_copy_vouches_for_nothing",
    ),
    Mutant(
        "a word counts whatever came into the directories since",
        5,
        "storage/files/last_word.py",
        (
            (
                "status.st_mtime_ns, status.st_ctime_ns]",
                "0, 0]",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_file_that_came_after_the_word_is_found[checkpoints]",
    ),
    Mutant(
        "the word before a tentative record counts",
        5,
        "storage/files/lock_record.py",
        (
            (
                ' or record.get("tentative") or not record.get("released_at"):',
                ' or not record.get("released_at"):',
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_word_vouches_only_for_what_it_names[of_one_that_died_while_it_looked]",
    ),
    Mutant(
        "a word counts without a release",
        5,
        "storage/files/lock_record.py",
        (
            (
                ' or not record.get("released_at"):',
                ":",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_word_vouches_only_for_what_it_names[of_a_holder_that_died]",
    ),
    Mutant(
        "a word counts where a free lock proves nothing",
        5,
        "storage/files/backend.py",
        (
            (
                "trusts_word = last is not None and self.lock_is_proof(last)\n",
                "trusts_word = last is not None\n",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_word_counts_nothing_where_a_free_lock_proves_nothing",
    ),
    Mutant(
        "the old word stays where no record can be written",
        5,
        "storage/files/lock.py",
        (
            (
                "        if not self._write(tentative):\n            self._file.truncate(0)\n",
                "        self._write(tentative)\n",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_on_a_full_disk_the_old_word_is_withdrawn_all_the_same",
    ),
    Mutant(
        "a claim that is used after its last word leaves it",
        5,
        "storage/files/claimed_directory.py",
        (
            (
                "        self._lock.resume_use()\n",
                "",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_a_claim_that_is_used_after_an_interrupted_release_takes_its_word_back",
    ),
    Mutant(
        "who was interrupted in a save says that it left in order",
        5,
        "storage/files/claimed_directory.py",
        (
            (
                "        claimed.is_in_order = False  # until this use has come to a good end\n",
                "",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_who_was_interrupted_in_a_save_gives_no_word",
    ),
    Mutant(
        "who could not remove what a save replaced says that it left in order",
        5,
        "durable/replace.py",
        (
            (
                "                directory.has_leftover = True\n",
                "                pass\n",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_who_could_not_remove_what_a_save_replaced_says_so",
    ),
    Mutant(
        "what a claim keeps for a check is vouched for",
        5,
        "storage/files/leftovers.py",
        (
            (
                "        else:\n            is_empty = False\n",
                "",
            ),
        ),
        "tests/storage/files/test_last_word.py::test_what_a_claim_keeps_for_a_check_is_looked_at_by_the_next_claim_too",
    ),
    # --- those who wait ---------------------------------------------------------------------------
    Mutant(
        "a waiter does not look who is ahead in the line",
        5,
        "storage/files/waiting.py",
        (
            (
                "                self._before = name\n                return False\n",
                "                pass\n",
            ),
        ),
        "tests/storage/files/test_waiting.py::test_processes_get_a_session_in_the_order_in_which_they_came",
    ),
    Mutant(
        "a stopped waiter keeps the line waiting for ever",
        5,
        "storage/files/waiting.py",
        (("                self._passed.add(first)\n", "                pass\n"),),
        "tests/storage/files/test_waiting.py::test_a_waiter_that_is_stopped_is_passed_over_and_gets_its_turn_later",
    ),
    Mutant(
        "the place of a dead waiter in the line counts",
        5,
        "storage/files/waiting.py",
        (
            (
                "                if os_lock.is_claimed(file.fileno()):\n",
                "                if True:\n",
            ),
        ),
        "tests/storage/files/test_waiting.py::test_a_waiter_that_was_killed_costs_the_others_nothing",
    ),
    Mutant(
        "a place in the line is not compared with its file",
        5,
        "storage/files/waiting.py",
        (
            (
                "is_ours = line.status(str(number)).st_ino == os.fstat(file.fileno()).st_ino",
                "is_ours = True",
            ),
        ),
        "tests/storage/files/test_waiting.py::test_a_place_that_was_taken_for_deserted_is_taken_again",
    ),
    Mutant(
        "who gave up waiting leaves its place in the line",
        5,
        "storage/files/waiting.py",
        (
            (
                "                os.unlink(os.path.join(self._line, str(self._number)))\n",
                "                pass\n",
            ),
        ),
        "tests/storage/files/test_waiting.py::test_ctrl_c_ends_a_wait_and_leaves_no_place",
    ),
)
