"""Show the one-line twins of the awaited store as the methods that they are, for mkdocstrings.

mkdocstrings reads the source and runs none of it: ``load = awaited(SessionStore[StateT].load)`` is
an attribute to it. The page shows the signature of the method, its first sentence, and a link.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_TWIN = re.compile(r"awaited\(SessionStore\[\w+\]\.(\w+)")


class Twins(griffe.Extension):
    """Replaces each twin by a function once the whole package is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Replace the twins of ``AsyncSessionStore``."""
        if pkg.name != "sessionstore":
            return
        methods = pkg["store.store.SessionStore"].all_members
        awaited = pkg["store.aio.AsyncSessionStore"]
        for name, member in list(awaited.members.items()):
            if member.is_attribute and (found := _TWIN.match(str(member.value))):
                awaited.set_member(name, _twin(member, methods[found[1]]))


def _twin(attribute: griffe.Attribute, method: griffe.Function | griffe.Alias) -> griffe.Function:
    twin = griffe.Function(
        attribute.name,
        lineno=attribute.lineno,
        endlineno=attribute.endlineno,
        parameters=method.parameters,
        returns=method.returns,
    )
    twin.labels.add("async")
    if method.docstring is not None:
        summary = method.docstring.value.partition("\n\n")[0]
        link = f"[`SessionStore.{method.name}`][sessionstore.SessionStore.{method.name}]"
        twin.docstring = griffe.Docstring(f"{summary} See {link}.", parent=twin)
    return twin
