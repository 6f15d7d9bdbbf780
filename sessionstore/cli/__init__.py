"""The command ``sessionstore``: list sessions, look into one, recover what a crash left behind.

It needs click and rich, which only the extra ``cli`` installs; without them it says so.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec

_EXTRA = ("click", "rich")
_ADVICE = "the command line needs click and rich: pip install 'sessionstore[cli]'"


def main() -> int:
    """Run the command line on ``sys.argv``; return the exit code."""
    if sys.stdout is None:  # started with a closed stdout: the output would be lost in silence
        return _refuse("stdout is closed: there is nowhere to write to")
    # Most of a command is importing, which makes very many objects that all stay: looking through
    # them for garbage every 700 objects is a twentieth of it. What goes on for long still collects.
    gc.set_threshold(100_000, 50, 100)
    try:
        # Nobody's pydantic plugin is meant for this; looking for them takes a tenth of a command.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
        if find_spec("rich") is None:  # asked, not imported: --help does without it
            return _refuse(_ADVICE)
        from sessionstore.cli.app import app

        return app.execute(sys.argv[1:])
    except KeyboardInterrupt:  # while importing: the application has its own
        return _refuse("interrupted", code=130)
    except ImportError as error:
        # A broken or blocked package raises without a name.
        if error.name is None or error.name.partition(".")[0] in _EXTRA:
            return _refuse(_ADVICE)
        raise


def _refuse(reason: str, code: int = 1) -> int:
    print(f"sessionstore: {reason}", file=sys.stderr)  # noqa: T201 - click may be what is missing
    return code
