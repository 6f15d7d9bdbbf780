"""Who may use a store: its owner also after root was there, a group, and nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sessionstore import RetentionPolicy, SessionStore, StorageError, check_store, diagnose
from sessionstore.storage.report import FindingKind, Fitness
from tests.support.processes import needs_linux, needs_root, new_session, state_path
from tests.support.users import ALICE, BOB, TEAM, as_user, common_ground, place_of


@pytest.fixture
def ground() -> Iterator[Path]:
    with common_ground() as path:
        yield path


def owners(root: Path) -> set[tuple[int, int]]:
    found = set()
    for path in (root, *root.rglob("*")):
        with suppress(FileNotFoundError):  # the log of an index goes with the last connection
            status = path.lstat()
            found.add((status.st_uid, status.st_gid))
    return found


def modes(root: Path) -> set[str]:
    """Return the modes of all directories and files below a root."""
    return {
        f"{'d' if path.is_dir() else 'f'}{stat.S_IMODE(path.lstat().st_mode):04o}"
        for path in root.rglob("*")
    }


def use(root: Path) -> str:
    """Do what the owner of a store does, with all that is there and something new."""
    store = SessionStore(root)
    assert all(item.damaged is None for item in store.find().items)
    for item in store.find(resumable=True).items:
        with store.resume(item.session_id, again=True) as session:
            session.state.data_buffer["again"] = True
            session.checkpoint("again")
    with store.create("goal") as session:
        session.checkpoint("n")
        session.complete()
    store.find()
    store.prune(RetentionPolicy(keep_last=0), apply=True)
    report = check_store(root, repair=True)
    assert not report.left, report.left
    return "used"


def crash(root: Path) -> None:
    SessionStore(root).create("goal", session_id="j").checkpoint("n")
    os.kill(os.getpid(), signal.SIGKILL)


# --- root in a user's store ---------------------------------------------------------------------


def sweep(root: Path) -> None:
    assert [item.session_id for item in SessionStore(root).recover().swept] == ["j"]


def create(root: Path) -> None:
    with SessionStore(root).create("goal", session_id="roots") as session:
        session.checkpoint("n")
        session.complete()


def list_first(root: Path) -> None:
    assert [item.session_id for item in SessionStore(root).find().items] == ["j"]


def delete(root: Path) -> None:
    with SessionStore(root) as store:
        store.recover()
    with SessionStore(root) as store:
        store.delete("j")


def move_in(root: Path) -> None:
    with tempfile.TemporaryDirectory() as other:
        new_session(Path(other) / "s", "moved")
        (Path(other) / "s" / "sessions" / "moved" / "notes").mkdir()
        (Path(other) / "s" / "sessions" / "moved" / "notes" / "run.sh").touch(0o755)
        SessionStore(Path(other) / "s").export_sessions(f"{other}/all.tar.gz")
        assert SessionStore(root).import_sessions(f"{other}/all.tar.gz")
        assert os.stat(f"{other}/all.tar.gz").st_uid == 0


def quarantine(root: Path) -> None:
    (root / "sessions" / "j" / "state.json").write_bytes(b"{")
    os.chown(root / "sessions" / "j" / "state.json", ALICE, ALICE)
    assert not check_store(root, repair=True).has_damage
    assert (root / "quarantine").is_dir()


def begin(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir(0o700)
    os.chown(root, ALICE, ALICE)
    create(root)


@needs_root("acts as root and as another user")
@pytest.mark.parametrize(
    "act",
    [sweep, create, list_first, delete, move_in, quarantine, begin],
    ids=lambda act: act.__name__,
)
def test_what_root_makes_in_a_users_store_belongs_to_the_user(
    ground: Path, act: Callable[[Path], None]
) -> None:
    root = place_of(ground, ALICE, ALICE, 0o700)
    as_user(ALICE, lambda: crash(root))
    act(root)
    assert owners(root) == {(ALICE, ALICE)}
    assert modes(root) <= {"d0700", "f0600", "f0700"}
    assert as_user(ALICE, lambda: use(root)) == "used"
    assert owners(root) == {(ALICE, ALICE)}


@needs_root("acts as root and as another user")
def test_the_index_that_root_makes_serves_the_user(ground: Path) -> None:
    root = place_of(ground, ALICE, ALICE, 0o700)
    as_user(ALICE, lambda: crash(root))
    store = SessionStore(root)  # its connection stays open: the log beside the index, too
    store.find()
    (index,) = root.glob("index-*")
    assert {path.name for path in index.iterdir()} >= {"rows.sqlite", "rows.sqlite-wal"}
    assert owners(index) == {(ALICE, ALICE)}
    assert as_user(ALICE, lambda: use(root)) == "used"
    assert list(root.glob("index-*")) == [index]


@needs_root("acts as root")
def test_where_root_may_not_give_files_away_nothing_is_written(ground: Path) -> None:
    root = place_of(ground, ALICE, ALICE, 0o777)
    root.chmod(0o755)
    script = (
        "import sys; from sessionstore import SessionStore\n"
        "try: SessionStore(sys.argv[1]).create('goal')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    python = Path(sys.executable)
    command = ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", str(python), "-c", script]
    told = subprocess.run([*command, str(root)], capture_output=True, text=True, check=True).stdout
    assert told.startswith("StorageError")
    assert f"root cannot give it to uid {ALICE}" in told
    assert "run this as that user" in told
    assert list(root.iterdir()) == []


@needs_root("acts as root and as another user")
@pytest.mark.parametrize("what", ["state.json", "checkpoints", "lock", "index", "all"])
def test_what_root_left_in_a_users_store_is_named_and_given_back(ground: Path, what: str) -> None:
    root = place_of(ground, ALICE, ALICE, 0o700)

    def prepare() -> None:
        with SessionStore(root).create("goal", session_id="j") as session:
            session.checkpoint("n")
        SessionStore(root).find()

    as_user(ALICE, prepare)
    (index,) = root.glob("index-*")
    wrong = {
        "state.json": [state_path(root, "j")],
        "checkpoints": [root / "sessions" / "j" / "checkpoints"],
        "lock": [root / "locks" / "j.lock"],
        "index": [index, index / "rows.sqlite"],
        "all": list(root.rglob("*")),
    }[what]
    for path in wrong:
        os.chown(path, 0, 0)

    def look() -> str:
        found = check_store(root, repair=True).findings
        return "\n".join(f"{item.kind} {item.detail} {item.repair}" for item in found)

    told = as_user(ALICE, look)
    if what == "all":
        assert "sessionstore.json belongs to root" in told
    else:
        assert "belongs to root" in told
    assert f"chown -R {ALICE}" in told
    if what != "checkpoints":
        told = as_user(ALICE, lambda: [item.advice for item in diagnose(root)])
        assert "chown -R" in told or what == "index"
    report = check_store(root, repair=True)
    assert {item.kind for item in report.findings} == {FindingKind.WRONG_OWNER}
    assert not report.left
    assert owners(root) == {(ALICE, ALICE)}
    assert as_user(ALICE, lambda: use(root)) == "used"


@needs_root("gives files to others")
def test_a_file_that_has_a_name_outside_the_store_is_given_to_nobody(ground: Path) -> None:
    root = place_of(ground, ALICE, ALICE, 0o700)
    as_user(ALICE, lambda: SessionStore(root).create("goal", session_id="j").complete())
    secret = ground / "shadow"
    secret.write_bytes(state_path(root, "j").read_bytes())
    secret.chmod(0o600)
    state_path(root, "j").unlink()
    os.link(secret, state_path(root, "j"))
    finding = next(
        item
        for item in check_store(root, repair=True).findings
        if item.kind is FindingKind.WRONG_OWNER
    )
    assert "another name elsewhere" in finding.repair
    assert secret.stat().st_uid == 0


# --- one user's store ---------------------------------------------------------------------------


@needs_root("acts as other users")
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o2755])
def test_another_user_is_told_whose_store_it_is(ground: Path, mode: int) -> None:
    root = place_of(ground, ALICE, TEAM, mode)
    as_user(ALICE, lambda: SessionStore(root).create("goal").complete(), gid=TEAM)
    for uid in (BOB, 1):  # a known user, too
        told = as_user(uid, lambda: SessionStore(root).create("goal"), gid=TEAM)
        assert told.startswith("StorageError: cannot open the store")
        assert f"private to user {ALICE} (mode {mode:04o})" in told
        assert "a directory of mode 2770, made before the first session" in told


# --- a group's store ----------------------------------------------------------------------------


@needs_root("acts as other users")
@pytest.mark.parametrize("umask", [0o007, 0o022, 0o077])
def test_a_store_that_was_made_for_a_group_works_for_each_of_its_users(
    ground: Path, umask: int, caplog: pytest.LogCaptureFixture
) -> None:
    root = place_of(ground, ALICE, TEAM, 0o2770)

    def work(name: str) -> str:
        os.umask(umask)
        store = SessionStore(root)
        for item in store.find(resumable=True).items:
            with store.resume(item.session_id, again=True) as session:
                session.checkpoint(name)
        with store.create("goal", session_id=name) as session:
            session.checkpoint("n")
            session.complete()
        store.find()
        if store.exists("deleted"):
            store.delete("deleted")
        else:
            store.create("goal", session_id="deleted").complete()
        return str(sorted(item.session_id for item in store.find().items))

    before = os.umask(0o022)
    os.umask(before)
    assert as_user(ALICE, lambda: work("a"), gid=TEAM) == "['a', 'deleted']"
    assert as_user(BOB, lambda: work("b"), gid=TEAM) == "['a', 'b']"
    assert as_user(ALICE, lambda: work("c"), gid=TEAM) == "['a', 'b', 'c', 'deleted']"
    create(root)
    assert as_user(BOB, lambda: work("d"), gid=TEAM) == "['a', 'b', 'c', 'd', 'roots']"
    assert modes(root) == {"d2770", "f0660"}
    assert {gid for _, gid in owners(root)} == {TEAM}
    assert caplog.records == []
    assert check_store(root).findings == ()
    assert as_user(BOB, lambda: SessionStore(root).recover(), gid=BOB).startswith("StorageError")


@needs_root("acts as other users")
def test_a_user_of_the_group_sweeps_what_another_one_left(ground: Path) -> None:
    root = place_of(ground, ALICE, TEAM, 0o2770)

    def watch() -> str:
        return f"{SessionStore(root).liveness('j').verdict} {SessionStore(root).recover().swept}"

    as_user(ALICE, lambda: crash(root), gid=TEAM)
    told = as_user(BOB, watch, gid=TEAM)
    assert told.startswith("dead")
    assert "'j'" in told
    assert SessionStore(root).load("j").status == "failed"


@needs_root("acts as other users")
@pytest.mark.parametrize("mode", [0o3770, 0o3775])
def test_a_groups_store_with_a_sticky_bit_is_refused(ground: Path, mode: int) -> None:
    root = place_of(ground, ALICE, TEAM, mode)
    with pytest.raises(StorageError, match="chmod -t"):
        SessionStore(root)
    (found,) = (item for item in diagnose(root) if item.check == "permissions")
    assert (found.fitness, found.advice) == (Fitness.FAIL, "chmod -t")


@needs_root("acts as other users")
def test_a_store_becomes_a_groups_and_one_users_again(ground: Path) -> None:
    root = place_of(ground, ALICE, TEAM, 0o700)

    def work(name: str) -> str:
        with SessionStore(root).create("goal", session_id=name) as session:
            session.checkpoint("n")
        return "done"

    assert as_user(ALICE, lambda: work("a"), gid=TEAM) == "done"
    root.chmod(0o2770)
    told = as_user(BOB, lambda: work("b"), gid=TEAM)
    assert "closed to the group: run `sessionstore fsck --repair` as" in told
    (first, *_) = check_store(root).findings
    assert "a group shares this store: directories should have 2770" in first.detail
    assert as_user(ALICE, lambda: check_store(root, repair=True).left, gid=TEAM) == "()"
    assert modes(root) == {"d2770", "f0660"}
    assert as_user(BOB, lambda: work("b"), gid=TEAM) == "done"
    root.chmod(0o700)
    assert {item.kind for item in check_store(root).findings} == {
        FindingKind.WRONG_MODE,
        FindingKind.WRONG_OWNER,
    }

    def save() -> str:
        with SessionStore(root).resume("a") as session:
            session.checkpoint("again")
        return work("c")

    assert as_user(ALICE, save, gid=TEAM) == "done"
    assert modes(root / "sessions" / "c") == {"d0700", "f0600"}
    assert stat.S_IMODE(state_path(root, "a").stat().st_mode) == 0o600
    assert not check_store(root, repair=True).left
    assert modes(root) == {"d0700", "f0600"}


# --- file systems without modes -----------------------------------------------------------------


@contextmanager
def without_modes(tmp_path: Path, permissions: str) -> Iterator[Path]:
    """A mount that shows the same mode for all, and where chmod has no effect."""
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    below, path = tmp_path / "below", tmp_path / "mounted"
    below.mkdir()
    path.mkdir()
    command = ["bindfs", "-p", permissions, "--chmod-ignore", str(below), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True, capture_output=True)


@needs_root("mounts a file system")
@pytest.mark.parametrize("there", [True, False], ids=["there", "new"])
@pytest.mark.parametrize("mode", ["0777", "0770"])
def test_where_chmod_has_no_effect_a_store_works_with_one_warning(
    tmp_path: Path, mode: str, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with without_modes(tmp_path, mode) as mounted:
        root = mounted / "root"
        if there:
            root.mkdir()
        with SessionStore(root) as store:
            with store.create("goal", session_id="s1") as session:
                session.checkpoint("n")
            with store.resume("s1") as session:
                session.complete()
            assert store.find().items[0].session_id == "s1"
        (warned,) = (item for item in caplog.records if "its mount" in item.getMessage().lower())
        assert "chmod has no effect" in warned.getMessage()
        assert "umask=077" in warned.getMessage()
        assert check_store(root).findings == ()
        (found,) = (item for item in diagnose(root) if item.check == "permissions")
        assert found.fitness is Fitness.WARN
        assert "its mount decides" in found.detail


@needs_linux("modes")
def test_where_chmod_works_everybody_is_still_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(StorageError, match="chmod o-w"):
        SessionStore(root)
    assert list(root.iterdir()) == []
