"""What the index rests on: a listing is what the files say, though nobody reads them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_INDEX = "storage/files/index/"
_NAMES = "tests/storage/files/index/test_live_names.py::"
_LISTING = "tests/storage/files/index/test_listing.py::"
_REBUILD = "tests/storage/files/index/test_rebuild.py::"

MUTANTS = (
    # --- 10: nothing is hidden --------------------------------------------------------------------
    # What a writer does.
    Mutant(
        "a first save does not name the session as live",
        10,
        "storage/files/claim.py",
        (("            live_names.add(self._layout, self.session_id, self._token)\n", ""),),
        _NAMES + "test_a_session_is_live_from_its_first_save_to_its_release",
    ),
    Mutant(
        "the session is named as live after its file was changed",
        10,
        "storage/files/claim.py",
        (
            (
                "            self._name_live()\n            if checkpoint_id is None:\n",
                "            if checkpoint_id is None:\n",
            ),
            (
                "            if self._power or staged.is_carried:\n                try:\n",
                (
                    "            self._name_live()\n"
                    "            if self._power or staged.is_carried:\n                try:\n"
                ),
            ),
        ),
        _NAMES + "test_it_is_live_before_its_file_changes",
    ),
    Mutant(
        "all claims on a session give it the same name",
        10,
        _INDEX + "live_names.py",
        (('    return f"{session_id}{_OF}{token}"\n', "    return session_id\n"),),
        _NAMES + "test_a_release_removes_no_name_of_another",
    ),
    Mutant(
        "who cannot list the root takes it for a store without an index",
        10,
        _INDEX + "index_directory.py",
        (
            (
                "    except FileNotFoundError:\n        return []\n",
                "    except OSError:\n        return []\n",
            ),
        ),
        _NAMES + "test_who_cannot_see_whether_there_is_an_index_changes_nothing[False]",
    ),
    Mutant(
        "an index whose live sessions cannot be named stays",
        10,
        _INDEX + "live_names.py",
        (
            (
                "            index_directory.discard(layout, index, error)\n",
                "            del error\n",
            ),
        ),
        _LISTING + "test_an_index_whose_live_sessions_cannot_be_named_is_removed",
    ),
    Mutant(
        "a writer takes the index of another version for its own",
        10,
        _INDEX + "index_directory.py",
        (('startswith(f"index-{FORMAT}-")', 'startswith("index-")'),),
        _LISTING + "test_an_index_of_another_version_is_left_alone_and_kept_true",
    ),
    # Sessions come and go.
    Mutant(
        "a session that was deleted keeps its row",
        10,
        _INDEX + "index.py",
        (
            (
                "for sql in (REMOVE, REMOVE_LABELS):",
                "for sql in (REMOVE_LABELS,):",
            ),
        ),
        _NAMES + "test_a_session_leaves_the_index_as_it_leaves_the_store",
    ),
    Mutant(
        "what changes in sessions/ is not looked at",
        10,
        _INDEX + "index.py",
        (("        return None if is_recorded else", "        return None if True else"),),
        _LISTING + "test_one_session_put_back_by_hand_is_listed_at_once",
    ),
    Mutant(
        "what we change in sessions/ is not recorded",
        10,
        _INDEX + "live_names.py",
        (("        if file is not None and is_known:\n", "        if False:\n"),),
        _NAMES + "test_what_comes_and_goes_by_us_costs_no_comparison",
    ),
    Mutant(
        "what others changed in sessions/ is recorded as ours",
        10,
        _INDEX + "live_names.py",
        (("        if file is not None and is_known:\n", "        if file is not None:\n"),),
        _NAMES + "test_what_others_added_is_not_passed_over_since_we_add_something_too",
    ),
    # Those who list.
    Mutant(
        "whoever lists folds a session though it is held",
        10,
        _INDEX + "index.py",
        (
            (
                "if taken and observer.is_free(session_id):",
                "if taken and (observer.is_free(session_id) or True):",
            ),
        ),
        _NAMES + "test_whoever_lists_leaves_it_live_while_it_is_held",
    ),
    Mutant(
        "whoever lists reads a session before its lock was seen free",
        10,
        _INDEX + "index.py",
        (
            (
                "            free: dict[str, list[str]] = {}\n",
                (
                    "            free: dict[str, list[str]] = {}\n"
                    "            early = {one: observer.read(one) for one in names}\n"
                    "            observer.read = early.get\n"
                ),
            ),
        ),
        _NAMES + "test_a_session_is_read_after_its_lock_was_seen_free",
    ),
    Mutant(
        "a name on which others may rely is not renamed before it is removed",
        10,
        _INDEX + "live_names.py",
        (("        if _OF not in name:\n", "        if False:\n"),),
        _NAMES + "test_who_claims_a_session_after_its_lock_was_seen_free_keeps_it_live",
    ),
    Mutant(
        "a fold that died is forgotten",
        10,
        _INDEX + "live_names.py",
        (
            (
                "        found.setdefault(name.partition(_OF)[0], []).append(name)\n",
                "        if _OF not in name:\n            found[name] = [name]\n",
            ),
        ),
        _NAMES + "test_a_fold_that_died_is_gone_on_with",
    ),
    Mutant(
        "rows are shown as they are, whatever became of their files",
        10,
        _INDEX + "lookup.py",
        (
            (
                "now is not None and signature_values(now) == row.signature:",
                "now is not None:",
            ),
        ),
        _LISTING + "test_what_others_wrote_is_noticed_on_the_page_that_shows_it",
    ),
    Mutant(
        "a filter's value becomes part of the SQL",
        10,
        _INDEX + "query_sql.py",
        (
            (
                '        where.append(f"{name} = ?")\n',
                "        where.append(f\"{name} = '{value}'\")\n",
            ),
            (
                "        values.append(value)\n    if query.interrupted",
                "    if query.interrupted",
            ),
        ),
        _LISTING + "test_values_never_become_sql",
    ),
    # The comparison.
    Mutant(
        "another boot is no reason to compare",
        10,
        _INDEX + "index.py",
        (('if boot is None or facts.get("boot") != boot:', "if boot is None:"),),
        _LISTING + "test_an_index_that_is_older_than_the_files_is_compared_after_another_boot",
    ),
    Mutant(
        "a comparison stores the row of a session that is held",
        10,
        _INDEX + "rebuild.py",
        (
            (
                "if not observer.is_free(session_id):",
                "if not (observer.is_free(session_id) or True):",
            ),
        ),
        _REBUILD + "test_one_that_is_held_stays_live_though_it_is_not_active",
    ),
    Mutant(
        "a comparison brings back what was deleted meanwhile",
        10,
        _INDEX + "live_names.py",
        (
            (
                "        _add_claim(index, layout, session_id, token)\n        is_named = True\n",
                "        is_named = True\n",
            ),
        ),
        _REBUILD + "test_who_is_deleted_while_it_is_compared_does_not_come_back[False]",
    ),
    Mutant(
        "a comparison counts rows though others removed some",
        10,
        _INDEX + "rebuild.py",
        ((" or self._removals() != removals", ""),),
        _REBUILD + "test_a_row_too_many_is_found_though_the_number_is_right",
    ),
    Mutant(
        "a comparison leaves the rows of sessions that are gone",
        10,
        _INDEX + "rebuild.py",
        (("return counted != self._rows or ", "return "),),
        _LISTING + "test_one_session_put_back_by_hand_is_listed_at_once",
    ),
    Mutant(
        "a comparison ends another one that began after it",
        10,
        _INDEX + "index.py",
        (('if get_fact(connection, "complete") == number:', "if number:"),),
        _REBUILD + "test_a_comparison_does_not_end_one_that_began_after_it",
    ),
    Mutant(
        "a comparison that was not finished counts as one",
        10,
        _INDEX + "index.py",
        (('if facts.get("complete") != "1":', 'if facts.get("complete") is None:'),),
        _LISTING + "test_a_harmed_index_does_no_harm[False-unfinished]",
    ),
    Mutant(
        "a row keeps nothing of damage and of who holds no lock",
        10,
        _INDEX + "observation.py",
        (
            (
                " or (state.status is SessionStatus.ACTIVE and state.owner is None):",
                ":",
            ),
        ),
        _LISTING + "test_a_process_without_a_lock_is_looked_at_each_time",
    ),
)
