"""The living are never taken for dead."""

# ruff: noqa: ISC004 - the texts are code, a line at a time

from __future__ import annotations

from tests.mutants.mutant import FILES, Mutant

MUTANTS = (
    # --- 7: the living are never taken for dead ---------------------------------------------------
    Mutant(
        "a held lock proves nothing",
        7,
        "session/inspect.py",
        (("        if probe.held:\n", "        if probe.held and probe is None:\n"),),
        "tests/process/test_liveness.py::test_a_held_lock_means_alive_whatever_the_record_says",
    ),
    Mutant(
        "the boot id is ignored",
        7,
        "process/liveness.py",
        (
            (
                '    if owner.boot_id != here["boot_id"]:\n',
                "    if False:\n",
            ),
        ),
        "tests/process/test_liveness.py::"
        "test_on_a_network_file_system_what_ran_elsewhere_is_unknown[changes0-rebooted since]",
    ),
    Mutant(
        "the start token is ignored",
        7,
        "process/kernel.py",
        (
            (
                "        return one == other\n",
                "        return True\n",
            ),
        ),
        "tests/process/test_liveness.py::test_a_pid_that_was_reused_does_not_keep_a_session_alive",
    ),
    Mutant(
        "a process is judged by create_time()",
        7,
        "process/kernel.py",
        (
            (
                'return file.read().rpartition(b")")[2].split()[19].decode("ascii")',
                'return str(__import__("psutil").Process(pid).create_time())',
            ),
        ),
        "tests/process/test_identity.py::test_the_start_token_is_the_kernels",
    ),
    Mutant(
        "a zombie counts as alive",
        7,
        "process/kernel.py",
        (
            (
                'if letter not in (b"Z", b"X", b"x"):',
                "if letter:",
            ),
        ),
        "tests/session/test_processes.py::test_a_zombie_is_dead_and_swept",
    ),
    Mutant(
        "what cannot be known counts as dead",
        7,
        "process/liveness.py",
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
        "process/liveness.py",
        (
            (
                'return Liveness(Verdict.UNKNOWN, f"{elsewhere}, and its',
                'return Liveness(Verdict.DEAD, f"{elsewhere}, and its',
            ),
        ),
        "tests/process/test_liveness.py::"
        "test_on_a_network_file_system_what_ran_elsewhere_is_unknown[changes1-on another host]",
    ),
    Mutant(
        "the sweep does not look again under the claim",
        7,
        "operations/recovery.py",
        (
            (
                "        if state.status is not SessionStatus.ACTIVE:\n            return\n"
                "        found = liveness.judge",
                "        found = liveness.judge",
            ),
        ),
        "tests/mutants/test_gaps.py::"
        "test_a_session_that_ended_between_scan_and_claim_is_not_marked",
    ),
    Mutant(
        "a paused session keeps its owner",
        7,
        "session/stamp.py",
        (
            (
                "holder = owner if status is SessionStatus.ACTIVE else None",
                "holder = owner",
            ),
        ),
        FILES + "test_only_a_running_session_names_an_owner",
    ),
    Mutant(
        "a look that failed counts as gone",
        7,
        "process/kernel.py",
        (
            (
                'return ProcessLook("failed", error.strerror',
                'return ProcessLook("gone", error.strerror',
            ),
        ),
        "tests/process/test_kernel.py::test_a_look_that_fails_is_told_with_its_reason[EMFILE]",
    ),
    Mutant(
        "a free lock of a file system in a process counts as proof",
        7,
        "durable/mounts.py",
        (("return kind in _ONE_KERNEL.split()", "return kind != UNKNOWN"),),
        "tests/storage/files/test_lock_place.py::"
        "test_a_holder_in_another_pid_namespace_is_unknown_through_such_a_file_system",
    ),
    Mutant(
        "the kind of file system that the holder saw is not compared",
        7,
        "storage/files/lock_place.py",
        ((" and owner.file_system in (None, kind)", ""),),
        "tests/storage/files/test_lock_place.py::"
        "test_an_overlay_and_its_upper_directory_do_not_see_each_others_locks[upper]",
    ),
    Mutant(
        "a copy is told by its path alone",
        7,
        "storage/files/lock_place.py",
        (
            (
                "if owner.root == self._root_name() or owner.root_id == here:",
                "if owner.root == self._root_name():",
            ),
        ),
        "tests/storage/files/test_lock_place.py::test_a_store_that_was_renamed_is_no_copy",
    ),
    Mutant(
        "a boot id that was not read is kept",
        7,
        "process/identity.py",
        (("    if _is_complete(found):", "    if found:"),),
        "tests/process/test_kernel.py::test_what_was_not_found_out_is_asked_again",
    ),
)
