"""What the host and a harness say to each other: all that other languages share, and nothing else.

`docs/harness-protocol.md` is this package in words.
"""
