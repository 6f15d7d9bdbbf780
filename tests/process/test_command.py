"""Secrets in a command line do not reach an owner record, and the rest stays readable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.process import command

MASKED = [
    ("agent --api-key sk-live-1234567", "agent --api-key ***"),
    ("agent --api_key=zebra run", "agent --api_key=*** run"),
    ("agent --apiKey zebra -v", "agent --apiKey *** -v"),
    ("agent --db-password zebra", "agent --db-password ***"),
    ("agent --token -zebra", "agent --token ***"),
    ("agent --client-secret=zebra", "agent --client-secret=***"),
    ("agent --passwd zebra --passphrase zebra", "agent --passwd *** --passphrase ***"),
    ("agent --auth me:zebra --credentials zebra", "agent --auth *** --credentials ***"),
    ("env OPENAI_API_KEY=zebra DB_PASS=zebra agent", "env OPENAI_API_KEY=*** DB_PASS=*** agent"),
    ("agent model.api_key=zebra secrets.db=zebra", "agent model.api_key=*** secrets.db=***"),
    ("curl -u bob:zebra --user=bob:zebra", "curl -u bob:*** --user=bob:***"),
    ("agent postgres://bob:ze@bra@db:5432/x", "agent postgres://***@db:5432/x"),
    ("agent https://zebra@host/x redis://:zebra@cache", "agent https://***@host/x redis://***@cache"),
    ("agent https://host/x?token=zebra&page=2", "agent https://host/x?token=***&page=2"),
    ("agent /password:zebra", "agent /password:***"),
    ("agent ghp_0123456789abcdef AKIAIOSFODNN7EXAMPLE", "agent *** ***"),
    ("agent --slack xoxb-123456-zebra", "agent --slack ***"),
    ("agent x=eyJhbGciOiJI.eyJzdWIiOiIx.zebra", "agent x=***"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "shown"), MASKED)
def test_what_looks_like_a_secret_is_masked(line: str, shown: str) -> None:
    assert command.masked(line.split()) == shown
    assert "zebra" not in shown


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("Authorization: Bearer zebra.zebra", "Authorization: ***"),
        ("Cookie: a=zebra; b=zebra", "Cookie: ***"),
        ("X-Api-Key: zebra", "X-Api-Key: ***"),
        ('{"password": "zebra zebra", "user": "bob"}', '{"password": ***, "user": "bob"}'),
        ("import agent; token = 'zebra'; agent.run()", "import agent; token = ***; agent.run()"),
        ("send it with Bearer zebra", "send it with Bearer ***"),
    ],
)
def test_a_secret_inside_of_a_word_is_masked(word: str, shown: str) -> None:
    assert command.masked(["agent", word]) == f"agent {shown}"


@pytest.mark.parametrize(
    "line",
    [
        "python -m agent --max-tokens 4096 --tokenizer gpt2 --author Bob",
        "agent --key-file /etc/key.pem --token-url host/x --password-stdin",
        "agent --no-auth run --port 8080 -p 8080 -v",
        "agent --foreign-key id --sort-key name --keyboard de",
        "agent --path=/tmp/a:b C:\\x https://host:80/a@b?page=2",
    ],
)
def test_other_words_stay_readable(line: str) -> None:
    assert command.masked(line.split()) == line


def test_no_file_of_a_store_has_the_secret_that_its_process_was_started_with(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys\n"
        "from sessionstore import SessionStore\n"
        "session = SessionStore(sys.argv[1]).create('goal', session_id='s1')\n"
        "session.checkpoint('node')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    program, root = tmp_path / "agent.py", tmp_path / "store"
    program.write_text(code)
    arguments = ["--refresh-token", "zebra", "--dsn=https://zebra@errors.example/1", "--depth", "3"]
    subprocess.run([sys.executable, program.name, root.name, *arguments], cwd=tmp_path, check=False)
    store = SessionStore(root)
    owner = store.load("s1").owner
    assert owner is not None
    assert owner.command is not None
    assert owner.command.endswith("--refresh-token *** --dsn=*** --depth 3")
    store.recover()
    store.resume("s1").complete()
    store.find()
    files = [Path(where, name) for where, _, names in os.walk(root) for name in names]
    assert len(files) > 4
    assert [file for file in files if b"zebra" in file.read_bytes()] == []
