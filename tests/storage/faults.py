"""A proxy before the S3 server that spoils chosen answers, and remembers what was asked."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple


class Fault(NamedTuple):
    """What happens to one answer; `at` is a byte of its body.

    drop: reset after so many bytes. cut: closed after so many bytes, fewer than its Content-Length.
    short: only so many bytes, and a Content-Length that agrees. corrupt: that byte differs.
    busy, denied: 503, 403. stall: nothing comes until the proxy is released.
    """

    kind: Literal["drop", "cut", "short", "corrupt", "busy", "denied", "stall", "sound"]
    at: int = 0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Proxy:
    """`faults` happen to the next downloads in turn; `downloads` are their Range headers."""

    upstream: tuple[str, int]
    url: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    downloads: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def spoil(self, answer: Answer, fault: Fault) -> Answer:
        status, headers, body = answer
        if fault.kind in ("busy", "denied"):
            status, code = (503, "SlowDown") if fault.kind == "busy" else (403, "AccessDenied")
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            return Answer(status, {"content-length": str(len(body))}, body)
        if fault.kind == "stall":
            self.stalled.set()
            self.release.wait(20)
        if fault.kind == "corrupt":
            body = body[: fault.at] + bytes([body[fault.at] ^ 1]) + body[fault.at + 1 :]
        if fault.kind in ("drop", "cut", "short"):
            body = body[: fault.at]
        if fault.kind == "short":
            headers = headers | {"content-length": str(len(body))}
        return Answer(status, headers, body)


class Server(ThreadingHTTPServer):
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        proxy, fault = self.server.proxy, Fault("sound")
        if self.command == "GET" and "?" not in self.path:
            proxy.downloads.append(self.headers.get("Range", ""))
            fault = proxy.faults.popleft() if proxy.faults else fault
        answer = proxy.spoil(self.ask(), fault)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        cut_off = len(answer.body) < int(answer.headers["content-length"]) and self.command != "HEAD"
        self.close_connection = cut_off
        if cut_off and fault.kind == "drop":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def ask(self) -> Answer:
        """The answer of the real server."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=20)
        upstream.request(self.command, self.path, body, dict(self.headers.items()) | {"Connection": "close"})
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        headers = {"content-length": str(len(data))} | {k.lower(): v for k, v in answer.headers.items()}
        headers.pop("connection", None)
        headers.pop("transfer-encoding", None)
        return Answer(answer.status, headers, data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def proxy_before(host: str, port: int) -> Iterator[Proxy]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.proxy = Proxy((host, port), f"http://127.0.0.1:{server.server_address[1]}")
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.proxy
        finally:
            server.proxy.release.set()
            server.shutdown()
            thread.join()
