"""Turn the cross-references of docstrings into links of the site, for mkdocstrings.

The docstrings say ``:meth:`~sessionstore.Session.save```, which editors and pydoc show readably.
Markdown has no such roles.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod|exc):`(~?)([\w.]+)`")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_RAISES = re.compile(r"^Raises:\n((?:    .*\n?)+)", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S)", re.MULTILINE)
_FACTORY = re.compile(r"[Ff]ield\(\s*default_factory=(\w+)")
_API = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
_SHOWN = set(re.findall(r"^::: sessionstore\.(\w+)$", _API, flags=re.MULTILINE))


class Roles(griffe.Extension):
    """Rewrites each docstring, and the default of each field, once it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            text = _RAISES.sub(_raises, inspect.cleandoc(obj.docstring.value))
            text = _ROLE.sub(lambda role: _link(role, obj), text)
            obj.docstring.value = _CODE.sub(r"`\1`", text)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Show ``[]`` for ``Field(default_factory=list)``, and nothing for what a call sets."""
        if "class-attribute" not in attr.labels:
            attr.value = None
        elif factory := _FACTORY.match(str(attr.value)):
            made = factory[1]
            attr.value = {"dict": "{}", "list": "[]"}.get(made, f"{made}()")


def _raises(section: re.Match[str]) -> str:
    entries = [" ".join(entry.split()) for entry in _ENTRY.split(textwrap.dedent(section[1]))]
    return "**Raises:**\n\n" + "".join(f"- {_error(entry)}\n" for entry in entries if entry)


def _error(entry: str) -> str:
    name, colon, reason = entry.partition(":")
    return (f"[`{name}`][sessionstore.{name}]" if name in _SHOWN else f"`{name}`") + colon + reason


def _link(role: re.Match[str], obj: griffe.Object) -> str:
    is_short, target = role[1] == "~", role[2]
    shown = target.rpartition(".")[2] if is_short else target
    owner = obj if obj.is_class else obj.parent
    if target in _SHOWN:
        target = f"sessionstore.{target}"
    elif owner is not None and target in owner.members:  # a method beside this one
        target = f"{owner.path}.{target}"
    return f"[`{shown}`][{target}]" if target.startswith("sessionstore.") else f"`{shown}`"
