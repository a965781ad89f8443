"""A small server that answers like the Hugging Face Hub, for one dataset: what its API documents of trees and files.

The Hub itself has no server to install; these are its answers as huggingface_hub reads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

REPO = "owner/name"


class Hub(http.server.ThreadingHTTPServer):
    """Files of ``datasets/owner/name`` by revision and path; those of ``large`` are in LFS, behind a redirect."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {"main": {}}
        self.large: set[str] = set()
        self.token = ""
        self.faults: list[int] = []  # how the next requests are answered
        self.seen: list[tuple[str, str]] = []  # path and Range of each request

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        found: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git}
        if path in self.large:
            found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return found


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.about(asked.get("paths", []))

    def do_GET(self) -> None:
        self.about([])

    def about(self, paths: list[str]) -> None:
        path = urllib.parse.urlsplit(self.path).path
        span = self.headers.get("Range", "")
        self.server.seen.append((path, span))
        if self.server.faults:
            return self.answer(self.server.faults.pop(0))
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "cdn":
            stored = {key(data): data for files in self.server.files.values() for data in files.values()}
            return self.ranged(stored[parts[1]], span, "of-the-cdn")
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self.answer(401, X_Error_Code="GatedRepo")
        in_api = parts[0] == "api"
        kind, repo, action, revision = (
            (parts[1], "/".join(parts[2:4]), parts[4], parts[5])
            if in_api
            else (parts[0], "/".join(parts[1:3]), parts[3], parts[4])
        )
        if (kind, repo) != ("datasets", REPO):
            return self.answer(404, X_Error_Code="RepoNotFound")
        files = self.server.files.get(revision)
        if files is None:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        rest = "/".join(parts[6 if in_api else 5 :])
        if action == "paths-info":
            return self.entries([name for name in paths if name in files], files)
        if action == "tree":
            below = [name for name in sorted(files) if not rest or name.startswith(rest + "/")]
            return self.entries(below, files) if below else self.answer(404, X_Error_Code="EntryNotFound")
        if rest not in files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        data = files[rest]
        entry = self.server.entry(rest, data)
        if rest in self.server.large:
            return self.answer(302, Location=f"/cdn/{key(data)}", X_Linked_Etag=f'"{entry["lfs"]["oid"]}"')
        return self.ranged(data, span, entry["oid"])

    def entries(self, names: list[str], files: dict[str, bytes]) -> None:
        self.answer(200, json.dumps([self.server.entry(name, files[name]) for name in names]).encode())

    def ranged(self, data: bytes, span: str, etag: str) -> None:
        start, _, last = span.removeprefix("bytes=").partition("-")
        part = data[int(start) : int(last) + 1]
        self.answer(206, part, ETag=f'"{etag}"', Content_Range=f"bytes {start}-{last}/{len(data)}")


def key(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
