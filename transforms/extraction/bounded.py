"""Extraction with limits: each page in a process beside this one, which is killed when a page takes too much."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import time
from types import TracebackType
from typing import Any

from transforms.extraction.child import LENGTH
from transforms.extraction.engines import Extracted
from transforms.own_process import own_module

PAGE_SECONDS, PAGE_BYTES = 10.0, 2 << 30
_IDLE_FACTOR = 6
"""A page that waits instead of computing has so many times its CPU seconds: a busy machine makes it wait, too."""
_START_SECONDS = 120.0
_POLL_SECONDS = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


class EngineWontStart(Exception):
    """The process of the extraction ends before it has taken a page: an engine that can't be imported."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """Why a page has no text: ``timeout``, ``memory``, ``nesting``, ``crash`` or ``extractor``."""

    reason: str


class BoundedExtractor:
    """Extracts pages one at a time within limits.

    Args:
      engine: its name.
      seconds: CPU time of a page. It doesn't depend on how busy the machine is, as the time on the wall does.
      memory_bytes: address space of the process.

    A page over a limit costs itself: the process is killed, and another takes the next page.
    """

    def __init__(self, engine: str, seconds: float = PAGE_SECONDS, memory_bytes: int = PAGE_BYTES) -> None:
        self._engine, self._seconds, self._memory_bytes = engine, seconds, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BoundedExtractor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def extract(self, page: str) -> Extracted | Failed:
        """The text of a page, or why there is none.

        Raises:
          EngineWontStart: the engine can't be used at all.
        """
        process = self._process or self._start()
        data = page.encode("utf-8", "surrogatepass")
        used = _cpu_seconds(process.pid)
        answer = self._exchange(process, LENGTH.pack(len(data)) + data, used + self._seconds)
        if isinstance(answer, Failed):
            self.close()
            return answer
        if "error" in answer:
            if answer["error"] == "memory":
                self.close()  # what is left of it is in pieces
            return Failed(answer["error"])
        return Extracted(**answer)

    def _start(self) -> subprocess.Popen[bytes]:
        command, environment = own_module("transforms.extraction.child", self._engine, str(self._memory_bytes))
        process = subprocess.Popen(
            command,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._process = process
        started = self._exchange(process, b"", _START_SECONDS)
        if isinstance(started, Failed):
            self.close()
            raise EngineWontStart(f"engine: {self._engine} doesn't start ({started.reason}); its error is above")
        return process

    def _exchange(self, process: subprocess.Popen[bytes], message: bytes, until: float) -> dict[str, Any] | Failed:
        """Sends a message and waits for the answer, while the process is within its limits.

        Args:
          until: of the process's CPU time, in seconds.
        """
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        deadline = time.monotonic() + max(self._seconds, until if not message else 0) * _IDLE_FACTOR
        left, answer = memoryview(message), bytearray()
        os.set_blocking(process.stdin.fileno(), False)
        while True:
            writing = [process.stdin] if left else []
            readable, writable, _ = select.select([process.stdout], writing, [], _POLL_SECONDS)
            try:
                if writable:
                    left = left[os.write(process.stdin.fileno(), left[: 1 << 16]) :]
            except BrokenPipeError:
                return self._death(process)
            if readable:
                data = os.read(process.stdout.fileno(), 1 << 20)
                if not data:
                    return self._death(process)
                answer += data
                if len(answer) >= LENGTH.size and len(answer) >= LENGTH.size + LENGTH.unpack(answer[: LENGTH.size])[0]:
                    found: dict[str, Any] = json.loads(answer[LENGTH.size :])
                    return found
            elif not writable and (_cpu_seconds(process.pid) > until or time.monotonic() > deadline):
                return Failed("timeout")

    def _death(self, process: subprocess.Popen[bytes]) -> Failed:
        status = process.wait()
        return Failed("memory" if status in (-signal.SIGKILL, -signal.SIGABRT) else "crash")


def _cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
