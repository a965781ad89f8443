"""Seeing what happens in the cluster: conditions, pods as they come and go, addresses behind port-forward."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from tests.k8s.cluster import Cluster, ClusterError

_POLL_SECONDS = 0.5


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Waits until it is so.

    Raises:
      AssertionError: it isn't, after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s: not {what}"
        time.sleep(_POLL_SECONDS)


class Pods:
    """Every state that pods of a selector have been in, recorded by ``kubectl get --watch`` while the block runs."""

    def __init__(self, cluster: Cluster, selector: str, folder: Path) -> None:
        self._command = cluster.command(
            "kubectl", "get", "pods", f"--selector={selector}", "--watch", "--output-watch-events", "--output=json"
        )
        self._file = folder / f"{selector.replace('=', '-')}.watch"

    @contextlib.contextmanager
    def recorded(self) -> Iterator[Pods]:
        with self._file.open("wb") as file, _running(self._command, file):
            yield self

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What happened so far, e.g. ``("MODIFIED", pod)``."""
        text, place, found = self._file.read_text(), 0, []
        decoder = json.JSONDecoder()
        while text[place:].strip():
            try:
                event, place = decoder.raw_decode(text, len(text) - len(text[place:].lstrip()))
            except json.JSONDecodeError:
                break  # the last one is still being written
            found.append((event["type"], event["object"]))
        return found

    def counts(self) -> list[int]:
        """How many pods there were, after each event."""
        there: set[str] = set()
        counts = [0]
        for kind, pod in self.events():
            (there.discard if kind == "DELETED" else there.add)(pod["metadata"]["uid"])
            counts.append(len(there))
        return counts

    def starts(self, container: str) -> dict[str, float]:
        """When a container of this name first ran, by pod, in seconds since 1970; Kubernetes knows whole ones."""
        found: dict[str, float] = {}
        for _, pod in self.events():
            for status in pod["status"].get("containerStatuses", ()):
                running = status["state"].get("running")
                if status["name"] == container and running:
                    started = datetime.fromisoformat(running["startedAt"]).timestamp()
                    found.setdefault(pod["metadata"]["name"], started)
        return found


def forwarded(cluster: Cluster, target: str, port: int, *paths: str, seconds: float = 60) -> dict[str, str]:
    """What HTTP answers at each path of a pod or Service, through ``kubectl port-forward``.

    A container that runs may not listen yet, and a forwarding that was refused ends: it is tried anew until then.

    Raises:
      ClusterError: nothing answers in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _forwarded_once(cluster, target, port, paths)
        except ClusterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _forwarded_once(cluster: Cluster, target: str, port: int, paths: Sequence[str]) -> dict[str, str]:
    with _running(cluster.command("kubectl", "port-forward", target, f":{port}"), subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()  # Forwarding from 127.0.0.1:38211 -> 8081
        if not said.startswith("Forwarding from 127.0.0.1:"):
            raise ClusterError(f"port-forward {target} {port}: {said}")
        local = said.split(":")[1].split()[0]
        return {path: cluster.run("busybox", "wget", "-qO-", f"http://127.0.0.1:{local}{path}") for path in paths}


@contextlib.contextmanager
def _running(command: list[str], output: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children():  # nsenter waits for it
                child.terminate()
