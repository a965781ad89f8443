"""A proxy before the S3 server that counts requests and spoils some of them: the only fake in the S3 tests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as it came in: ``received`` and ``sent`` are the bytes of its body and of the answer's.

    ``status`` is the answer's, 0 if there was none; ``at`` the time of the answer (``time.monotonic``).
    """

    method: str
    path: str
    span: str
    received: int
    sent: int
    status: int
    at: float

    @property
    def listing(self) -> bool:
        return self.method == "GET" and "list-type=2" in self.path


@dataclasses.dataclass(frozen=True)
class Weather:
    """Shares of the requests that are spoiled at random."""

    errors: float = 0.0  # answered with 500 or 503
    resets: float = 0.0  # the connection closed without an answer
    cuts: float = 0.0  # half of the answer's body, then closed
    delays: float = 0.0  # answered two seconds late

    def draw(self, chance: random.Random) -> str:
        faults = ["500", "503", "reset", "cut", "delay", ""]
        weights = [self.errors / 2, self.errors / 2, self.resets, self.cuts, self.delays]
        return chance.choices(faults, [*weights, 1 - sum(weights)])[0]


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to the server, counts them, and spoils those that are asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, endpoint: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = urllib.parse.urlsplit(endpoint).netloc
        self.requests: list[Request] = []
        self.faults: list[str] = []  # what to do to the next requests: "503", "500", "403", "reset", "cut"
        self.done: Callable[[str, str], None] = lambda method, path: None  # called after each that was passed on
        self.weather, self._chance = Weather(), random.Random(1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_fault(self) -> str:
        return self.faults.pop(0) if self.faults else self.weather.draw(self._chance)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that were killed close their connections."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment an answer: written in pieces, each waits 40 ms for the other side's ACK
    disable_nagle_algorithm = True
    server: Proxy

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests look at ``Proxy.requests``."""

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.spoil_or_pass(self.server.next_fault(), body)
        self.server.done(self.command, self.path)

    def count(self, received: int, sent: int, status: int) -> None:
        """Before the answer: who has got it finds its request counted."""
        span = self.headers.get("Range", "")
        self.server.requests.append(Request(self.command, self.path, span, received, sent, status, time.monotonic()))

    def close_unanswered(self, received: int) -> None:
        self.count(received, 0, 0)
        self.close_connection = True

    def spoil_or_pass(self, fault: str, body: bytes) -> None:
        if fault == "reset":
            return self.close_unanswered(len(body))
        if fault in ("500", "503", "403"):
            code = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}[fault]
            return self.answer(int(fault), {}, len(body), f"<Error><Code>{code}</Code></Error>".encode(), None)
        if fault == "delay":
            time.sleep(2)
        upstream = http.client.HTTPConnection(self.server.upstream)
        with contextlib.closing(upstream):
            try:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                response = upstream.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException):  # the server is down
                return self.close_unanswered(len(body))
        headers = {
            k.title(): v for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")
        }
        if self.command != "HEAD":
            headers["Content-Length"] = str(len(data))
        return self.answer(response.status, headers, len(body), data, len(data) // 2 if fault == "cut" else None)

    def answer(self, status: int, headers: dict[str, str], received: int, data: bytes, cut: int | None) -> None:
        body = b"" if self.command == "HEAD" else data[:cut]
        self.count(received, len(body), status)
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or cut is not None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815 - names of http.server


@contextlib.contextmanager
def in_front_of(endpoint: str) -> Iterator[Proxy]:
    """A proxy that runs while the block does."""
    proxy = Proxy(endpoint)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
