"""What a session is: its state, ids, summaries and queries. No I/O and no processes."""
