"""The version of the code, as runs record it."""

__version__ = "0.1.0"

FORMAT = 4
"""Goes up when the same settings would give other bytes than before."""
