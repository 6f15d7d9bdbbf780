"""Check a store for damage, and mend it."""
