"""Servers that load an application before they fork: a store of it works in each worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.processes import CHECKOUT, DEADLINE, needs_linux

APP = """
import asyncio, os
from sessionstore import AsyncSessionStore, SessionStore

store, awaited = SessionStore(os.environ["STORE"]), AsyncSessionStore(os.environ["STORE"])
store.create("boot").complete()
store.find()
asyncio.run(awaited.find())  # a thread is idle when the server forks

async def work():
    async with awaited.create("awaited") as session:
        await session.save()
        await session.complete()
    return len(await awaited.find(limit=None))

def application(environ, start_response):
    with store.create("plain", session_id=environ["PATH_INFO"].strip("/")) as session:
        session.checkpoint("node_complete")
        session.pause()
    store.resume(session.session_id).complete()
    seen = asyncio.run(work())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {seen} {store.count(goal_id='plain')}".encode()]
"""

GUNICORN = (
    "-m",
    "gunicorn",
    "--preload",
    "--workers",
    "2",
    "--bind",
    "unix:http",
    "app:application",
)
UWSGI = (
    "-c", "import pyuwsgi; pyuwsgi.run()", "--master", "--processes", "2", "--http-socket", "http",
    "--module", "app", "--need-app",
    "--enable-threads", "--worker-reload-mercy", "5",
)  # fmt: skip


class UnixConnection(HTTPConnection):
    """HTTP over a socket that has a path."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        # The path of a test can be too long for a socket; that of its directory's descriptor not.
        place = os.open(self._path.parent, os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{place}/{self._path.name}")
        finally:
            os.close(place)


def ask(path: Path, what: str) -> str:
    connection = UnixConnection(path)
    try:
        connection.request("GET", f"/{what}", headers={"Connection": "close"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


@needs_linux("both servers fork")
@pytest.mark.parametrize("server", [GUNICORN, UWSGI], ids=["gunicorn --preload", "uWSGI"])
def test_every_worker_creates_saves_resumes_and_lists(
    tmp_path: Path, server: Sequence[str]
) -> None:
    root = tmp_path / "store"
    (tmp_path / "app.py").write_text(APP)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *server],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "STORE": str(root), "PYTHONPATH": f"{CHECKOUT}:{tmp_path}"},
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE
        while not (tmp_path / "http").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        workers: set[str] = set()
        asked = 0
        while len(workers) < 2 or asked < 10:
            assert time.monotonic() < deadline, log.read_text()
            busy = UnixConnection(tmp_path / "http")
            try:
                if asked >= 10:  # one worker may take all: let it wait for a request of its own
                    busy.connect()
                pid, _, count = ask(tmp_path / "http", f"request-{asked}").split()
            except ConnectionError:  # it listens in a moment
                continue
            finally:
                busy.close()
            asked += 1
            assert int(count) == asked
            workers.add(pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert str(process.pid) not in workers
    with SessionStore(root) as store:
        assert store.count(status="completed") == 2 * asked + 1
