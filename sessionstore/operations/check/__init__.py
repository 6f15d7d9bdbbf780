"""Check a store for damage, and repair it."""
