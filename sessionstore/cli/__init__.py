"""The command ``sessionstore``: list and inspect sessions, recover what a crash left behind.

It needs click and rich, which the extra ``cli`` installs; without them it says so and exits with 2.
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
    if sys.stdout is None:  # started with a closed stdout: the output would be lost silently
        return _refuse("stdout is closed: there is nowhere to write to")
    # Imports make many objects, and all of them stay. Collecting garbage every 700 objects takes a
    # twentieth of a short command; with these thresholds a long command still collects.
    gc.set_threshold(100_000, 50, 100)
    try:
        # No plugin of pydantic is meant for this command, and looking for them takes a tenth of it.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
        if find_spec("rich") is None:  # found, not imported: --help does not need it
            return _refuse(_ADVICE, code=2)
        from sessionstore.cli.app import app

        return app.execute(sys.argv[1:])
    except KeyboardInterrupt:  # while importing: the application has its own
        return _refuse("interrupted", code=130)
    except ImportError as error:
        # A broken or blocked package raises without a name.
        if error.name is None or error.name.partition(".")[0] in _EXTRA:
            return _refuse(_ADVICE, code=2)
        raise


def _refuse(reason: str, code: int = 1) -> int:
    print(f"sessionstore: {reason}", file=sys.stderr)  # noqa: T201 - click may be what is missing
    return code
