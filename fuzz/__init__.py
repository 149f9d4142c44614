"""Hostile files through the real readers: `make fuzz`, or `python -m fuzz --help`."""
