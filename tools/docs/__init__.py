"""What makes those pages of the docs that come from the code."""
