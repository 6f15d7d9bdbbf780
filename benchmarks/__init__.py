"""Measure what the design sets limits for: as medians and ratios within one run."""
