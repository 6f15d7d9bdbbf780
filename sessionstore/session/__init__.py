"""A claimed session: making, resuming, writing and ending it."""
