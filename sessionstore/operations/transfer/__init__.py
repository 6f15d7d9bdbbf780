"""Export sessions to archives, and import them."""
