"""A web server of this machine for tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from datamodules.about import Download


class FileServer(ThreadingHTTPServer):
    """Serves `body` under every path; status, redirect_to and sent_bytes say how well."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.status = 200
        self.redirect_to = ""
        self.sent_bytes: int | None = None
        self.request_count = 0

    def item(self, sha256: str, size_bytes: int = 0) -> Download:
        """The Download that leads here."""
        return Download(f"http://127.0.0.1:{self.server_port}/set.zip", sha256, size_bytes)


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.request_count += 1
        self.send_response(302 if self.server.redirect_to else self.server.status)
        if self.server.redirect_to:
            self.send_header("Location", self.server.redirect_to)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.sent_bytes])

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
