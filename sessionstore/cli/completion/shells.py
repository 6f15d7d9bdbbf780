"""How bash, zsh and fish ask what a word may become, where click does not know their habits."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, ClassVar

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)


class Bash(BashComplete):
    """Bash takes ``--at=cp`` apart at the sign of equality."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one, put together again."""
        args, incomplete = super().get_completion_args()
        *whole, last = _joined([*args, incomplete])
        return whole, last


class Zsh(ZshComplete):
    """Zsh puts what it is told in the place of the whole word, but names files by itself."""

    source_template: ClassVar[str] = ZshComplete.source_template.replace(
        "_path_files", "compset -P '--*='; _path_files"
    )

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Return what the word may become."""
        option = _option_of(incomplete)
        return [
            CompletionItem(option + item.value, help=item.help) if item.type == "plain" else item
            for item in super().get_completions(args, incomplete)
        ]


class Fish(FishComplete):
    """Fish wants whole words, also where they are names of files, and may cut none at a comma."""

    source_template: ClassVar[str] = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Return what the word may become."""
        found = super().get_completions(args, incomplete)
        option = _option_of(incomplete)
        if not option:
            return found
        whole: list[CompletionItem[Any]] = []
        for item in found:
            is_plain = item.type == "plain"
            value = incomplete.removeprefix(option)
            names = [item.value] if is_plain else _files(value, item.type)
            whole += [CompletionItem(option + name) for name in names]
        return whole


def _option_of(word: str) -> str:
    """Return ``--at=`` of ``--at=cp``, and nothing of what is no such word."""
    option, equals, _ = word.partition("=")
    return option + equals if equals and option.startswith("--") else ""


def add_all() -> None:
    """Let click use these in the place of its own."""
    shells: tuple[type[ShellComplete], ...] = (Bash, Zsh, Fish)
    for shell in shells:
        add_completion_class(shell)


def _joined(words: list[str]) -> list[str]:
    """Return the words with ``--at``, ``=``, ``cp`` as one; an empty last one is a new word."""
    whole: list[str] = []
    is_open = False
    for word in words:
        if word == "=" and whole and whole[-1].startswith("--") and not is_open:
            whole[-1] += word
            is_open = True
        elif is_open and word:
            whole[-1] += word
            is_open = False
        else:
            whole.append(word)
            is_open = False
    return whole


def _files(beginning: str, kind: str) -> list[str]:
    """Return the names of files, or of directories alone, that begin so."""
    place, _, start = beginning.rpartition("/")
    before = beginning[: len(beginning) - len(start)]
    found: list[str] = []
    with suppress(OSError):
        for entry in os.scandir(os.path.expanduser(place or ("/" if before else "."))):
            if not entry.name.startswith(start) or not entry.name.isprintable():
                continue
            if entry.is_dir():
                found.append(f"{before}{entry.name}/")
            elif kind == "file":
                found.append(before + entry.name)
    return sorted(found)
