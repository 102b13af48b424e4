"""A real HTTP server on 127.0.0.1 that serves files and misbehaves as it is told."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Faults:
    """What the server does to the next answers. Each list is used up from its start; when empty all is well."""

    cut_after: list[int] = field(default_factory=list)
    """Bytes of an answer after which the connection is closed."""
    statuses: list[int] = field(default_factory=list)
    """Error codes to answer with."""
    ignore_ranges: bool = False
    shift_ranges: bool = False
    stall_once: threading.Event | None = None
    """An answer stops half-way until this is set."""
    damage_once: bool = False


@dataclass
class Served:
    """A running server."""

    url: str
    files: dict[str, bytes]
    faults: Faults
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        served, faults = self.served, self.served.faults
        served.ranges.append(self.headers.get("Range"))
        if faults.statuses:
            self.send_error(faults.statuses.pop(0))
            return
        content = served.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = self._start(content)
        if start is None:
            self.send_error(416)
            return
        self._send(content, start)

    def _start(self, content: bytes) -> int | None:
        """The byte to begin with; None if there is no such byte."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked is None or self.served.faults.ignore_ranges:
            return 0
        start = int(asked[1])
        return start if start < len(content) else None

    def _send(self, content: bytes, start: int) -> None:
        faults = self.served.faults
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            shown = start + faults.shift_ranges
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        body = content[start:]
        if faults.damage_once:
            faults.damage_once, body = False, bytes(reversed(body))
        if faults.stall_once is not None:
            event, faults.stall_once = faults.stall_once, None
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            event.wait(30)
        elif faults.cut_after:
            self.wfile.write(body[: faults.cut_after.pop(0)])
        else:
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def flaky_server(files: dict[str, bytes], faults: Faults | None = None) -> Iterator[Served]:
    """Serve `files` by path."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}", files, faults or Faults())
    handler.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
