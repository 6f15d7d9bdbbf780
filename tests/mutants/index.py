"""What the index rests on: a listing is what the files say, though nobody reads them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CLAIMS = "tests/storage/files/index/test_claim_row.py::"
_INDEX = "tests/storage/files/index/test_listing.py::"
_REBUILD = "tests/storage/files/index/test_rebuild.py::"

MUTANTS = (
    # --- 10: nothing is hidden --------------------------------------------------------------------
    # What a holder says.
    Mutant(
        "a first save does not make the row live",
        10,
        "storage/files/index/claim_row.py",
        (
            (
                "self._mark = index.mark_live(self._session_id) if index else None",
                "self._mark = None",
            ),
        ),
        _CLAIMS + "test_a_session_is_live_from_its_first_save_to_its_release",
    ),
    Mutant(
        "the row is made live after the file was changed",
        10,
        "storage/files/claim.py",
        (
            (
                "            self.entry.announce()\n            if checkpoint_id is None:\n",
                "            if checkpoint_id is None:\n",
            ),
            (
                "            if self._power:\n                try:\n",
                (
                    "            self.entry.announce()\n"
                    "            if self._power:\n                try:\n"
                ),
            ),
        ),
        _CLAIMS + "test_it_is_live_before_its_file_changes",
    ),
    Mutant(
        "a release settles a row that is not its own",
        10,
        "storage/files/index/index.py",
        (('    " WHERE id = ? AND live = ?"\n', '    " WHERE id = ? AND ? <> 0"\n'),),
        _CLAIMS + "test_a_release_settles_no_row_that_another_has_made_live",
    ),
    Mutant(
        "who cannot list the root takes it for a store without an index",
        10,
        "storage/files/layout.py",
        (
            (
                "    except FileNotFoundError:\n        return []\n",
                "    except OSError:\n        return []\n",
            ),
        ),
        _CLAIMS + "test_who_cannot_see_whether_there_is_an_index_changes_nothing[False]",
    ),
    Mutant(
        "an index that could not be written stays",
        10,
        "storage/files/index/database.py",
        (("reason)\n            self._remove(name)\n", "reason)\n"),),
        _INDEX + "test_an_index_that_cannot_be_kept_true_is_removed",
    ),
    Mutant(
        "a writer does not notice that its index was removed",
        10,
        "storage/files/index/database.py",
        (("            if names and names[0] == self._name:\n", "            if names:\n"),),
        _INDEX + "test_a_writer_whose_index_was_removed_does_not_write_to_nowhere",
    ),
    # Sessions come and go.
    Mutant(
        "a delete leaves its row",
        10,
        "storage/files/index/index.py",
        (
            (
                'connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))',
                'connection.execute("SELECT 1")',
            ),
        ),
        _CLAIMS + "test_a_session_leaves_the_index_as_it_leaves_the_store",
    ),
    Mutant(
        "what changes in sessions/ is not looked at",
        10,
        "storage/files/index/index.py",
        (
            (
                'if facts.get("directory") != self.directory_identity() and',
                'if facts.get("directory") is None and',
            ),
        ),
        _INDEX + "test_one_session_put_back_by_hand_is_listed_at_once",
    ),
    Mutant(
        "what we change in sessions/ is not recorded",
        10,
        "storage/files/index/index.py",
        (
            (
                "                    if not foreign:\n",
                "                    if False:\n",
            ),
        ),
        _CLAIMS + "test_what_comes_and_goes_by_us_costs_no_comparison",
    ),
    Mutant(
        "what others changed in sessions/ is recorded as ours",
        10,
        "storage/files/index/index.py",
        (("                    if not foreign:\n", "                    if True:\n"),),
        _CLAIMS + "test_what_others_added_is_not_passed_over_since_we_add_something_too",
    ),
    # Those who list.
    Mutant(
        "whoever lists settles a row though its session is held",
        10,
        "storage/files/index/observe.py",
        (
            (
                "not locks.is_free(self._locks, session_id):\n                return False",
                "not locks.is_free(self._locks, session_id):\n                pass",
            ),
        ),
        _CLAIMS + "test_whoever_lists_leaves_it_live_while_it_is_held",
    ),
    Mutant(
        "whoever lists settles a row on what it read before the lock was free",
        10,
        "storage/files/index/observe.py",
        (
            (
                "        return self.signature(session_id) == seen.signature\n",
                "        return True\n",
            ),
        ),
        _CLAIMS + "test_a_row_is_not_settled_on_what_was_read_before_the_holder_died",
    ),
    Mutant(
        "rows are shown as they are, whatever became of their files",
        10,
        "storage/files/index/lookup.py",
        (
            (
                "now is not None and schema.signature_values(now) == row.signature:",
                "now is not None:",
            ),
        ),
        _INDEX + "test_what_others_wrote_is_noticed_on_the_page_that_shows_it",
    ),
    Mutant(
        "a filter's value becomes part of the SQL",
        10,
        "storage/files/index/query_sql.py",
        (
            (
                '        where.append(f"{name} = ?")\n',
                "        where.append(f\"{name} = '{value}'\")\n",
            ),
            ("        values.append(value)\n    if query.resumable:", "    if query.resumable:"),
        ),
        _INDEX + "test_values_never_become_sql",
    ),
    # The comparison.
    Mutant(
        "another boot is no reason to compare",
        10,
        "storage/files/index/index.py",
        (('if facts.get("boot") != kernel.boot_id():', 'if facts.get("boot") is None:'),),
        _INDEX + "test_an_index_that_is_older_than_the_files_is_compared_after_another_boot",
    ),
    Mutant(
        "a comparison settles what is held",
        10,
        "storage/files/index/rebuild.py",
        (
            (
                "    if seen.signature is not None and eyes.is_settled(seen):\n",
                "    if seen.signature is not None and seen.may_settle:\n",
            ),
        ),
        _CLAIMS + "test_whoever_lists_leaves_it_live_while_it_is_held",
    ),
    Mutant(
        "a comparison settles what is held, at a glance",
        10,
        "storage/files/index/observe.py",
        (
            (
                "not locks.is_free(self._locks, session_id):\n                return None",
                "not locks.is_free(self._locks, session_id):\n                pass",
            ),
        ),
        _REBUILD + "test_one_that_is_held_is_not_settled_though_it_is_not_active",
    ),
    Mutant(
        "a comparison brings back what was deleted meanwhile",
        10,
        "storage/files/index/rebuild.py",
        (("[row for row in added if eyes.is_there(row.id)]", "added"),),
        _REBUILD + "test_who_is_deleted_while_it_is_compared_does_not_come_back[False]",
    ),
    Mutant(
        "a comparison does not notice what its own process deletes",
        10,
        "storage/files/index/index.py",
        (("others, connection.total_changes)", "others, 0)"),),
        _REBUILD + "test_who_is_deleted_while_it_is_compared_does_not_come_back[True]",
    ),
    Mutant(
        "a comparison replaces the row of who claimed meanwhile",
        10,
        "storage/files/index/rebuild.py",
        (("INSERT OR IGNORE", "INSERT OR REPLACE"),),
        _REBUILD + "test_who_is_claimed_while_it_is_compared_stays_live",
    ),
    Mutant(
        "a comparison counts rows though others removed some",
        10,
        "storage/files/index/rebuild.py",
        (("if self._others_wrote or self._index.moment() != self._moment:", "if False:"),),
        _REBUILD + "test_a_row_too_many_is_found_though_the_number_is_right",
    ),
    Mutant(
        "a comparison ends in another index than it began with",
        10,
        "storage/files/index/index.py",
        (
            (
                "if database not in (None, self._database.name):",
                "if database not in (None, database):",
            ),
        ),
        _REBUILD + "test_an_index_that_is_replaced_while_it_is_made_does_not_count_as_made[False]",
    ),
    Mutant(
        "a glance takes a state for that of another session",
        10,
        "storage/files/index/glance.py",
        (('if state["session_id"] != session_id or (', "if (False or "),),
        _REBUILD + "test_a_glance_says_what_a_model_says",
    ),
    Mutant(
        "a glance takes a damaged field for a sound one",
        10,
        "storage/files/index/glance.py",
        (
            (
                "        return core_schema.list_schema(_schema(args[0]))\n",
                "        return core_schema.list_schema()\n",
            ),
        ),
        _REBUILD + "test_a_glance_says_what_a_model_says",
    ),
    Mutant(
        "a sweep settles a row that another has made live since",
        10,
        "storage/files/index/index.py",
        (('    " WHERE id = ? AND live = ?"\n', '    " WHERE id = ? AND ? <> 0"\n'),),
        _REBUILD
        + "test_what_is_resumed_in_the_middle_of_a_sweep_is_not_settled_as_the_sweep_left_it",
    ),
    Mutant(
        "a comparison that was not finished counts as one",
        10,
        "storage/files/index/index.py",
        (('if facts.get("complete") != "1":', 'if facts.get("complete") is None:'),),
        _INDEX + "test_a_harmed_index_does_no_harm[False-unfinished]",
    ),
)
