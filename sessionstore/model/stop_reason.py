"""How the recorded reason begins for which a session stopped; a listing knows it by that."""

from __future__ import annotations

DIED = "the process that ran this session "
"""Its process died, or a person said so."""
STOPPED = "it was stopped by "
"""It was stopped, and its process lived."""
RETRY = "to be tried again"
"""A person handed it to the start-up loop."""
