"""Where sessions are kept: the contract of a backend, and two backends."""
