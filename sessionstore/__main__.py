"""``python -m sessionstore`` is the command ``sessionstore``."""

from __future__ import annotations

import sys

from sessionstore.cli import main

if __name__ == "__main__":
    sys.exit(main())
