"""What ends a command, as a sentence and an exit status: the one place where errors become words for the user.

Errors of our own say what they have to (``schemas.errors.ToldError``). Those of the operating system, of PostgreSQL and
of Python get the file or the setting and what to do about it here. What nobody has foreseen is told with the place in
the code where it happened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from beam_pipeline.supervision import INTERRUPTED
from schemas.errors import FAILED, WRONG_USAGE, ToldError

OURS = ("beam_pipeline", "transforms", "runners", "schemas")

_REMEDIES = {
    errno.EACCES: "give user {user} the right to it, or choose another place",
    errno.EPERM: "give user {user} the right to it, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EDQUOT: "the quota of user {user} is used up there: make room, then run the same command again",
    errno.ENOSPC: "make room on that disk, then run the same command again",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "the machine has too many open files",
}


class Failure(NamedTuple):
    """How a command ends: what is said, and its exit status."""

    sentence: str
    status: int


@contextlib.contextmanager
def before_work() -> Iterator[None]:
    """What fails in the block has failed before any work: exit status 2, and a ``ValueError`` is told as it is."""
    try:
        yield
    except ToldError as error:
        error.exit_status = WRONG_USAGE
        raise
    except OSError as error:
        raise Refused(of(error).sentence) from error
    except ValueError as error:
        if not _says_all(error):
            raise
        raise Refused(str(error)) from error


class Refused(ToldError):
    """A command that can't be begun."""

    exit_status = WRONG_USAGE


def of(error: BaseException) -> Failure:
    """The sentence and the exit status for whatever has ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("stopped by Ctrl-C", INTERRUPTED)
    if isinstance(error, ToldError) or (_is_ours(error) and not isinstance(error, ValueError)):
        return Failure(str(error), getattr(error, "exit_status", FAILED))
    if isinstance(error, ValueError) and _says_all(error):
        return Failure(str(error), WRONG_USAGE)
    if isinstance(error, OSError):
        return Failure(of_system(error), FAILED)
    if isinstance(error, MemoryError):
        return Failure("out of memory: give the machine more, or the command fewer workers", FAILED)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    said = " ".join(str(error).split())[:500]
    return Failure(
        f"{name}{_place(error)}: {said or 'no more is known'}\n"
        "Nobody has foreseen this: please report it. --verbose shows the whole stack.",
        FAILED,
    )


def of_system(error: OSError) -> str:
    """An error of the operating system: the file, what is wrong, and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    number = error.errno or 0
    file = os.fspath(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    named = readable(file) if file else ""
    remedy = _REMEDIES.get(number, "").format(user=os.geteuid())
    return (f"{named}: {reason}" if named else f"{reason}{_place(error)}") + (f"; {remedy}" if remedy else "")


def readable(name: str | bytes) -> str:
    """A file's name as it can be printed: of one that isn't UTF-8, its bytes."""
    text = os.fsdecode(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        return repr(os.fsencode(name))
    return text


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in OURS


def _says_all(error: ValueError) -> bool:
    """Whether the message is for the user: ours are; those of libraries' own classes, such as pyarrow's, aren't."""
    return type(error) is ValueError or _is_ours(error)


def _place(error: BaseException) -> str:
    """Where it happened: the innermost line of our own code."""
    root = Path(__file__).parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(root) and file.relative_to(root).parts[0] in OURS:
            return f" at {file.relative_to(root)}:{frame.lineno}"
    return ""
