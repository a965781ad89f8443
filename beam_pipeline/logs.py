"""Logging of the command: our own lines, workers' too, without Beam's chatter."""

from __future__ import annotations

import logging
import re
import sys
import warnings

from rich.console import Console
from rich.logging import RichHandler

OWN = {"beam_pipeline": logging.INFO, "transforms": logging.WARNING, "runners": logging.INFO}
"""Our loggers, and from which level on the user is told: that shards come and go, the progress bar shows."""
_WORKER_LOGGER = "apache_beam.runners.portability.fn_api_runner.worker_handlers"
_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)*)"')


def set_up(console: Console, verbose: bool = False) -> None:
    """Own messages, in colour on a terminal, else plain lines. ``verbose``: all of them and Beam's too, with stacks."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, log_time_format="%X")
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
    workers = logging.getLogger(_WORKER_LOGGER)
    workers.setLevel(logging.WARNING)
    workers.addFilter(_only_own_lines)
    warnings.filterwarnings("ignore", module="apache_beam")


def _not_from_beam(record: logging.LogRecord) -> bool:
    return record.name != "root" or "/apache_beam/" not in record.pathname


def _only_own_lines(record: logging.LogRecord) -> bool:
    """Lets through what our code says in a worker process, reduced to what it says.

    Beam's local runner logs a worker's record as one line with all its fields.
    """
    text = record.getMessage()
    found = _MESSAGE.search(text)
    if not found or not any(f"/{name}/" in text.partition("log_location:")[2] for name in OWN):
        return False
    record.msg, record.args = found.group(1).replace('\\"', '"').replace("\\'", "'"), ()
    return True
