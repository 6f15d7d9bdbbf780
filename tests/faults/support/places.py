"""Places to put a store in: file systems of every kind, and processes that see little of others.

Each is made for one block, and nothing of it is left when the block ends, however it ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.support.identity import CONTAINER, HIDDEN
from tests.faults.support.images import Unavailable, image, memory
from tests.support.processes import DEADLINE

_PASSWORD = "not-a-secret"  # of a directory that lives for seconds


@dataclass(frozen=True)
class Place:
    """Where a store is put, and how its processes are started."""

    root: Path
    other: Path | None = None
    """The same store through a second mount."""
    wrapper: Sequence[str] = ()
    """What starts each process, such as ``unshare``."""
    nobody: bool = False
    """Whether who looks at a holder is another user, with no rights."""


# --- file systems -------------------------------------------------------------------------------


@contextmanager
def on_image(kind: str) -> Iterator[Place]:
    with image(kind) as made:
        yield Place(made.path / "store")


@contextmanager
def on_tmpfs() -> Iterator[Place]:
    with memory(size="64m") as path:
        yield Place(path / "store")


@contextmanager
def on_overlay(*, upper: bool = False) -> Iterator[Place]:
    """An overlay; with ``upper``, seen a second time through its upper directory."""
    with memory(size="64m") as base, ExitStack() as stack:
        for name in ("lower", "upper", "work", "merged"):
            (base / name).mkdir()
        layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        stack.enter_context(
            mounted(base / "merged", ["mount", "-t", "overlay", "-o", layers, "overlay"])
        )
        yield Place(base / "merged" / "store", base / "upper" / "store" if upper else None)


@contextmanager
def on_bindfs() -> Iterator[Place]:
    """One directory through two mounts of bindfs, whose kernels' locks do not meet."""
    with directories("real", "one", "two") as (real, one, two), ExitStack() as stack:
        for path in (one, two):
            stack.enter_context(served(path, ["bindfs", "-f", str(real), str(path)]))
        yield Place(one / "store", two / "store")


@contextmanager
def on_unionfs() -> Iterator[Place]:
    with directories("upper", "lower", "merged") as (upper, lower, merged):
        command = ["unionfs", "-f", "-o", "cow", f"{upper}=RW:{lower}=RO", str(merged)]
        with served(merged, command):
            yield Place(merged / "store")


@contextmanager
def on_gocryptfs() -> Iterator[Place]:
    with directories("cipher", "clear") as (cipher, clear):
        password = ["-extpass", f"echo {_PASSWORD}"]
        run("gocryptfs", "-q", "-init", "-scryptn", "10", *password, str(cipher))
        command = ["gocryptfs", "-q", "-fg", *password, str(cipher), str(clear)]
        with served(clear, command):
            yield Place(clear / "store")


@contextmanager
def on_encfs() -> Iterator[Place]:
    with directories("cipher", "clear") as (cipher, clear):
        password = f"--extpass=echo {_PASSWORD}"
        with served(clear, ["encfs", "-f", "--standard", password, str(cipher), str(clear)]):
            yield Place(clear / "store")


@contextmanager
def on_sshfs() -> Iterator[Place]:
    """A directory through sshfs, served by an sshd with a key that nobody else has."""
    with directories("far", "near", "keys") as (far, near, keys), ExitStack() as stack:
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
        port = free_port()
        (keys / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nPidFile none\n"
            f"AuthorizedKeysFile {keys}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
            "UsePAM no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        if not os.path.isdir("/run/sshd"):  # where it drops its rights to
            os.mkdir("/run/sshd", 0o755)
            stack.callback(os.rmdir, "/run/sshd")
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if sshd is None:
            raise Unavailable("sshd is not installed")
        stack.enter_context(running([sshd, "-D", "-q", "-f", str(keys / "config")]))
        wait(lambda: answers(port), "sshd")
        options = (
            f"IdentityFile={keys}/user,UserKnownHostsFile={keys}/known,"
            "StrictHostKeyChecking=no,GlobalKnownHostsFile=/dev/null"
        )
        command = ["sshfs", "-f", "-F", "/dev/null", "-p", str(port), "-o", options,
                   f"root@127.0.0.1:{far}", str(near)]  # fmt: skip
        stack.enter_context(served(near, command))
        yield Place(near / "store")


@contextmanager
def on_plain(wrapper: Sequence[str] = (), *, nobody: bool = False) -> Iterator[Place]:
    """A tmpfs, with processes that are started by ``wrapper``."""
    with memory(size="64m") as path:
        yield Place(path / "store", wrapper=wrapper, nobody=nobody)


# --- what a process sees ------------------------------------------------------------------------


def over_proc(options: str) -> list[str]:
    """Return what starts a process under another /proc."""
    return ["unshare", "--mount", "sh", "-c", f'mount {options} /proc && exec "$@"', "sh"]


@contextmanager
def on_hidden() -> Iterator[Place]:
    """A store that every user may use, and another user who sees none of root's processes."""
    with memory(size="64m") as path:
        (path / "store").mkdir(0o700)
        wrapper = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", str(path / "store")]
        yield Place(path / "store", Path("/mnt"), wrapper, nobody=True)


@contextmanager
def without_sqlite() -> Iterator[Place]:
    """A Python that was built without SQLite: its module cannot be imported."""
    with directories("modules") as (modules,):
        (modules / "_sqlite3.py").write_text("raise ModuleNotFoundError('without SQLite')\n")
        with on_plain(["env", f"PYTHONPATH={modules}"]) as place:
            yield place


PLACES: dict[str, Callable[[], AbstractContextManager[Place]]] = {
    "ext4": lambda: on_image("ext4"),
    "XFS": lambda: on_image("xfs"),
    "btrfs": lambda: on_image("btrfs"),
    "tmpfs": on_tmpfs,
    "overlay": on_overlay,
    "overlay and its upper directory": lambda: on_overlay(upper=True),
    "bindfs, twice over one directory": on_bindfs,
    "unionfs-fuse": on_unionfs,
    "sshfs": on_sshfs,
    "encfs": on_encfs,
    "/proc with `hidepid=2`, seen by another user": on_hidden,
    "/proc with `subset=pid`": lambda: on_plain(over_proc("-t proc -o subset=pid proc")),
    "no /proc (tmpfs over it)": lambda: on_plain(over_proc("-t tmpfs tmpfs")),
    "each process in a PID namespace of its own": lambda: on_plain(CONTAINER),
    "Python without `sqlite3`": without_sqlite,
}


# --- making and removing ------------------------------------------------------------------------


def run(*command: str) -> None:
    """Run a tool to its end."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not installed")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"{command[0]}: {(done.stderr or done.stdout).strip()}")


@contextmanager
def directories(*names: str) -> Iterator[list[Path]]:
    """Make new directories beside each other, and remove them with what is in them."""
    base = Path(tempfile.mkdtemp(prefix="sessionstore-place-"))
    try:
        for name in names:
            (base / name).mkdir()
        yield [base / name for name in names]
    finally:
        if any(os.path.ismount(base / name) for name in names):
            raise RuntimeError(f"still mounted: {base}")
        shutil.rmtree(base)


@contextmanager
def mounted(path: Path, command: Sequence[str]) -> Iterator[None]:
    """Mount at ``path``, and unmount."""
    run(*command, str(path))
    try:
        yield
    finally:
        unmount(path)


def unmount(path: Path) -> None:
    """Unmount; where a process of a failed test still has a file open, the kernel waits for it."""
    if subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode:
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=True)


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground, and end it."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not installed")
    with tempfile.TemporaryFile() as said:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            yield daemon
        finally:
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@contextmanager
def served(path: Path, command: Sequence[str]) -> Iterator[None]:
    """Let a FUSE daemon serve ``path``; unmounted, it ends by itself."""
    if not os.path.exists("/dev/fuse"):
        raise Unavailable("there is no /dev/fuse")
    with running(command) as daemon, ExitStack() as stack:

        def is_served() -> bool:
            if daemon.poll() is not None:
                raise Unavailable(f"{command[0]} ended with {daemon.returncode}")
            return os.path.ismount(path)

        @stack.callback
        def stop() -> None:
            if os.path.ismount(path):
                unmount(path)

        wait(is_served, command[0])
        yield
        stop()
        daemon.wait(10)


def wait(holds: Callable[[], bool], what: str) -> None:
    """Wait for a daemon."""
    give_up = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError(what)
        time.sleep(0.01)


def free_port() -> int:
    """Return a port of this host that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def drop_caches() -> None:
    """Let the kernel forget what it read; not everywhere it may be asked to."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("2")
    except OSError:
        return


def traces() -> dict[str, set[str]]:
    """Return the mounts and loop devices of this machine."""
    return {
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "loop devices": {
            path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")
        },
    }
