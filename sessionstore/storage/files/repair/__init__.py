"""Find and mend damage below the sessions: files, modes, left-overs, the marker."""
