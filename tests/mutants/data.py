"""What is kept loads back equal, is there whole or not at all, is private, and hides no damage."""

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_IDLE = "test_a_session_is_idle_while_a_live_process_holds_it_and_writes_nothing"

MUTANTS = (
    # --- 8: what was accepted loads back equal ----------------------------------------------------
    Mutant(
        "NaN is accepted",
        8,
        "model/json_values.py",
        (("or (kind is float and item - item == 0)", "or kind is float"),),
        "tests/model/test_json_values.py::test_the_message_is_the_one_of_the_design",
    ),
    Mutant(
        "a foreign NaN is put into quarantine with its session",
        10,
        "operations/check/session.py",
        (("if seen.state is None and seen.newest", "if seen.values or seen.newest"),),
        "tests/operations/check/test_foreign_values.py::"
        "test_damage_of_a_few_characters_is_mended_in_place",
    ),
    Mutant(
        "a foreign NaN is read as it is, and no write succeeds",
        8,
        "model/codec.py",
        (("mending.mend(payload) if mending.has_constants(payload) else None", "None"),),
        "tests/model/test_mending.py::test_a_declared_float_gets_null_or_its_default",
    ),
    Mutant(
        "foreign values are lost in silence",
        8,
        "session/writer.py",
        (("                foreign_values.keep_original(self.claim)\n", "                pass\n"),),
        "tests/session/test_foreign_values.py::"
        "test_every_write_succeeds_keeps_the_original_and_names_the_values_once",
    ),
    Mutant(
        "old checkpoints are removed all at once",
        10,
        "session/checkpoint_limit.py",
        (
            (
                "over = min(left, max(0, len(kept) - self._limit))",
                "over = max(0, len(kept) - self._limit)",
            ),
        ),
        "tests/session/test_checkpoint_limit.py::test_no_write_removes_more_than_a_few_of_many",
    ),
    # --- 9: create and delete are atomic ----------------------------------------------------------
    Mutant(
        "a session is created in place",
        9,
        "storage/files/create.py",
        (
            (
                'self._aside = f"{replace.temporary_name()}-{session_id}"',
                "self._aside = session_id",
            ),
            (
                "        opened_trash(layout) as trash,\n",
                "        Directory(layout.sessions) as trash,\n",
            ),
            ("replace.move_new(trash, self._aside, sessions, self._id)", "pass"),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_create_that_is_killed_between_two_calls_leaves_a_whole_session_or_none",
    ),
    Mutant(
        "a session is deleted without a rename",
        9,
        "storage/files/claim.py",
        (
            (
                "replace.move_new(sessions, self.session_id, target, name)",
                "shutil.rmtree(self._path)",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_delete_that_is_killed_between_two_calls_leaves_a_whole_session_or_none",
    ),
    Mutant(
        "a late claim does not look which directory it finds",
        9,
        "storage/files/claimed_directory.py",
        (("if identity != self._identity:", "if self._identity is None:"),),
        "tests/storage/files/test_backend.py::test_a_session_that_was_moved_away_is_lost",
    ),
    # --- 10: damage is reported and fatal to nobody -----------------------------------------------
    Mutant(
        "the sweep hides damage",
        10,
        "operations/recovery.py",
        (
            (
                (
                    "                self.damaged.append("
                    "SweptSession(item.session_id, item.damaged))\n"
                ),
                "                continue\n",
            ),
        ),
        FILES + "test_damage_is_reported_and_stops_nobody",
    ),
    Mutant(
        "a page skips what has the same time",
        10,
        "storage/files/index/query_sql.py",
        (
            (
                "{time} {sign}= ? AND ({time} {sign} ? OR {session} {sign} ?)",
                "{time} {sign} ?",
            ),
            (
                "                values += [moment, moment, session_id]\n",
                "                values += [moment]\n",
            ),
        ),
        "tests/storage/test_conformance.py::TestFilesPower::test_pages_neither_repeat_nor_skip",
    ),
    Mutant(
        "a page skips what has the same time, where no index is",
        10,
        "model/query.py",
        (
            (
                "for key, item in placed if key > start]",
                "for key, item in placed if key[:2] > start[:2]]",
            ),
        ),
        "tests/storage/test_conformance.py::TestMemory::test_pages_neither_repeat_nor_skip",
    ),
    Mutant(
        "a session whose process died is idle",
        10,
        "model/query.py",
        ((" and item.liveness.is_alive)", " and item.liveness)"),),
        "tests/storage/test_conformance.py::TestMemory::" + _IDLE,
    ),
    Mutant(
        "a clock that was set back hides who lives",
        10,
        "model/query.py",
        (("    if idle:", "    if idle is not None:"),),
        "tests/storage/test_conformance.py::TestMemory::" + _IDLE,
    ),
    Mutant(
        "what the store writes counts as a save of the application",
        10,
        "session/stamp.py",
        (('    return [(state, "saves_from", state.saves_from + 1)]\n', "    return []\n"),),
        "tests/operations/test_lost_saves.py::test_only_saves_of_the_application_count",
    ),
    Mutant(
        "an endless recursion is stored whole",
        10,
        "session/error_text.py",
        (
            (
                "StackSummary.extract(walk_tb(trace), limit=-limit)",
                "StackSummary.extract(walk_tb(trace))",
            ),
        ),
        "tests/session/test_error_text.py::test_only_the_last_frames_are_kept_and_the_others_counted",
    ),
    # --- 11: private, and nothing acts ------------------------------------------------------------
    Mutant(
        "what root makes stays root's",
        11,
        "durable/access.py",
        (("                os.fchown(fd, *self.heir)\n", "                pass\n"),),
        "tests/durable/test_access.py::test_what_root_makes_belongs_to_the_owner_of_the_directory",
    ),
    Mutant(
        "the umask decides the modes of a group's store",
        11,
        "durable/access.py",
        (("            os.fchmod(fd, right)\n", "            pass\n"),),
        "tests/durable/test_access.py::test_in_a_directory_for_a_group_all_is_the_groups",
    ),
    Mutant(
        "links are followed",
        11,
        "durable/directory.py",
        (("SAFE_FLAGS: int = _NO_FOLLOW | ", "SAFE_FLAGS: int = "),),
        "tests/storage/files/test_links.py::test_something_else_in_place_of_the_state_is_damage[link]",
    ),
    Mutant(
        "a FIFO is waited for",
        11,
        "durable/directory.py",
        (('_NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) |', "_NO_FOLLOW |"),),
        "tests/storage/files/test_links.py::test_something_else_in_place_of_the_state_is_damage[FIFO]",
    ),
    Mutant(
        "text of a session is not escaped",
        11,
        "text.py",
        (("escape(char) if unicodedata", "char if unicodedata"),),
        "tests/cli/test_every_command.py::"
        "test_hostile_text_in_any_field_reaches_the_output_only_escaped[ls-never-table]",
    ),
    Mutant(
        "files are readable by everybody",
        11,
        "durable/directory.py",
        (
            (
                "os.open(name, flags, 0o600, dir_fd=self._fd)",
                "os.open(name, flags, 0o644, dir_fd=self._fd)",
            ),
        ),
        "tests/storage/files/test_backend.py::test_the_layout_is_the_promised_one_and_private",
    ),
    Mutant(
        "an id may name a parent directory",
        11,
        "model/ids.py",
        (
            (
                '_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)',
                '_SAFE = re.compile(r"[A-Za-z0-9./][A-Za-z0-9./_-]{0,127}", re.ASCII)',
            ),
        ),
        "tests/storage/files/test_links.py::test_an_id_that_could_leave_the_root_is_refused_everywhere[../s1]",
    ),
)
