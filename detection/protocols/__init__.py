"""Whole evaluations: episodes, lists of shots, base classes; and their reports."""
