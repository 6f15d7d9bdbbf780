"""StateT: the class of the states in a store, by which store, session and writer are generic.

It stands apart from the states so that a store can be imported, and listed, without pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # With a default, so that a plain SessionStore or Session is one of SessionState. Python
    # itself has that from 3.13 on; at run time the default has no effect.
    from typing_extensions import TypeVar

    from sessionstore.model.state import SessionState

    StateT = TypeVar("StateT", bound=SessionState, default=SessionState)
else:
    from typing import TypeVar

    StateT = TypeVar("StateT", bound="SessionState")
