"""Whether a place is fit for a store: what the machine says, and what trials show."""
