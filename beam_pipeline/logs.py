"""Logging of the command: our own lines, workers' too, without Beam's chatter."""

from __future__ import annotations

import logging
import sys
import threading
import warnings

from rich.console import Console
from rich.logging import RichHandler

OWN = {"beam_pipeline": logging.INFO, "transforms": logging.WARNING, "runners": logging.INFO}
"""Our loggers, and from which level on the user is told: that shards come and go, the progress bar shows."""


def set_up(console: Console, verbose: bool = False) -> None:
    """Own messages, in colour on a terminal, else plain lines. ``verbose``: all of them and Beam's too, with stacks."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, log_time_format="%X")
        handler.setFormatter(logging.Formatter("%(message)s"))  # else basicConfig gives it one that repeats the level
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    for name, level in OWN.items():
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else level)
    if verbose:
        return
    # What fails is said once, by the command: Beam's stacks would stand before it. Some of it has no logger.
    handler.addFilter(_not_from_beam)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="apache_beam")
    threading.excepthook = _say_of_thread


def _say_of_thread(failure: threading.ExceptHookArgs) -> None:
    """Says nothing of Beam's threads whose worker or job server is gone: the command says what became of it."""
    if not failure.exc_type.__module__.startswith("grpc"):
        threading.__excepthook__(failure)


def _not_from_beam(record: logging.LogRecord) -> bool:
    return record.name != "root" or "/apache_beam/" not in record.pathname
