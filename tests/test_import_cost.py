"""What is not loaded before it is needed: most of the time of a short command is imports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import environment, run
from tests.support.processes import DEADLINE, needs_linux

PYDANTIC = ("pydantic", "pydantic_core", "sessionstore.model.state", "sessionstore.model.codec")
SLOW = (*PYDANTIC, "psutil", "filelock", "asyncio", "hashlib", "socket", "rich.console")


DIE = """
import os, signal, sys
from sessionstore import SessionStore
session = SessionStore(sys.argv[1]).create("left behind", session_id="swept")
session.checkpoint("node_complete")
os.kill(os.getpid(), signal.SIGKILL)
"""


def loaded(code: str, *args: str) -> list[str]:
    """Return which of the slow modules a program has loaded in the end."""
    code += f"\nimport sys; print([one for one in {SLOW!r} if one in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        check=True, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    found: list[str] = json.loads(done.stderr.splitlines()[-1].replace("'", '"'))
    return found


def listed(root: Path, *args: str) -> list[str]:
    """Return the same of ``sessionstore ls``, which finds something."""
    code = "from sessionstore.cli import main\nassert main() == 0"
    return loaded(code, "--root", str(root), "ls", *args)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store of sessions that nobody holds, one of them swept, with an index."""
    root = tmp_path / "store"
    with SessionStore(root) as store:
        with store.create("paused", session_id="paused") as session:
            session.pause("ask")
        with store.create("checkpoint before the end", session_id="ended") as session:
            session.checkpoint("node_complete", node="plan")
            session.complete()
        died = subprocess.run([sys.executable, "-c", DIE, root], timeout=DEADLINE, check=False)
        assert died.returncode == -signal.SIGKILL
        assert [one.session_id for one in store.recover().swept] == ["swept"]
        assert len(store.find()) == 3
    return root


@needs_linux("it tells of mounts without psutil")
@pytest.mark.parametrize(
    "args",
    [
        (),
        ("-o", "ids"),
        ("--interrupted",),
        ("--status", "paused", "-o", "json", "--limit", "1"),
        ("--damaged",),
        ("--sort", "started_at", "-n", "1"),
    ],
)
def test_a_listing_of_what_nobody_holds_loads_no_pydantic(
    root: Path, args: tuple[str, ...]
) -> None:
    assert listed(root, *args) == []


def test_a_listing_without_a_store_loads_no_pydantic(tmp_path: Path) -> None:
    code = "from sessionstore.cli import main\nassert main() == 3"
    assert loaded(code, "--root", str(tmp_path / "none"), "ls") == []


def test_importing_the_store_loads_no_pydantic_and_making_one_all_that_a_save_needs(
    tmp_path: Path,
) -> None:
    assert loaded("from sessionstore import SessionStore") == []
    make = "from sessionstore import SessionStore; import sys; SessionStore(sys.argv[1])"
    assert set(PYDANTIC) <= set(loaded(make, str(tmp_path)))


@pytest.mark.parametrize("place", ["sys.argv[1]", "MemoryBackend()"])
def test_what_a_store_needs_to_create_is_there_before_the_first_session(
    tmp_path: Path, place: str
) -> None:
    """A session may be created on an event loop, which must not wait for pydantic."""
    code = (
        "import sys, os\n"
        "from sessionstore import MemoryBackend, SessionStore\n"
        f"store = SessionStore({place})\n"
        "before = set(sys.modules)\n"
        "with store.create('goal') as session:\n"
        "    session.checkpoint('node_complete')\n"
        "    session.complete()\n"
        "late = [one for one in set(sys.modules) - before if one.startswith(('sess', 'pyd'))]\n"
        "assert not late, late\n"
    )
    assert "pydantic" in loaded(code, str(tmp_path / "store"))


def test_a_plain_listing_loads_no_checkpoint_and_one_that_asks_does(root: Path) -> None:
    (file,) = root.glob("sessions/ended/checkpoints/*.json")
    sound = json.loads(file.read_bytes())
    for content in (
        sound | {"session_id": "other"},
        sound | {"revision": "x"},
        sound | {"timestamps": {"started_at": ""}},
    ):
        file.write_text(json.dumps(content))
        done = run("--root", str(root), "ls", "-o", "json")
        items = {one["session_id"]: one for one in json.loads(done.stdout)["sessions"]}
        with SessionStore(root) as store:
            (item,) = store.find(status="completed", resumable=False)
        assert item.unresumable
        assert items["ended"]["is_resumable"]
        assert items["paused"]["is_resumable"]
        assert items["swept"]["recovery"]["count"] == 1
        ids = run("--root", str(root), "ls", "--resumable", "-o", "ids").stdout.split()
        assert "ended" not in ids
    file.unlink()
    done = run("--root", str(root), "ls", "-o", "json")
    items = {one["session_id"]: one for one in json.loads(done.stdout)["sessions"]}
    assert items["ended"]["unresumable"]
