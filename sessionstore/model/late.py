"""Models of a listed session that are made when somebody asks for them.

An index keeps them as JSON, and a table shows none of them, so that most listings need no pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionstore.model.summary import SessionSummary


class Late:
    """What fills the fields of a summary that :func:`keep` left empty."""

    __slots__ = ("_kept",)

    if not TYPE_CHECKING:  # a type checker would take it as leave to ask for anything

        def __getattr__(self, name: str) -> Any:
            """Return the model that belongs into an empty field, and fill the field."""
            if name not in ("recovery", "owner"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            from sessionstore.model import state

            kind = state.SessionRecovery if name == "recovery" else state.SessionOwner
            model = kind.model_validate(self._kept[name])
            object.__setattr__(self, name, model)
            return model


def keep(summary: SessionSummary, models: dict[str, Any]) -> None:
    """Give a new summary its ``recovery`` and ``owner``, those that it has, as plain JSON."""
    object.__setattr__(summary, "_kept", models)
    for name in models:
        object.__delattr__(summary, name)
