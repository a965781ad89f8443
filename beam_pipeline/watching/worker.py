"""The process that carries out the runs of a corpus while its parent goes on to listen."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runners.own_processes import module_command

LOGGER = logging.getLogger(__name__)

_END_SECONDS = 120.0


class Worker:
    """Carries out what waits in the corpus: one process at a time, begun when there is something.

    Args:
      corpus: its URI.
      dsn: PostgreSQL; empty: the embedded one.
      settings: of the runs, by name.
      beam_flags: Beam's own.
    """

    def __init__(self, corpus: str, dsn: str, settings: Mapping[str, Any], beam_flags: Sequence[str]):
        self._folder = tempfile.TemporaryDirectory(prefix="beam-pipeline-watch-")
        config = Path(self._folder.name) / "settings.yaml"
        config.write_text(json.dumps(dict(settings)))  # YAML takes it
        named = ["--lineage_dsn", dsn] if dsn else []
        self._command = module_command(
            "beam_pipeline", "watch", "--corpus", corpus, "--work", "--config", str(config), *named, *beam_flags
        )
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begins to work, unless it does. The process ends itself when this one is gone."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)

    def at_work(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> int | None:
        """The exit status of a process that has ended, once; None if there is none."""
        if self._process is None or self._process.poll() is None:
            return None
        status, self._process = self._process.returncode, None
        return status

    def close(self) -> None:
        """Ends the process in order; a run that is at work goes on when it is begun again."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._folder.cleanup()


def end_with_parent() -> None:
    """Ends this process, as SIGTERM does, when the parent is gone that holds the other end of its standard input."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock a thread that waits would keep at the end
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
