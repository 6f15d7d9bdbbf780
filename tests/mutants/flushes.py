"""What a save with one flush rests on: bytes first, an exchange, a file system that fits."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ORDER = "tests/storage/files/test_flushes.py::"
_DECISION = "tests/durable/test_commit_order.py::"

MUTANTS = (
    # --- the order of the calls -------------------------------------------------------------------
    Mutant(
        "with one flush, nobody waits for the bytes",
        2,
        "durable/linux_calls.py",
        (("WRITE_AND_WAIT = 1 | 2 | 4", "WRITE_AND_WAIT = 2"),),
        "tests/durable/test_linux_calls.py::test_the_bytes_of_a_file_are_written_and_waited_for",
    ),
    Mutant(
        "with one flush, the bytes are not written out",
        2,
        "durable/replace.py",
        (("write_out(fd) if is_carried else flush(fd)", "is_carried or flush(fd)"),),
        _ORDER
        + "test_with_one_flush_bytes_are_written_out_before_the_exchange_that_a_flush_carries",
    ),
    Mutant(
        "with one flush, a checkpoint in process mode has none",
        2,
        "storage/files/claim.py",
        (("if self._power or staged.is_carried:", "if self._power:"),),
        _ORDER + "test_in_process_mode_a_checkpoint_takes_one_flush_with_all_names_above_it",
    ),
    Mutant(
        "with one flush, the checkpoint is linked after the state",
        2,
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
        _ORDER
        + "test_with_one_flush_bytes_are_written_out_before_the_exchange_that_a_flush_carries",
    ),
    Mutant(
        "one flush with a plain rename",
        2,
        "durable/replace.py",
        (("        self._flush_carried()\n", ""),),
        _ORDER + "test_where_a_rename_stands_in_for_the_exchange_all_is_flushed_before_it",
    ),
    Mutant(
        "a new file that is renamed into its place is carried, too",
        2,
        "durable/replace.py",
        (("flush_file and not by_rename and", "flush_file and"),),
        _ORDER
        + "test_what_is_renamed_into_its_place_is_flushed_even_where_an_exchange_carries_bytes",
    ),
    Mutant(
        "a state that is moved in alone is carried, too",
        2,
        "storage/files/create.py",
        (("replace.flush_file(aside, STATE)", "pass"),),
        _ORDER + "test_a_state_that_is_moved_without_its_directory_is_flushed_first",
    ),
    Mutant(
        "bytes that failed to be written out are flushed instead",
        3,
        "durable/replace.py",
        (
            (
                "        if error.errno not in NO_SUCH_CALL:\n"
                "            raise\n"
                "        flush(fd)\n",
                "        flush(fd)\n",
            ),
        ),
        _ORDER + "test_bytes_that_fail_to_be_written_out_are_thrown_away_and_never_flushed",
    ),
    # --- the decision -----------------------------------------------------------------------------
    Mutant(
        "one flush on a file system that is not on the list",
        2,
        "durable/commit_order.py",
        (
            (
                'return _two(f"{mount.kind} is not known',
                'return CommitOrder(True, f"{mount.kind} is not known',
            ),
        ),
        _DECISION + "test_every_other_file_system_needs_two",
    ),
    Mutant(
        "one flush on ext4 with its journal elsewhere",
        2,
        "durable/commit_order.py",
        (
            (
                'return _two("ext4 with an external journal")',
                'return CommitOrder(True, "ext4")',
            ),
        ),
        _DECISION + "test_a_journal_that_is_not_inside_needs_two",
    ),
    Mutant(
        "one flush on ext4 in any mode",
        2,
        "durable/commit_order.py",
        (('if mode not in ("data=ordered", "data=journal"):', "if not mode:"),),
        _DECISION + "test_an_ext4_that_is_mounted_otherwise_needs_two",
    ),
    Mutant(
        "one flush on ext4 with fast commits",
        2,
        "durable/commit_order.py",
        (("    if _FAST_COMMIT in options:\n", "    if not options:\n"),),
        _DECISION + "test_an_ext4_that_is_mounted_otherwise_needs_two",
    ),
    Mutant(
        "one flush on an XFS with another device",
        2,
        "durable/commit_order.py",
        (('if name in ("logdev", "rtdev") or', "if"),),
        _DECISION + "test_an_xfs_with_another_device_needs_two",
    ),
    Mutant(
        "what cannot be read means one flush",
        2,
        "durable/commit_order.py",
        (
            (
                'return _two(f"the kernel does not tell',
                'return CommitOrder(True, f"the kernel does not tell',
            ),
        ),
        _DECISION + "test_it_is_decided_once_for_each_mount_and_a_failed_look_is_not_remembered",
    ),
    Mutant(
        "one flush where a sandbox refuses a call",
        2,
        "durable/commit_order.py",
        (("if found.is_one and (call := _refused_call(fd)):", "if call := '':"),),
        _DECISION + "test_where_a_sandbox_refuses_a_call_there_are_two",
    ),
    Mutant(
        "one flush though two are asked for",
        2,
        "durable/directory.py",
        (("if self._two_flushes or self._fd is None:", "if self._fd is None:"),),
        _DECISION + "test_the_argument_and_the_environment_turn_it_off",
    ),
)
