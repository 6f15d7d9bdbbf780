"""Diagnose whether a place is fit for a store: its environment, and trials in it."""
