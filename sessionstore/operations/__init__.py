"""What people on call do with sessions: a module for each operation of the store."""
