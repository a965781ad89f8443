"""The version of the code, as runs record it."""

__version__ = "0.1.0"
