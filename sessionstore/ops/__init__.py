"""What people and scripts do with the sessions of a store, an operation each."""
