"""A small CARE trained on real digits; see README.md."""
