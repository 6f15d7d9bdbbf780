"""Where sessions are kept: the contract, and what fulfils it."""
