"""Labels: what finds by them, what goes on with them, and what a save accepts."""

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_INDEX = "storage/files/index/"
_ROWS = "tests/storage/files/index/test_labels.py::"
_LABELS = "tests/model/test_labels.py::"
_COUNTED = FILES + "test_what_the_states_say_is_selected_counted_and_listed"
_FOLLOWS = _ROWS + "test_the_table_follows_every_change_and_removal"

MUTANTS = (
    # --- 10: nothing is hidden, and nothing is shown that does not match --------------------------
    Mutant(
        "any label is enough instead of all",
        10,
        "model/query.py",
        (
            (
                "if any(item.labels.get(key) != value for",
                "if self.labels and all(item.labels.get(key) != value for",
            ),
        ),
        "tests/storage/test_conformance.py::TestMemory::test_a_filter_finds_what_it_says",
    ),
    Mutant(
        "the index looks for one label of several",
        10,
        _INDEX + "query_sql.py",
        (
            (
                'f"EXISTS (SELECT 1 FROM labels AS other WHERE {same})"',
                'f"(EXISTS (SELECT 1 FROM labels AS other WHERE {same}) OR 1)"',
            ),
        ),
        _COUNTED,
    ),
    Mutant(
        "the index looks for a value of any key",
        10,
        _INDEX + "query_sql.py",
        (
            (
                '"labels.key = ? AND labels.value = ?"',
                '"(labels.key = ? OR 1) AND labels.value = ?"',
            ),
        ),
        _COUNTED,
    ),
    Mutant(
        "a dirty row is listed by its old labels",
        10,
        _INDEX + "lookup.py",
        (("if row.id not in self._live:", "if row.id not in self._live or self._query.labels:"),),
        _ROWS + "test_a_held_session_is_found_once_and_by_what_its_file_says",
    ),
    Mutant(
        "a dirty row is counted by its old labels",
        10,
        _INDEX + "lookup.py",
        (
            (
                "total - sum(number for (number,) in live)",
                "total - sum(number for (number,) in live if not query.labels)",
            ),
        ),
        _ROWS + "test_a_held_session_is_found_once_and_by_what_its_file_says",
    ),
    Mutant(
        "the last label of a session stays in the index",
        10,
        _INDEX + "index.py",
        (("[(row.id,) for row in rows])", "[(row.id,) for row in rows if row.labels])"),),
        _FOLLOWS,
    ),
    Mutant(
        "the labels of a deleted session stay in the index",
        10,
        _INDEX + "index.py",
        (("for sql in (REMOVE, REMOVE_LABELS):", "for sql in (REMOVE,):"),),
        _FOLLOWS,
    ),
    Mutant(
        "the filter that lets the most pass leads",
        10,
        _INDEX + "lookup.py",
        (("counts.index(min(counts))", "counts.index(max(counts))"),),
        _ROWS + "test_a_count_costs_what_its_rarest_filter_lets_pass",
    ),
    Mutant(
        "a policy with labels takes what has none",
        10,
        "operations/prune.py",
        ((", labels=self.policy.labels)", ")"),),
        "tests/cli/commands/test_label.py::test_a_policy_lets_go_only_what_has_its_labels",
    ),
    # --- 12: nothing that was saved is out of reach -----------------------------------------------
    Mutant(
        "a resume takes back the labels of the checkpoint",
        12,
        "session/resume.py",
        (("    restored.labels = current.labels\n", ""),),
        FILES + "test_labels_go_on_whichever_checkpoint_is_restored",
    ),
    Mutant(
        "an edit of labels moves where a resume goes on",
        12,
        "session/edit.py",
        (("if self._changed_labels_alone() and not is_unread:", "if False:"),),
        _LABELS + "test_an_edit_of_labels_alone_does_not_move_where_a_resume_goes_on",
    ),
    # --- 8: what is not allowed is refused before anything is written -----------------------------
    Mutant(
        "a changed label is not checked",
        8,
        "session/edited_state.py",
        (
            (
                (
                    "        labels.check("
                    "self.value.session_id, self.value.labels, self._stored_labels)\n"
                ),
                "",
            ),
        ),
        _LABELS + "test_a_change_of_a_label_is_checked_by_the_save",
    ),
    Mutant(
        "labels of other software stop every save",
        8,
        "session/edited_state.py",
        (("self._stored_labels = dict(state.labels)", "self._stored_labels = {}"),),
        _LABELS + "test_what_other_software_wrote_stays_and_can_be_removed",
    ),
)
