"""Check and repair the files below the sessions: modes, left-overs, locks, the marker."""
