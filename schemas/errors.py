"""The base of every error that a user is told: one sentence, and the exit status of the command that it ends."""

from __future__ import annotations

FAILED, WRONG_USAGE = 1, 2
"""Exit status of a command that has failed, and of one that was refused before any work."""


class ToldError(Exception):
    """An error whose message says all: which file, table or setting, what is wrong with it, and what to do.

    Attributes:
      exit_status: of the command, if nobody catches it.
    """

    exit_status = FAILED
