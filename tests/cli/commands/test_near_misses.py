"""What is typed in the place of a command: names of other tools, typos, ``help``, nothing."""

from __future__ import annotations

import re

import click
import pytest

from sessionstore.cli.app import app
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.commands.near_misses import NEAR_MISSES
from tests.support.cli import invoke, on_terminal, run

_TYPED = re.compile(r"sessionstore ([a-z]+)((?: [^;]*)?)(?:;|$)")


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("resume", "sessionstore retry ID"),
        ("rm", "sessionstore delete ID"),
        ("describe", "sessionstore show ID"),
        ("status", "sessionstore explain ID"),
        ("info", "sessionstore stats"),
        ("list", "sessionstore ls"),
        ("ps", "sessionstore ls"),
        ("kill", "sessionstore cancel ID"),
        ("logs", "sessionstore tail ID"),
        ("repair", "sessionstore fsck --repair"),
        ("check", "sessionstore fsck"),
        ("gc", "sessionstore prune --older-than 30d"),
        ("RM", "sessionstore delete ID"),
        ("descibe", "sessionstore show ID"),
    ],
)
def test_a_name_of_another_tool_is_answered_with_what_to_type(typed: str, instead: str) -> None:
    result = run(typed, "session_1", "--force")
    assert (result.returncode, result.stdout) == (2, "")
    said = result.stderr.splitlines()[-1]
    assert said.startswith(f"sessionstore: No such command '{typed}': ")
    assert instead in said


@pytest.mark.parametrize("word", NEAR_MISSES)
def test_what_is_to_be_typed_instead_exists(word: str) -> None:
    assert word not in COMMANDS
    advice = NEAR_MISSES[word]
    found = _TYPED.findall(advice)
    assert found or advice == "sessionstore --version"
    for name, rest in found:
        command = app.get_command(click.Context(app), name)
        assert command is not None, name
        known = {flag for param in command.params for flag in param.opts}
        assert known >= {part for part in rest.split() if part.startswith("-")}, rest


def test_an_id_without_a_command_is_answered_with_a_command_for_it() -> None:
    result = invoke(None, "session_20260125_17")
    assert result.exit_code == 2
    assert result.stderr.endswith(": sessionstore explain session_20260125_17\n")


def test_a_command_in_capitals_is_meant_in_small_letters() -> None:
    assert "No such command 'LS'. Did you mean ls?" in invoke(None, "LS").stderr


@pytest.mark.parametrize("name", ["ls", "import", "completion"])
def test_help_of_a_command_is_what_its_option_shows(name: str) -> None:
    asked = invoke(None, "help", name)
    assert (asked.exit_code, asked.stderr) == (0, "")
    assert asked.stdout == invoke(None, name, "--help").stdout


def test_help_alone_is_the_option_of_the_program() -> None:
    whole = invoke(None, "--help").stdout
    for args in (("help",), ("help", "help"), ("help", "--help"), ("help", "-h")):
        asked = invoke(None, *args)
        assert (asked.exit_code, asked.stdout, asked.stderr) == (0, whole, "")


def test_help_of_what_is_no_command_says_what_to_type() -> None:
    result = invoke(None, "help", "resume")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "sessionstore retry ID" in result.stderr


@pytest.mark.parametrize("args", [(), ("--root", "none"), ("-q",)])
def test_without_a_command_the_help_is_shown_and_it_is_wrong_usage(args: tuple[str, ...]) -> None:
    """As click has it since 8.2: a script that forgot the command must not go on."""
    result = run(*args)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == run("--help").stdout


def test_without_a_command_a_terminal_shows_the_help() -> None:
    shown = on_terminal(both=True).replace("\r\n", "\n")
    assert shown.startswith("Usage: sessionstore [OPTIONS] COMMAND [ARGS]...\n")
    assert "List sessions." in shown


@pytest.mark.parametrize(
    ("args", "nearest"),
    [(("ls", "--idel", "1m"), "--idle"), (("tail", "s", "--folow"), "--follow")],
)
def test_an_option_that_is_none_is_answered_with_the_nearest(
    args: tuple[str, ...], nearest: str
) -> None:
    result = invoke(None, *args)
    assert result.exit_code == 2
    assert nearest in result.stderr
