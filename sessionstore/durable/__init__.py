"""How bytes reach a disk, and come back from it. Nothing here knows sessions."""
