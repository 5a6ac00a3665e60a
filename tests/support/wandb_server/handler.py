"""HTTP over a socket: reads requests, plays the faults, writes replies."""

import gzip
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.faults import Fault
from tests.support.wandb_server.routes import Reply, answer, call, json_reply
from tests.support.wandb_server.switches import ThrottleBody

PAGE = b"<!doctype html><html><body><h1>Please sign in</h1></body></html>"

THROTTLE_BODIES: Mapping[ThrottleBody, Reply] = {
    "graphql": json_reply({"errors": [{"message": "rate limit exceeded"}]}, 429),
    "json": json_reply({"error": "rate limit exceeded"}, 429),
    "text": Reply(429, b"rate limit exceeded", "text/plain"),
    "html": Reply(429, PAGE, "text/html"),
    "empty": Reply(429, b"", "text/plain"),
}


class LoopbackServer(ThreadingHTTPServer):
    """Listens on loopback only; one thread a connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, backend: Backend, api_key: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.backend = backend
        self.api_key = api_key
        self.is_closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle of an answer are no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Unbuffered writes and Nagle's algorithm together cost 44 ms a request.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: LoopbackServer

    def log_message(self, *_: object) -> None:
        """Stay silent: the request log counts."""

    def _serve(self) -> None:
        backend = self.server.backend
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = call(self.command, self.path, headers, self._body())
        backend.requests.add(asked.request)
        fault: Fault | None = None
        for fault in backend.faults.strike(asked.operation):
            self.server.is_closing.wait(fault.seconds)
        reply = None
        if fault is None or fault.is_applied:
            reply = answer(backend, asked, self.server.api_key)
        self._send(fault, reply)

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        is_chunked = self.headers.get("Transfer-Encoding", "") == "chunked"
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if is_chunked else self.rfile.read(length)
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(body) if is_packed else body

    def _chunks(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, fault: Fault | None, reply: Reply | None) -> None:
        match fault.kind if fault else "latency":
            case "status":
                self._write(self._refusal(fault or Fault("status")))
            case "html":
                self._write(Reply(200, PAGE, "text/html"))
            case "truncate" if reply:
                self._write(reply, sent_bytes=len(reply.body) // 2)
                self.close_connection = True
            case "drop" | "hang":
                self.close_connection = True
            case _ if reply:
                self._write(reply)

    def _refusal(self, fault: Fault) -> Reply:
        if fault.status != 429:
            message = {"errors": [{"message": f"injected {fault.status}"}]}
            return json_reply(message, fault.status)
        switches = self.server.backend.switches
        reply = THROTTLE_BODIES[switches.throttle_body]
        if fault.retry_after is None:
            return reply
        header = {"Retry-After": self._retry_after(fault.retry_after)}
        return Reply(429, reply.body, reply.content_type, header)

    def _retry_after(self, seconds: float) -> str:
        backend = self.server.backend
        if not backend.switches.retry_after_is_date:
            return f"{seconds:g}"
        moment = backend.now() + timedelta(seconds=seconds)
        return format_datetime(moment, usegmt=True)

    def _write(self, reply: Reply, sent_bytes: int | None = None) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[:sent_bytes])
            self.server.backend.requests.add_sent(len(reply.body[:sent_bytes]))
        self.wfile.flush()
