"""What a command prints: tables, JSON, progress, live screens."""
