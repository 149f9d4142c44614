"""Comparisons that the project ships; run from the repository's root, not installed."""
