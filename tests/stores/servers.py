"""The servers: fake-gcs-server, built from its Go module, and Azurite from npm, each once a machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests import building, s3

GOOGLE_VERSION, GOOGLE_MODULE = "v1.56.1", "github.com/fsouza/fake-gcs-server"
AZURITE_VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
# Azurite's published key of its only account.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def google_binary() -> Path:
    """fake-gcs-server, built now if it isn't there (three CPU minutes)."""

    def build(work: Path) -> None:
        building.go_module(work / "build", GOOGLE_MODULE, GOOGLE_VERSION)
        building.go_build(work / "build", work / "fake-gcs-server", GOOGLE_MODULE)
        shutil.rmtree(work / "build")

    return building.made(building.cache() / f"google-server-{GOOGLE_VERSION}", build) / "fake-gcs-server"


def azurite() -> Path:
    """Azurite's program, fetched now if it isn't there (100 MB)."""

    def fetch(work: Path) -> None:
        building.call(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"azurite@{AZURITE_VERSION}"], work
        )

    folder = building.made(building.cache() / f"azurite-{AZURITE_VERSION}", fetch)
    return folder / "node_modules/azurite/dist/src/blob/main.js"


@contextlib.contextmanager
def google(folder: Path) -> Iterator[dict[str, str]]:
    """A server with a bucket ``bucket``, and the environment that leads to it."""
    port = s3.free_port()
    folder.mkdir(parents=True)
    (folder / "bucket").mkdir()
    endpoint = f"http://127.0.0.1:{port}"
    command = [google_binary(), "-scheme", "http", "-host", "127.0.0.1", "-port", port, "-external-url", endpoint,
               "-backend", "filesystem", "-filesystem-root", folder]  # fmt: skip
    with _running([str(part) for part in command], port, folder.with_suffix(".log")):
        yield {"STORAGE_EMULATOR_HOST": endpoint}


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[dict[str, str]]:
    """A server with a container ``bucket``, and the environment that leads to it."""
    port = s3.free_port()
    folder.mkdir(parents=True)
    command = ["node", azurite(), "--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder,
               "--skipApiVersionCheck", "--silent", "--disableTelemetry"]  # fmt: skip
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )
    with _running([str(part) for part in command], port, folder.with_suffix(".log")):
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container("bucket")
        yield {"AZURE_STORAGE_CONNECTION_STRING": connection}


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as server:
        try:
            deadline = time.monotonic() + 120
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} didn't come up: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            server.kill()
