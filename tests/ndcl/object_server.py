"""A small object store on this machine, which speaks as much of S3 as reading takes, and can fail on purpose."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class ObjectServer(ThreadingHTTPServer):
    """Serves the files below a folder as the objects of the bucket `bucket`."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.reads: list[str] = []
        """Names of the files of which something was read, in order."""
        self.drops = 0
        """So many of the next reads of inputs end midway, with the connection."""
        self.flips_a_byte = False
        self.forbids = False

    def uri(self, name: str) -> str:
        """Of a folder, with a key and a password in it."""
        options = f"endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"
        return f"s3://user:password@bucket/{name}?{options}"


@contextmanager
def serving(root: Path) -> Iterator[ObjectServer]:
    """A server of `root`, on a free port."""
    server = ObjectServer(root)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectServer

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        content = self._content()
        if content is not None:
            self._answer(200, len(content))

    def do_GET(self) -> None:
        content = self._content()
        if content is None:
            return
        name = self.path.rpartition("/")[2]
        self.server.reads.append(name)
        first, last = 0, len(content) - 1
        if "Range" in self.headers:
            first, last = (int(part) for part in self.headers["Range"].partition("=")[2].split("-"))
        body = bytearray(content[first : last + 1])
        if name.startswith("inputs") and self.server.flips_a_byte:
            body[len(body) // 2] ^= 1
        self._answer(206, len(body), {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(content)}"})
        if name.startswith("inputs") and self.server.drops > 0:
            self.server.drops -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def _content(self) -> bytes | None:
        path = self.server.root / self.path.partition("?")[0].removeprefix("/bucket/")
        if self.server.forbids:
            self._answer(403, 0)
        elif not path.is_file():
            self._answer(404, 0)
        else:
            return path.read_bytes()
        return None

    def _answer(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
