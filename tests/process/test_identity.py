"""The owner record of a claim names this process in terms that another one can check."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sessionstore import SessionOwner, SessionStore
from sessionstore.clock import utc_now
from sessionstore.process import identity
from tests.support.processes import Child, needs_linux, read_state


def test_the_owner_record_names_this_process(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        stored = read_state(tmp_path, "s1")
        assert stored["owner"]["pid"] == stored["pid"] == os.getpid()
        assert stored["owner"]["host"] == socket.gethostname()
        assert stored["owner"]["token"] == session.owner.token
        assert (tmp_path / "locks" / "s1.lock").read_text().find(session.owner.token or "-") > 0


@needs_linux("/proc")
def test_the_start_token_is_the_kernels(tmp_path: Path) -> None:
    with Child("identify") as child:
        told = SessionOwner.model_validate(child.hear()["owner"])
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        assert told.start_token == fields[19]
        assert told.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_each_record_has_a_token_of_its_own_and_a_process_knows_those_it_holds() -> None:
    one, other = identity.new_owner(utc_now()), identity.new_owner(utc_now())
    assert one.token != other.token
    assert one.token not in identity.held_tokens
    identity.hold(one)
    assert one.token in identity.held_tokens
    identity.let_go(other)
    assert one.token in identity.held_tokens
    identity.let_go(one)
    assert one.token not in identity.held_tokens


@needs_linux("forks")
def test_a_forked_child_is_another_process() -> None:
    mine = identity.this_process()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(theirs, str(identity.this_process()["pid"]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        assert int(pipe.read()) == child
    assert identity.this_process() == mine
