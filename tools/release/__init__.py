"""Build what is released, and try it as a user would: ``make release-check``."""
