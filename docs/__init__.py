"""The documentation, and what makes those pages of it that are made from the code."""
