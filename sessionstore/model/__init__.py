"""What a session is: its state, its ids, and what a listing tells of it. No I/O, no processes.

``StateT`` is the class of the states in a store. Store, session and writer are generic by it. It
stands here because a store is imported, and lists its sessions, without loading pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The default makes a plain SessionStore or Session one of SessionState. Before Python 3.13
    # only typing_extensions has defaults; they have no effect at run time.
    from typing_extensions import TypeVar

    from sessionstore.model.state import SessionState

    StateT = TypeVar("StateT", bound=SessionState, default=SessionState)
else:
    from typing import TypeVar

    StateT = TypeVar("StateT", bound="SessionState")
