"""What nobody can guess: names and marks made of random bytes from the system.

The same bytes as from the module ``secrets``, which loads OpenSSL, and with that takes longer than
all other modules that a listing imports from the standard library.
"""

from __future__ import annotations

import os


def random_hex(count: int) -> str:
    """Return ``count`` random bytes as hexadecimal digits, two for each."""
    return os.urandom(count).hex()
