"""Session and checkpoint ids, and random names; an id that could leave the root is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from sessionstore.errors import InvalidSessionId

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
# Names that Windows gives to devices, with any extension and in any case.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in range(10)]
)
_UNSAFE_RUN = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_READABLE = 64
"""How many characters of the names :func:`id_for` shows."""
_STAMP = "%Y%m%d_%H%M%S"
_STAMPED = re.compile(r"\d{8}_\d{6}", re.ASCII)

LAST_SAVE = "last_save"
"""The type of the checkpoint that a stop keeps where the application has kept none."""


def random_hex(count: int) -> str:
    """Return ``count`` random bytes of the system as hexadecimal digits, two for each byte.

    ``secrets.token_hex`` returns the same. That module loads OpenSSL, which takes longer than all
    the other standard modules that a listing imports.
    """
    return os.urandom(count).hex()


def check_id(value: object, *, kind: str = "session id") -> str:
    """Return ``value`` if it is a safe id, else raise :class:`InvalidSessionId`."""
    if not isinstance(value, str):
        raise InvalidSessionId(value, f"must be text, not {type(value).__name__}", kind=kind)
    if not _SAFE.fullmatch(value):
        raise InvalidSessionId(
            value, "use 1 to 128 of A-Z a-z 0-9 . _ - and begin with a letter or digit", kind=kind
        )
    if value.endswith("."):
        raise InvalidSessionId(value, "must not end in a dot", kind=kind)
    if value.split(".", 1)[0].lower() in _DEVICES:
        raise InvalidSessionId(value, "is a device name on Windows: choose another", kind=kind)
    return value


def is_id(value: str) -> bool:
    """Return whether ``value`` is a safe id."""
    try:
        check_id(value)
    except InvalidSessionId:
        return False
    return True


def stamp_of(moment: datetime) -> str:
    """Return a time as it stands in an id, to the second."""
    return moment.astimezone(UTC).strftime(_STAMP)


def make_session_id(now: datetime) -> str:
    """Return ``session_YYYYMMDD_HHMMSS_{8 hex}``, the form of the original framework."""
    return f"session_{now.strftime(_STAMP)}_{random_hex(4)}"


def id_for(*names: str | int) -> str:
    """Return the session id of a job that ``names`` identify: the same id for the same names.

    It begins with what can be read of the names, and ends in 128 bits of a hash of them. Names are
    any text and integers; they are taken exactly: ``"1"`` and ``1`` differ, and so do ``("a",
    "bc")`` and ``("ab", "c")``, upper and lower case, and two ways to write an accented letter.
    The id is the same on every machine and in every version of this package.

    Args:
        names: what tells the job from all others, at least one.

    Raises:
        TypeError: there is no name, or one is neither text nor an integer.

    Examples:
        >>> from sessionstore import id_for
        >>> id_for("mail", "Anna@example.org", 7)
        'mail-Anna-example-org-7-7c2182717f6f091ee944b271db7bf5c0'
    """
    if not names:
        raise TypeError("id_for() needs at least one name")
    from hashlib import sha256  # it loads OpenSSL: listings do without

    digest = sha256()
    words: list[str] = []
    for name in names:
        if isinstance(name, str):
            kind, word = b"s", str.__str__(name)
            exact = word.encode("utf-8", "surrogatepass")
        elif isinstance(name, int) and not isinstance(name, bool):
            kind, exact = b"i", int.__format__(name, "x").encode()  # has no limit of digits
            word = int.__format__(name, "d") if len(exact) <= 16 else exact.decode()
        else:
            raise TypeError(f"a name must be text or an integer, not {type(name).__name__}")
        # The length in front keeps the border between two names.
        digest.update(b"%s%d:%s" % (kind, len(exact), exact))
        words.append(word[:_READABLE])
    readable = _squeeze("-".join(words), _READABLE).lstrip("-_")
    return "-".join(filter(None, [readable, digest.hexdigest()[:32]]))


class CheckpointName(NamedTuple):
    """What an id of :func:`make_checkpoint_id` tells without a look at the file."""

    checkpoint_type: str
    node: str | None
    revision: int


def make_checkpoint_id(checkpoint_type: str, node: str | None, revision: int, now: datetime) -> str:
    """Return a safe id, whatever the node is called, that no other checkpoint has.

    ``cp_node_complete.plan.r12.20261122_132325_1a2b3c4d``: the parts are joined by dots, which
    no part contains, so that :func:`parse_checkpoint_id` can take them apart again.
    """
    parts = [f"cp_{_squeeze(checkpoint_type, 32) or 'checkpoint'}"]
    if node and (name := _squeeze(node, 48)):
        parts.append(name)
    parts += [f"r{revision}", f"{now.strftime(_STAMP)}_{random_hex(4)}"]
    return ".".join(parts)


def parse_checkpoint_id(checkpoint_id: str) -> CheckpointName | None:
    """Return the parts of an id that :func:`make_checkpoint_id` made, else None."""
    parts = checkpoint_id.split(".")
    if len(parts) not in (3, 4) or not parts[0].startswith("cp_"):
        return None
    revision = parts[-2]
    if not (revision.startswith("r") and revision[1:].isascii() and revision[1:].isdigit()):
        return None
    node = parts[1] if len(parts) == 4 else None
    return CheckpointName(parts[0].removeprefix("cp_"), node, int(revision[1:]))


def is_last_save(checkpoint_id: str) -> bool:
    """Return whether a stop kept this checkpoint: the stored state is newer, or the same."""
    name = parse_checkpoint_id(checkpoint_id)
    return name is not None and name.checkpoint_type == LAST_SAVE


def checkpoint_ids_in_order(checkpoint_ids: Iterable[str]) -> list[str]:
    """Return the ids oldest first, as far as they tell.

    That is by revision, and within one revision by time. Those without a revision come first.
    """

    def age(checkpoint_id: str) -> tuple[int, str, str]:
        known = parse_checkpoint_id(checkpoint_id)
        stamps = _STAMPED.findall(checkpoint_id)
        return known.revision if known else -1, stamps[-1] if stamps else "", checkpoint_id

    return sorted(checkpoint_ids, key=age)


def _squeeze(text: str, length: int) -> str:
    return _UNSAFE_RUN.sub("-", text)[:length].strip("-")
