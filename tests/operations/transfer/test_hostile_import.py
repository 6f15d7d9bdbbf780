"""An archive that anybody may have made: every trick is refused, and nothing comes of it."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import ArchiveRefused, SessionStore, StorageError
from tests.support.cli import HOSTILE, acting, invoke, state
from tests.support.forger import PLACE, STATE, Forger, sound
from tests.support.processes import leftovers, new_session, tree


@pytest.fixture
def store(tmp_path: Path) -> SessionStore[Any]:
    new_session(tmp_path / "root", "before")
    return SessionStore(tmp_path / "root")


@pytest.fixture(autouse=True)
def _nothing_changes(tmp_path: Path, store: SessionStore[Any]) -> Iterator[None]:
    """See that what was refused left nothing, in the store or anywhere around it."""
    before = tree(tmp_path)
    yield
    assert {name: data for name, data in tree(tmp_path).items() if name != "given"} == before
    assert leftovers(tmp_path) == []


def refused(store: SessionStore[Any], data: bytes, **options: Any) -> str:
    with pytest.raises(ArchiveRefused) as caught:
        store.import_sessions(io.BytesIO(data), **options)
    assert "nothing was imported" in str(caught.value)
    return caught.value.reason


def test_what_the_forger_makes_is_taken_when_it_tries_nothing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path.parent / f"{tmp_path.name}-other")
    report = store.import_sessions(io.BytesIO(sound().packed()))
    assert [item.session_id for item in report.imported] == ["s1"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "neither a file nor a directory"),
        (tarfile.BLKTYPE, "neither a file nor a directory"),
        (tarfile.FIFOTYPE, "neither a file nor a directory"),
        (tarfile.CONTTYPE, "neither a file nor a directory"),
    ],
)
def test_links_and_devices_are_refused(store: SessionStore[Any], kind: bytes, said: str) -> None:
    link = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    forged = sound().add("sessions/s1/file", type=kind, linkname=link, devmajor=1, devminor=3)
    assert said in refused(store, forged.packed())


def test_a_link_under_which_the_next_file_would_land_is_refused(store: SessionStore[Any]) -> None:
    forged = sound().add("sessions/s1/out", type=tarfile.SYMTYPE, linkname="/tmp", listed=False)
    forged.add("sessions/s1/out/file", b"x")
    assert "a link" in refused(store, forged.packed())


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/job",
        "//sessions/s1/file",
        "../outside",
        "sessions/../../outside",
        "sessions/s1/../../../outside",
        "sessions/s1/a/../../../b",
        "sessions/s1/./file",
        "./sessions/s1/file",
        "sessions//s1/file",
        "sessions/s1",
        "sessions",
        "file",
        "locks/s1.lock",
        "sessionstore.json",
        "sessions/.new-0123456789abcdef/state.json",
        "sessions/s1/.new-0123456789abcdef",
        "sessions/s1/checkpoints/.new-0123456789abcdef",
        "sessions/s1/journals/.new-0123456789abcdef",
        "sessions/s1/journals",
        "sessions/s1/journals/a b.jsonl",
        "sessions/s1/journals/con.jsonl",
        "sessions/s1/journals/.jsonl",
        "sessions/con/state.json",
        "sessions/s 1/state.json",
        "sessions/-s1/state.json",
        "sessions/s1./state.json",
        "sessions/" + "s" * 129 + "/state.json",
        "sessions/s1/" + "d/" * 300 + "file",
        "sessions/s1/" + "x" * 5000,
    ],
)
def test_names_that_lead_elsewhere_are_refused(store: SessionStore[Any], name: str) -> None:
    refused(store, sound().add(name, b"x").packed())
    refused(store, sound().add(name, b"x", listed=False).packed())


def test_names_in_the_manifest_lead_nowhere_either(
    tmp_path: Path, store: SessionStore[Any]
) -> None:
    (tmp_path / "given").mkdir()
    outside = tmp_path / "root" / "sessionstore.json"
    forged = sound()
    forged.list("s1", "../../../root/sessionstore.json", outside.read_bytes())
    place = tmp_path / "given" / "sessions" / "s1"
    place.mkdir(parents=True)
    (place / "state.json").write_bytes(STATE)
    (tmp_path / "given" / "manifest.json").write_bytes(forged.manifest())
    with pytest.raises(ArchiveRefused, match="could lead out"):
        store.import_sessions(tmp_path / "given")
    _remove(tmp_path / "given")


@pytest.mark.parametrize("links", ["file", "directory", "manifest"])
def test_links_in_a_directory_are_not_followed(
    tmp_path: Path, store: SessionStore[Any], links: str
) -> None:
    given, forged = tmp_path / "given", sound().add("sessions/s1/work/file", b"secret")
    elsewhere = given / "elsewhere"
    (elsewhere).mkdir(parents=True)
    (elsewhere / "file").write_bytes(b"secret")
    (elsewhere / "manifest.json").write_bytes(forged.manifest())
    session = given / "sessions" / "s1"
    session.mkdir(parents=True)
    (session / "state.json").write_bytes(STATE)
    if links == "directory":
        (session / "work").symlink_to(elsewhere)
    else:
        (session / "work").mkdir()
        if links == "file":
            (session / "work" / "file").symlink_to(elsewhere / "file")
        else:
            (session / "work" / "file").write_bytes(b"secret")
    if links == "manifest":
        (given / "manifest.json").symlink_to(elsewhere / "manifest.json")
    else:
        (given / "manifest.json").write_bytes(forged.manifest())
    with pytest.raises(ArchiveRefused, match="it is a link"):
        store.import_sessions(given)
    _remove(given)


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path)


# --- what does not fit together -----------------------------------------------------------------


def test_the_same_name_twice_is_refused(store: SessionStore[Any]) -> None:
    assert "twice" in refused(store, sound().add(PLACE, STATE, listed=False).packed())
    forged = sound().add("sessions/s1/a", b"x").add("sessions/s1/a", b"x")
    refused(store, forged.packed())


def test_a_name_for_a_file_and_a_directory_is_refused(store: SessionStore[Any]) -> None:
    forged = sound().add("sessions/s1/a", b"x").add("sessions/s1/a/b", b"x")
    assert "another member has this name" in refused(store, forged.packed())
    forged = sound().add("sessions/s1/a/b", b"x").add("sessions/s1/a", b"x")
    assert "another member has this name" in refused(store, forged.packed())
    forged = Forger().add(PLACE, type=tarfile.DIRTYPE, listed=False).add(PLACE + "/x", b"x")
    refused(store, forged.add(PLACE, STATE).packed())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.add("sessions/s1/more", b"x", listed=False), "not in the manifest"),
        (lambda f: f.list("s1", "less", b"x"), "is missing"),
        (lambda f: f.list("s2", "state.json", b"x"), "missing in the archive"),
        (lambda f: f.add("sessions/s2/state.json", STATE, listed=False), "state is not sound"),
        (lambda f: f.add("sessions/s1/d", type=tarfile.DIRTYPE, listed=False), "directories"),
        (lambda f: f.sessions["s1"]["directories"].append("d"), "directories"),
        (lambda f: f.sessions["s1"]["executable"].append("state.json"), "executable files"),
        (lambda f: f.sessions["s1"]["files"][0].update(sha256="0" * 64), "checksum"),
        (lambda f: f.sessions["s1"]["files"][0].update(size=3), "checksum"),
    ],
)
def test_what_does_not_fit_the_manifest_is_refused(
    store: SessionStore[Any], spoil: Callable[[Forger], object], said: str
) -> None:
    forged = sound()
    spoil(forged)
    assert said in refused(store, forged.packed())


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        json.dumps(state("another")).encode(),
        json.dumps({**state("s1"), "status": "running"}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_state_that_is_none_of_this_session_is_refused(
    store: SessionStore[Any], content: bytes
) -> None:
    assert "state is not sound" in refused(store, Forger().add(PLACE, content).packed())


def test_a_session_without_a_state_is_refused(store: SessionStore[Any]) -> None:
    refused(store, Forger().add("sessions/s1/file", b"x").packed())


@pytest.mark.parametrize(
    "manifest",
    [
        b"{",
        b"[]",
        b"null",
        b"[" * 200_000,
        b'{"schema": "sessionstore.export/2", "sessions": []}',
        b'{"schema": "sessionstore.export/1"}',
        b'{"schema": "sessionstore.export/1", "sessions": 3}',
        b'{"schema": "sessionstore.export/1", "sessions": [{"session_id": 3, "files": []}]}',
        b'{"schema": "sessionstore.export/1", "sessions": [{"session_id": "s1", "files": {}}]}',
        b"\xff\xfe",
        b"9" * 10_000,
    ],
)
def test_a_manifest_that_is_none_is_refused(store: SessionStore[Any], manifest: bytes) -> None:
    refused(store, sound().packed(manifest))


def test_nothing_comes_after_the_manifest(store: SessionStore[Any]) -> None:
    forged = sound()
    data = forged.manifest()
    forged.add("manifest.json", data).add("sessions/s1/late", b"x", listed=False)
    assert "after the manifest" in refused(store, forged.packed(b""))


# --- what is damaged ----------------------------------------------------------------------------


def test_an_archive_without_its_end_is_refused(store: SessionStore[Any]) -> None:
    assert "cut off" in refused(store, sound().packed(b""))


def test_an_archive_that_was_cut_off_anywhere_is_refused(store: SessionStore[Any]) -> None:
    whole = sound().add("sessions/s1/file", bytes(range(256)) * 20).packed()
    for length in range(0, len(whole), 23):
        refused(store, whole[:length])
    plain = sound().add("sessions/s1/file", bytes(range(256)) * 20).tar()
    end = plain.rindex(b"manifest.json")
    for length in range(0, end, 512):
        refused(store, plain[:length])


def test_any_changed_byte_of_a_file_is_noticed(store: SessionStore[Any]) -> None:
    plain = sound().add("sessions/s1/file", b"Z" * 2000).tar()
    at = plain.index(b"ZZZ")
    for offset in (0, 1, 1999):
        changed = bytearray(plain)
        changed[at + offset] ^= 1
        assert "checksum" in refused(store, bytes(changed))


def test_a_checksum_of_gzip_that_is_wrong_is_noticed(store: SessionStore[Any]) -> None:
    whole = bytearray(sound().packed())
    whole[-6] ^= 1
    assert "damaged" in refused(store, bytes(whole))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"not an archive, by no means" * 100,
        b"\0" * 10240,
        b"\x1f\x8b",
        gzip.compress(b""),
        gzip.compress(b"no tar" * 1000),
        lzma.compress(sound().tar()),
        sound().tar()[:-1024] + b"and more" * 1000,
        sound().tar() + b"and more",
        sound().packed() + b"and more",
        sound().packed() + sound().packed(),
    ],
    ids=lambda data: f"{len(data)} bytes",  # a compressed one holds the time
)
def test_what_is_no_archive_is_refused(store: SessionStore[Any], data: bytes) -> None:
    refused(store, data)


# --- what is too much ---------------------------------------------------------------------------


def test_more_than_was_allowed_is_refused_before_it_is_written(store: SessionStore[Any]) -> None:
    forged = sound().add("sessions/s1/big", b"\0" * 3_000_000)
    assert "unpacks to more than" in refused(store, forged.packed(), max_bytes=2_000_000)


def test_many_small_files_count_too(store: SessionStore[Any]) -> None:
    forged = sound()
    for number in range(300):
        forged.add(f"sessions/s1/f{number}")
    assert "unpacks to more than" in refused(store, forged.packed(), max_bytes=1_000_000)


def test_a_size_that_is_only_claimed_is_not_believed(store: SessionStore[Any]) -> None:
    entry = tarfile.TarInfo("sessions/s1/huge")
    entry.size = 1 << 42
    header = entry.tobuf(tarfile.GNU_FORMAT)
    plain = sound().tar(b"")
    start = plain.rstrip(b"\0")
    data = start + b"\0" * (-len(start) % 512) + header + b"x" * 1024
    assert "unpacks to more than" in refused(store, data)
    assert "cut off" in refused(store, data, max_bytes=1 << 50)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_gigabytes_is_not_read(store: SessionStore[Any], kind: bytes) -> None:
    entry = tarfile.TarInfo("././@PaxHeader")
    entry.type = kind
    entry.size = 1 << 32
    bomb = gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + b"\0" * (64 << 20))
    assert len(bomb) < 100_000
    assert "too large" in refused(store, bomb)


def test_headers_after_headers_come_to_an_end(store: SessionStore[Any]) -> None:
    entry = tarfile.TarInfo("././@PaxHeader")
    entry.type = b"x"
    record = b"14 path=aaaaa\n"
    entry.size = len(record)
    pair = entry.tobuf(tarfile.GNU_FORMAT) + record.ljust(512, b"\0")
    refused(store, gzip.compress(pair * 20_000))


def test_a_sparse_file_is_refused(store: SessionStore[Any]) -> None:
    old = sound().add("sessions/s1/hole", type=tarfile.GNUTYPE_SPARSE)
    refused(store, old.packed(format=tarfile.GNU_FORMAT))
    headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1", "GNU.sparse.name": "x"}
    new = sound().add("sessions/s1/hole", b"x", pax_headers=headers)
    refused(store, new.packed(format=tarfile.PAX_FORMAT))


def test_headers_that_lie_are_refused(store: SessionStore[Any]) -> None:
    for headers in ({"size": "-1"}, {"path": "../../out"}, {"linkpath": "/etc/passwd"}):
        forged = sound().add("sessions/s1/file", b"x", pax_headers=headers)
        refused(store, forged.packed(format=tarfile.PAX_FORMAT))


# --- what is told -------------------------------------------------------------------------------


def test_a_hostile_name_reaches_no_terminal(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(sound().add(f"sessions/s1/../{HOSTILE}".replace("\0", ""), b"x").packed())
    result = invoke(tmp_path / "root", "import", str(given))
    assert result.exit_code == 1
    assert "nothing was imported" in result.stderr
    assert acting(result.stdout) == acting(result.stderr) == set()
    given.unlink()


def test_a_source_that_is_not_there_is_told_as_such(
    tmp_path: Path, store: SessionStore[Any]
) -> None:
    with pytest.raises(StorageError) as caught:
        store.import_sessions(tmp_path / "missing")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert invoke(tmp_path / "root", "import", str(tmp_path / "missing")).exit_code == 3
