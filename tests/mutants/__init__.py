"""The package broken on purpose, and the tests that have to notice."""
