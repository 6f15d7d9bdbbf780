"""What asks the index instead of the files: counts, what is pruned, and forks."""

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

_HERE = "tests/storage/files/index/test_operations.py::"
_AS_IF_READ = _HERE + "test_every_operation_answers_as_if_every_session_had_been_read"

MUTANTS = (
    # --- 10: nothing is deleted that is to stay, and nothing is hidden ----------------------------
    Mutant(
        "a session with few checkpoints loses some",
        10,
        "operations/retention.py",
        (
            (
                "max(0, len(kept) - (self.keep_checkpoints or 0))",
                "len(kept) - (self.keep_checkpoints or 0)",
            ),
        ),
        "tests/operations/test_prune.py::test_who_has_no_more_checkpoints_than_are_kept_loses_none",
    ),
    Mutant(
        "the newest are taken from among the old ones",
        10,
        "operations/prune.py",
        (
            (
                "if until is None or not found or not self.policy.keep_last:",
                "if True:",
            ),
        ),
        _HERE + "test_the_newest_stay_and_the_old_go_though_only_the_old_are_judged",
    ),
    Mutant(
        "what has no readable time does not count among the newest",
        10,
        "operations/prune.py",
        (
            (
                "chain(self.backend.find(unknown, _as_it_is), self.backend.find(order, _as_it_is))",
                "chain(self.backend.find(order, _as_it_is), self.backend.find(unknown, _as_it_is))",
            ),
        ),
        _HERE + "test_what_has_no_readable_time_is_among_the_newest",
    ),
    Mutant(
        "a policy that looks at those that stay does not see them",
        10,
        "operations/retention.py",
        (
            (
                "if limit is None or self.max_total_size is not None or self.judges_contents:",
                "if limit is None:",
            ),
        ),
        _AS_IF_READ,
    ),
    Mutant(
        "checkpoints are not looked at where as many are there as stay and one more",
        10,
        "operations/retention.py",
        (
            (
                "return len(checkpoint_ids) > (self.keep_checkpoints or 0) and any(",
                "return len(checkpoint_ids) - 1 > (self.keep_checkpoints or 0) and any(",
            ),
        ),
        _AS_IF_READ,
    ),
    Mutant(
        "a size limit does not know of what others wrote",
        10,
        "operations/prune.py",
        (
            (
                "self.backend.find(every, _as_it_is, verify=True)",
                "self.backend.find(every, _as_it_is)",
            ),
        ),
        _HERE + "test_what_others_wrote_makes_room_like_any_other",
    ),
    Mutant(
        "damaged sessions are not on record",
        10,
        "operations/prune.py",
        (("every = replace(query, keeps_damaged=True)", "every = query"),),
        "tests/operations/test_prune.py::test_damage_is_reported_and_kept",
    ),
    Mutant(
        "live rows are counted by what they said before",
        10,
        "storage/files/index/lookup.py",
        (
            (
                "total - sum(number for (number,) in live)",
                "total - 0 * sum(number for (number,) in live)",
            ),
        ),
        _AS_IF_READ,
    ),
    Mutant(
        "idle sessions are counted without a look at their processes",
        10,
        "storage/files/index/lookup.py",
        ((" is not None or query.alive:", " is not None:"),),
        FILES + "test_a_session_is_idle_while_a_live_process_holds_it_and_writes_nothing",
    ),
    Mutant(
        "a survey does not read the live sessions",
        10,
        "storage/files/index/lookup.py",
        ((" if before is None else before._live\n", " if before is None else {}\n"),),
        _AS_IF_READ,
    ),
    Mutant(
        "what is measured is not looked at again",
        10,
        "operations/stats.py",
        (("    return counting.result()\n", "    return _survey(backend)\n"),),
        _HERE + "test_a_checkpoint_that_does_not_load_is_found_while_sizes_are_measured",
    ),
    Mutant(
        "a damaged session has no parent",
        10,
        "operations/fork.py",
        ((", keeps_damaged=True, limit=None)", ", limit=None)"),),
        _HERE + "test_a_fork_that_is_damaged_is_found_if_it_says_so",
    ),
    Mutant(
        "the index forgets what a session was forked from",
        10,
        "storage/files/index/schema.py",
        (
            (
                "        parent,\n        clock",
                "        None,\n        clock",
            ),
        ),
        _AS_IF_READ,
    ),
)
