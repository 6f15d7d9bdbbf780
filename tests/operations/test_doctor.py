"""Whether a place is fit, tried on places that really are not; nothing stays behind."""

from __future__ import annotations

import builtins
import errno
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionstore import Diagnosis, SessionStore, diagnose
from sessionstore.durable import commit_order, directory, mounts, replace
from sessionstore.durable.commit_order import CommitOrder
from sessionstore.storage.files.doctor import session_trial, trials
from sessionstore.storage.files.doctor.environment import _more_descriptors
from sessionstore.storage.files.doctor.environment import diagnose as environment_diagnose
from tests.faults.support.images import Unavailable, memory, read_only
from tests.support.cli import HOSTILE, acting, environment, hashes, invoke, put, state
from tests.support.processes import DEADLINE, needs_linux, needs_root

CHECKS = [
    "directory", "permissions", "links", "format", "file system", "durable save", "writing",
    "flush", "exchange", "hard links", "locks", "sessions", "its clock", "database", "free space",
    "inodes", "clock", "descriptors",
]  # fmt: skip


def by_check(found: Sequence[Diagnosis]) -> dict[str, Diagnosis]:
    return {item.check: item for item in found}


def everything(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mode) for path in root.rglob("*"))


def test_a_fit_place_passes_every_test_and_keeps_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    result = invoke(tmp_path, "doctor", "-o", "json")
    assert result.exit_code == 0, result.stdout
    answer = json.loads(result.stdout)
    assert answer["schema"] == "sessionstore.diagnoses/1"
    assert [item["check"] for item in answer["diagnoses"]] == CHECKS
    assert not [item for item in answer["diagnoses"] if item["fitness"] == "fail"]
    assert everything(tmp_path) == []


def test_a_store_in_use_is_not_changed_and_its_sessions_stay_held(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("a-goal", session_id="held") as session:
        before, names = hashes(tmp_path), everything(tmp_path)
        assert not [item for item in store.diagnose() if item.fitness == "fail"]
        assert (hashes(tmp_path), everything(tmp_path)) == (before, names)
        assert store.liveness("held").is_alive
        session.complete()


def test_a_failure_is_exit_code_1_and_each_says_what_to_do(tmp_path: Path) -> None:
    result = invoke(tmp_path / "missing", "doctor")
    assert result.exit_code == 1
    assert "there is no" in result.stdout
    assert "mkdir -m 700" in result.stdout
    assert "1 failed" in result.stderr
    assert not (tmp_path / "missing").exists()


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (found,) = diagnose(tmp_path / "file")
    assert found.fitness == "fail"
    assert "is not a directory" in found.detail
    assert found.advice


def test_warnings_are_no_failure_and_are_counted(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    result = invoke(tmp_path, "doctor")
    assert result.exit_code == 0
    assert "the group can write" in result.stdout
    assert "warning" in result.stderr


def test_a_place_that_everybody_can_write_to_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    found = by_check(diagnose(tmp_path))["permissions"]
    assert found.fitness == "fail"
    assert "chmod o-w" in found.advice


@needs_root("to give a directory to another user")
def test_a_place_of_another_user_is_a_warning(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert by_check(diagnose(tmp_path))["permissions"].fitness == "warn"


@pytest.mark.parametrize(
    ("marker", "fitness", "said"),
    [
        ('{"format": 1}', "ok", "format 1"),
        ('{"format": 1, "foreign_writers": true}', "ok", "copies"),
        ('{"format": 99}', "fail", "upgrade"),
        ("{", "fail", "damaged"),
    ],
)
def test_the_format_is_told_and_one_that_is_not_known_fails(
    tmp_path: Path, marker: str, fitness: str, said: str
) -> None:
    (tmp_path / "sessionstore.json").write_text(marker)
    found = by_check(diagnose(tmp_path))["format"]
    assert found.fitness == fitness
    assert said in found.detail


def test_sessions_of_other_software_without_a_marker_are_recognised(tmp_path: Path) -> None:
    put(tmp_path, "one")
    assert "without sessionstore.json" in by_check(diagnose(tmp_path))["format"].detail


# --- places that are not fit ---------------------------------------------------------------------


@needs_linux("/sys takes no files of anybody")
def test_a_place_that_cannot_be_written_fails_and_the_rest_is_still_tried() -> None:
    found = by_check(diagnose("/sys/kernel"))
    assert found["writing"].fitness == "fail"
    assert "cannot be written" in found["writing"].detail or "nothing" in found["writing"].detail
    assert {"format", "file system", "clock", "descriptors"} <= set(found)
    assert "locks" not in found


@needs_root("to mount a file system read-only")
def test_a_read_only_file_system_fails_but_a_store_in_it_is_read() -> None:
    with ExitStack() as stack:
        try:
            path = stack.enter_context(memory(size="4m"))
            put(path, "one")
            stack.enter_context(read_only(path))
        except Unavailable as error:
            pytest.skip(str(error))
        found = by_check(diagnose(path))
        assert found["writing"].fitness == "fail"
        assert "Read-only" in found["writing"].detail
        assert invoke(path, "ls", "-o", "ids").stdout == "one\n"


@needs_root("to mount a file system in memory")
def test_memory_and_little_room_are_warned_of_and_none_fails() -> None:
    with ExitStack() as stack:
        try:
            path = stack.enter_context(memory(size="128m", nr_inodes=500))
            full = stack.enter_context(memory(size="1m", nr_inodes=50))
        except Unavailable as error:
            pytest.skip(str(error))
        found = by_check(diagnose(path))
        assert (found["file system"].fitness, found["file system"].detail) == ("warn", "tmpfs")
        assert (found["free space"].fitness, found["inodes"].fitness) == ("warn", "warn")
        assert everything(path) == []
        found = by_check(diagnose(full))
        assert (found["free space"].fitness, found["inodes"].fitness) == ("fail", "fail")


@needs_root("to mount a file system in memory")
def test_a_full_disk_is_reported_and_nothing_is_left_on_it() -> None:
    with ExitStack() as stack:
        try:
            path = stack.enter_context(memory(size="64k"))
        except Unavailable as error:
            pytest.skip(str(error))
        with pytest.raises(OSError, match="No space"), (path / "filler").open("wb") as file:
            file.write(b"\0" * (1 << 20))
        found = by_check(diagnose(path))
        assert found["flush"].fitness == "fail"
        assert "No space" in found["flush"].detail
        assert [entry.name for entry in path.iterdir()] == ["filler"]


@needs_linux("limits are given to one process")
def test_few_descriptors_are_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(tmp_path), "doctor", "-o", "json"],
        check=False, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {item["check"]: item for item in json.loads(done.stdout)["diagnoses"]}
    assert found["descriptors"]["fitness"] == "warn"
    assert "the hard limit is 64: ulimit -n cannot go above it" in found["descriptors"]["advice"]


@pytest.mark.parametrize(
    ("hard", "advice"),
    [
        (resource.RLIM_INFINITY, "raise it: ulimit -n 1024"),
        (4096, "raise it: ulimit -n 1024"),
        (200, "raise it: ulimit -n 200, which is the hard limit; root can raise that"),
    ],
)
def test_no_more_descriptors_are_advised_than_the_system_gives(hard: int, advice: str) -> None:
    assert _more_descriptors(64, hard, resource.RLIM_INFINITY).startswith(advice)


def test_a_clock_behind_the_sessions_is_a_warning(tmp_path: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    put(tmp_path, "ahead", state("ahead", timestamps={"started_at": "", "updated_at": ahead}))
    put(tmp_path, "torn", "{")
    found = by_check(diagnose(tmp_path))["clock"]
    assert found.fitness == "warn"
    assert ahead[:13] in found.detail


def test_a_clock_that_was_set_back_is_seen_in_the_times_of_files(tmp_path: Path) -> None:
    put(tmp_path, "one")
    found = environment_diagnose(str(tmp_path), lambda: datetime.now(UTC) - timedelta(days=2))
    assert by_check(found)["clock"].fitness == "warn"
    never = environment_diagnose(str(tmp_path), lambda: datetime(1970, 1, 1, tzinfo=UTC))
    assert "never set" in by_check(never)["clock"].detail


def test_without_an_exchange_or_links_it_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file system here lacks them: the one call that reaches the system is replaced."""

    def no_links(*_: object) -> None:
        raise OSError(next(iter(replace.NO_LINKS)), "not supported")

    monkeypatch.setattr(replace, "_rename_with_flags", lambda *_: False)
    monkeypatch.setattr(directory.Directory, "link", no_links)
    found = by_check(diagnose(tmp_path))
    assert found["exchange"].fitness == "warn"
    assert found["hard links"].fitness == "warn"
    assert found["locks"].fitness == "ok"


def test_directories_that_cannot_be_flushed_are_a_warning_and_a_failed_flush_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    for code, fitness in ((errno.EINVAL, "warn"), (errno.EIO, "fail")):

        def fsync(fd: int, code: int = code) -> None:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise OSError(code, os.strerror(code))
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        assert by_check(diagnose(tmp_path))["flush"].fitness == fitness
    monkeypatch.setattr(os, "fsync", real)
    assert by_check(diagnose(tmp_path))["flush"].fitness == "ok"


def test_links_with_numbers_of_their_own_are_a_warning_and_one_without_the_bytes_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(self: directory.Directory, name: str, target: directory.Directory, to: str) -> None:
        shutil.copy(os.path.join(self.path, name), os.path.join(target.path, to))

    def forget(self: directory.Directory, name: str, target: directory.Directory, to: str) -> None:
        Path(target.path, to).write_bytes(b"")

    monkeypatch.setattr(directory.Directory, "link", copy)
    assert by_check(diagnose(tmp_path))["hard links"].fitness == "warn"
    monkeypatch.setattr(directory.Directory, "link", forget)
    found = by_check(diagnose(tmp_path))
    assert (found["hard links"].fitness, found["sessions"].fitness) == ("fail", "fail")


@pytest.mark.parametrize(
    ("kind", "fitness"), [("fuse.gocryptfs", "fail"), ("fuse.encfs", "warn"), ("ext4", "ok")]
)
def test_a_kind_of_file_system_that_mixes_up_files_is_unfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fitness: str
) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _: kind)
    found = by_check(diagnose(tmp_path))["file system"]
    assert (found.fitness, found.detail.startswith("unfit")) == (fitness, fitness == "fail")


# --- a whole session ------------------------------------------------------------------------------


def test_numbers_that_change_are_a_warning_since_saves_cope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(file: str) -> bool:
        os.utime(file, (1_000_000, 1_000_000))
        return True

    monkeypatch.setattr(session_trial, "_forget", rounded)
    found = by_check(diagnose(tmp_path))["sessions"]
    assert found.fitness == "warn"
    assert "times change" in found.detail
    assert everything(tmp_path) == []


@pytest.mark.parametrize("place", ["state", "checkpoint"])
def test_a_place_that_gives_other_bytes_back_is_unfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def changed(file: str) -> bool:
        if place == "state":
            Path(file).write_bytes(b'{"revision": 0}')
        else:
            for kept in Path(file).parent.glob("checkpoints/kept-*"):
                kept.unlink()
                kept.write_bytes(b"{}")
        return True

    monkeypatch.setattr(session_trial, "_forget", changed)
    found = by_check(diagnose(tmp_path))["sessions"]
    assert found.fitness == "fail"
    assert "unfit" in found.detail
    assert everything(tmp_path) == []


@needs_root("may drop caches")
def test_caches_are_dropped_only_where_numbers_may_change_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = list[str]()
    real = builtins.open

    def watched(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file) == "/proc/sys/vm/drop_caches":
            dropped.append(str(file))
            raise PermissionError(errno.EACCES, "not here")
        return real(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: True)
    assert "not tried" not in by_check(diagnose(tmp_path))["sessions"].detail
    assert dropped == []
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: False)
    found = by_check(diagnose(tmp_path))["sessions"]
    assert (found.fitness, "was not tried" in found.detail) == ("ok", True)
    assert dropped


# --- locks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        # A file system whose locks are not seen elsewhere: the child looks at another file.
        (("lock.probe(path)", "lock.probe(path + 'x')"), "does not see a lock"),
        (("mine = lock.acquire(path,", "mine = lock.acquire(path + 'x',"), "is not seen as held"),
        (('print("taken"', 'print("refused"'), "cannot take a lock"),
        (("import json, sys\n", "import json, sys\nsys.exit()\n"), "not tried"),
    ],
)
def test_locks_that_do_not_work_across_processes_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: tuple[str, str], said: str
) -> None:
    assert lie[0] in trials._CHILD
    monkeypatch.setattr(trials, "_CHILD", trials._CHILD.replace(*lie))
    found = by_check(diagnose(tmp_path))["locks"]
    assert found.fitness == ("warn" if said == "not tried" else "fail")
    assert said in found.detail
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("executable", "frozen"),
    [
        ("", False),
        (None, False),
        ("/opt/agent/agent", False),
        ("/usr/bin/uwsgi", False),
        ("/opt/agent/run-python.sh", False),
        ("/opt/nowhere/python3", False),
        (sys.executable, True),
    ],
)
def test_no_copy_of_a_program_that_is_no_python_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str | None, frozen: bool
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("it was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(sys, "executable", executable)
    if frozen:
        monkeypatch.setattr(sys, "frozen", "macosx_app", raising=False)
    found = by_check(diagnose(tmp_path))["locks"]
    assert (found.fitness, "not tried" in found.detail) == ("warn", True)
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["python", "python3", "python3.13t", "Python.exe", "pythonw.exe", "pypy3.10", "graalpy"]
)
def test_a_python_by_any_name_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / name))
    assert trials._interpreter() == str(tmp_path / name)


def test_what_a_killed_trial_left_is_removed_by_one_an_hour_later(tmp_path: Path) -> None:
    for name, age in ((".doctor-old", 7200), (".doctor-new", 60)):
        left = tmp_path / name
        left.mkdir()
        (left / "one").touch()
        then = time.time() - age
        os.utime(left, (then, then))
    (tmp_path / "mine").mkdir()
    diagnose(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".doctor-new", "mine"]


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_a_hostile_path_is_shown_escaped(tmp_path: Path, form: str) -> None:
    root = tmp_path / HOSTILE.replace("\x00", "").replace("/", "")
    for _ in range(2):
        result = invoke(root, "doctor", "-o", form)
        assert not acting(result.stdout)
        assert not acting(result.stderr)
        root.mkdir(exist_ok=True)
    assert result.exit_code == 0


def test_a_place_needs_a_name() -> None:
    assert invoke(None, "doctor").exit_code == 2


def test_the_trial_directory_is_private(tmp_path: Path) -> None:
    with trials._scratch(str(tmp_path)) as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert everything(tmp_path) == []


def test_it_names_the_order_of_flushes_and_warns_of_a_mount_without_barriers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(order: CommitOrder) -> Diagnosis:
        monkeypatch.setattr(commit_order, "of", lambda _: order)
        return by_check(diagnose(tmp_path))["durable save"]

    found = told(CommitOrder(True, "ext4, data=ordered"))
    assert (found.fitness, found.detail) == ("ok", "one flush: ext4, data=ordered")
    found = told(CommitOrder(False, "ext4 without barriers", "mount it otherwise"))
    assert found.fitness == "warn"
    assert "may take what was flushed" in found.detail
    assert found.advice == "mount it otherwise"
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "two")
    assert "SESSIONSTORE_FLUSHES" in told(CommitOrder(True, "ext4, data=ordered")).detail
