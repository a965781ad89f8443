"""A real browser for tests: headless Chromium from npm, driven by Chrome's DevTools protocol over a pipe.

The binary is that of @sparticuz/chromium, which brings its libraries and fonts: 70 MB, fetched once into the user's
cache. It needs no root and no display.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli

from tests import building

VERSION = "153.0.0"
PATIENCE = 180.0
FLAGS = (
    "--headless=shell", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip

_LAUNCH = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"
"""Chromium has its pipe at the descriptors 3 and 4."""


def installed() -> Path:
    """The folder with Chromium, fetched if it isn't there.

    Raises:
      RuntimeError: npm isn't there, or can't fetch it.
    """
    return building.made(building.cache() / f"chromium-{VERSION}", _fetch)


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as packed:
        building.call(["npm", "pack", "--silent", f"@sparticuz/chromium@{VERSION}"], Path(packed))
        with tarfile.open(next(Path(packed).glob("*.tgz"))) as package:
            for member in package.getmembers():
                if member.name.endswith(".br"):
                    _unpack(Path(member.name).stem, brotli.decompress(package.extractfile(member).read()), folder)  # type: ignore[union-attr]


def _unpack(name: str, data: bytes, folder: Path) -> None:
    if name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
    else:
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755)


class Browser:
    """A running Chromium with one page open."""

    def __init__(self, to_it: int, from_it: int) -> None:
        self._to, self._from, self._read, self._number = to_it, from_it, b"", 0
        self.events: list[dict[str, Any]] = []
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; returns its result. Events that come meanwhile are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._to, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium doesn't answer"
            more = os.read(self._from, 1 << 20)
            assert more, "Chromium has ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return dict(json.loads(message))

    def open(self, uri: str) -> None:
        """Opens a page and waits until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=uri)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def named(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events of these kinds since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def screenshot(self, path: Path, width: int, height: int, dark: bool = False) -> None:
        """The top of the page as PNG."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """A browser for the block."""
    folder = installed()
    pipes = [os.pipe(), os.pipe()]
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (pipes[0][0], pipes[1][1])]
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder / "fonts")}
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [str(folder / "chromium"), *FLAGS, f"--user-data-dir={profile}"]
        started = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, theirs), *command],
            env=environment, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (pipes[0][0], pipes[1][1], *theirs):
            os.close(end)
        try:
            yield Browser(pipes[0][1], pipes[1][0])
        finally:
            started.kill()
            started.wait()
            os.close(pipes[0][1])
            os.close(pipes[1][0])
