"""Turn the cross-references of docstrings into links of the site, for mkdocstrings.

The docstrings say ``:meth:`~sessionstore.Session.save```, which editors and pydoc show readably;
Markdown knows no such roles. Errors that share a line are a list, which no docstring style knows.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod|exc):`(~?)([\w.]+)`")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_RAISES = re.compile(r"^Raises:\n((?:    .*\n?)+)", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S)", re.MULTILINE)
_API = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
_SHOWN = set(re.findall(r"^::: ([\w.]+)$", _API, flags=re.MULTILINE))


class Roles(griffe.Extension):
    """Rewrites each docstring once it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            text = _RAISES.sub(_raises, inspect.cleandoc(obj.docstring.value))
            obj.docstring.value = _CODE.sub(r"`\1`", _ROLE.sub(_link, text))


def _raises(section: re.Match[str]) -> str:
    entries = [" ".join(entry.split()) for entry in _ENTRY.split(inspect.cleandoc(section[1]))]
    return "**Raises:**\n\n" + "".join(f"- {_error(entry)}\n" for entry in entries if entry)


def _error(entry: str) -> str:
    names, colon, reason = entry.rstrip(".").partition(": ")
    return ", ".join(map(_named, names.split(", "))) + colon + reason + "."


def _named(error: str) -> str:
    target = f"sessionstore.{error}"
    return f"[`{error}`][{target}]" if target in _SHOWN else f"`{error}`"


def _link(role: re.Match[str]) -> str:
    is_short, target = role[1] == "~", role[2]
    shown = target.rpartition(".")[2] if is_short else target
    # One without the package's name is said within its class: the reader is there already.
    return f"[`{shown}`][{target}]" if target.startswith("sessionstore.") else f"`{shown}`"
