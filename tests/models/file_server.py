"""A web server on this machine that sends files, half of one, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Answers every request for `/NAME` with `files[NAME]`, of which `share` is sent.

    `length` is what it says of the length: the number, None for nothing, or these words. `version`
    are the headers that say which version of the file it is, by which a range is given if
    `ranges` is true, of at most `most` bytes. `stalls` keeps the connection open after the share until the server ends.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.share = 1.0
        self.length: str | None = "number"
        self.version: dict[str, str] = {}
        self.ranges = True
        self.knows_if_range = True
        self.most: int | None = None
        self.stalls = False
        self.requests: list[str] = []
        self.ranges_asked: list[str | None] = []
        self.ends = threading.Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.server.requests.append(name)
        self.server.ranges_asked.append(self.headers["Range"])
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        start = self._start()
        if start >= len(content):
            self.send_error(416)
            return
        sent = content[start:]
        self.send_response(206 if start else 200)
        if start:
            sent = sent[: self.server.most]
            last = start + len(sent) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if self.server.length is not None:
            number = str(len(sent))
            self.send_header("Content-Length", self.server.length.replace("number", number))
        for key, value in self.server.version.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(sent[: int(self.server.share * len(sent))])
        if self.server.stalls:
            self.server.ends.wait()

    def _start(self) -> int:
        asked = self.headers["Range"]
        same = self.headers["If-Range"] in self.server.version.values()
        same = same or not self.server.knows_if_range
        if not (asked and same and self.server.ranges):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        thread.join()
        server.server_close()
