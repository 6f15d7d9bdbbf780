"""How bytes reach a disk: directories, flushes, atomic replacement. No sessions here."""
