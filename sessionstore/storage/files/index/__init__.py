"""The derived index of a store of files. The only door to sqlite3."""
