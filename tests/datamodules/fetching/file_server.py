"""A web server of this machine for tests: ranges, versions, transfers that break off."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from datamodules.about import Download


class FileServer(ThreadingHTTPServer):
    """Serves `body` under every path; the attributes say how well."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.etag = '"one"'
        self.has_ranges = True
        self.honours_if_range = True
        self.says_length = True
        self.shift = 0
        self.break_after: int | None = None
        self.status = 200
        self.redirect_to = ""
        self.sent_bytes = 0
        self.ranges: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Silent: clients that hang up are what is tested."""

    def item(self, sha256: str, name: str = "set.zip", size_bytes: int = 0) -> Download:
        """The Download that leads here."""
        return Download(f"http://127.0.0.1:{self.server_port}/{name}", sha256, size_bytes)


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range", "")
        server.ranges.append(wanted)
        if server.redirect_to or server.status != 200:
            self.send_response(302 if server.redirect_to else server.status)
            self.send_header("Location", server.redirect_to)
            self.end_headers()
            return
        start = int(wanted[6:-1]) + server.shift if wanted and server.has_ranges else 0
        expected = self.headers.get("If-Range", server.etag)
        if server.honours_if_range and expected != server.etag:
            start = 0
        self._send(start, server.body[start:])

    def _send(self, start: int, body: bytes) -> None:
        whole = len(self.server.body)
        if start >= whole > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{whole}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: self.server.break_after]
        self.server.sent_bytes += len(body)
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the test's output."""


@contextmanager
def serving(body: bytes) -> Iterator[FileServer]:
    """A running server, stopped at the end."""
    with FileServer(body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
