"""What users call: SessionStore and its asynchronous twin."""
