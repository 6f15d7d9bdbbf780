"""The living are never taken for dead by a look that fails, or from a place that shows little.

Each case is one look of a process at the owner of a session that lives. With
``SESSIONSTORE_TALLY``, as in ``make durability``, there are some thousands of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from sessionstore.process import kernel
from tests.faults.support.identity import CONTAINER, NOBODY
from tests.faults.support.tally import tally
from tests.support.processes import (
    Child,
    left_active,
    needs_root,
    process_letter,
    read_state,
    until,
)

LOOKS = 400 if os.environ.get("SESSIONSTORE_TALLY") else 40
PROCS = {
    "subset=pid": "mount -t proc -o subset=pid proc /proc",
    "hidepid=2": "mount -t proc -o hidepid=2 proc /proc",
    "empty": "mount -t tmpfs none /proc",
    "not mounted": "umount -l /proc",
}


class Living:
    """A store of sessions whose processes live: with a lock, without one, without a record."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root, self.stack = root, stack
        self.names = ["held", "stopped", "unlocked", "bare"]
        self.holder = self.hold("held")
        stopped = self.hold("stopped")
        os.kill(stopped.pid, signal.SIGSTOP)
        until(lambda: process_letter(stopped.pid) == "T", "the process to stop")
        for name in ("unlocked", "bare"):
            child = stack.enter_context(Child("identify"))
            owner = child.hear()["owner"]
            left_active(root, name, owner=None if name == "bare" else owner, pid=owner["pid"])

    def hold(self, name: str, wrapper: Sequence[str] = ()) -> Child:
        child = self.stack.enter_context(Child("act", self.root, wrapper=wrapper))
        child.hear()
        child.ask("create", session_id=name)
        return child

    def seen(
        self, *conditions: str, root: Path | None = None, wrapper: Sequence[str] = (),
        names: Sequence[str] = (), looks: int = LOOKS,
    ) -> Counter[str]:  # fmt: skip
        """Return what a process sees that looks, having seen that nothing was changed."""
        names = names or self.names
        before = [read_state(self.root, name) for name in names]
        arguments = (root or self.root, " ".join(names), looks, *conditions)
        with Child("faults.support.looks.look", *arguments, wrapper=wrapper) as judge:
            seen = Counter(judge.hear())
        answers = seen.total() - seen["refused"]
        wrong = seen["dead"] + seen["swept"]
        tally("looks", promise=7, cases=answers, violations=wrong)
        assert answers >= looks
        assert wrong == 0
        assert [read_state(self.root, name) for name in names] == before
        return seen


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    with ExitStack() as stack:
        yield Living(tmp_path / "store", stack)


@needs_root("lets other processes hold sessions, as everything here")
def test_a_look_without_descriptors_takes_nobody_for_dead(living: Living) -> None:
    seen = living.seen("hungry", looks=10 * LOOKS)
    assert seen["refused"] + seen["unknown"] > 0
    assert seen["alive"] > 0


@needs_root("mounts another /proc")
@pytest.mark.parametrize("proc", PROCS)
def test_a_look_past_a_proc_that_shows_little_takes_nobody_for_dead(
    living: Living, proc: str
) -> None:
    wrapper = ["unshare", "--mount", "sh", "-c", f'{PROCS[proc]} && exec "$@"', "sh"]
    assert living.seen(wrapper=wrapper)["alive"] > 0
    assert living.seen("hungry", wrapper=wrapper)["alive"] > 0


@needs_root("gives up its rights, hides processes")
def test_a_look_of_a_user_who_may_not_see_the_process_takes_nobody_for_dead(
    living: Living,
) -> None:
    if not kernel.has_pidfs():  # then a free lock on a local file system is the proof
        living.names.remove("unlocked")
    for path in [living.root, *living.root.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    script = f'{PROCS["hidepid=2"]} && mount --bind "$0" /mnt && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", script, str(living.root)]
    seen = living.seen("nobody", root=Path("/mnt"), wrapper=wrapper)
    assert seen["unknown"] > 0  # of the bare one
    assert seen["alive"] > 0


@needs_root("mounts")
def test_a_look_through_another_mount_takes_nobody_for_dead(living: Living, tmp_path: Path) -> None:
    place = tmp_path / "seen"
    place.mkdir()
    subprocess.run(["bindfs", living.root, place], check=True)
    try:
        assert living.seen(root=place)["alive"] > 0
        living.seen("hungry", root=place)
        # A holder that no pid leads to: there is nothing to know of it.
        living.hold("contained", CONTAINER)
        seen = living.seen(root=place, names=["contained"])
        assert set(seen) <= {"unknown"}
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@needs_root("makes PID namespaces")
def test_a_look_from_another_pid_namespace_takes_nobody_for_dead(living: Living) -> None:
    living.hold("contained", CONTAINER)
    held = ["held", "stopped", "contained"]
    bare_pid_namespace = ["unshare", "--pid", "--fork", "--kill-child=KILL"]
    for wrapper in (CONTAINER, bare_pid_namespace):
        assert set(living.seen(wrapper=wrapper, names=held)) <= {"alive"}
        living.seen("hungry", wrapper=wrapper, names=held)
    living.seen("hungry", names=held)
    assert living.holder.ask("save", step=2) == {"revision": 2}
