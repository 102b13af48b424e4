"""A small object store on this machine, which speaks as much of S3 as this project's reads and writes take.

It can fail on purpose. Objects are files below a folder; what no object lies in is no folder, as in S3.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.servers.aws_key import aws_key

BUCKET = "bucket"


class ObjectServer(ThreadingHTTPServer):
    """Serves the files below a folder as the objects of the bucket `bucket`."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.reads: list[str] = []
        """Names of the files of which something was read, in order."""
        self.uploads: dict[str, dict[int, bytes]] = {}
        """Parts of the uploads that are not complete, by upload and number."""
        self.drops = 0
        """So many of the next reads of inputs end midway, with the connection."""
        self.flips_a_byte = False
        self.forbids = False
        self.before_write: Callable[[str], bool] = lambda key: True
        """Asked with an object's key when its content, or a part of it, has come, and again before parts become one.
        Where it says no, it is forbidden, and nothing is stored."""

    def uri(self, name: str) -> str:
        """Of a folder; the key to it is in the environment."""
        options = f"endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"
        return f"s3://{BUCKET}/{name}?{options}"

    def keys(self, prefix: str = "") -> list[str]:
        """Of all objects that begin so."""
        paths = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(key for path in paths if (key := str(path.relative_to(self.root))).startswith(prefix))

    def put(self, key: str, content: bytes) -> None:
        """Store an object, whole or not at all."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def delete(self, key: str) -> None:
        """Remove an object; of what is none, as the mark of a folder, nothing."""
        if (self.root / key).is_file():
            (self.root / key).unlink()


@contextmanager
def serving(root: Path) -> Iterator[ObjectServer]:
    """A server of `root`, on a free port."""
    server = ObjectServer(root)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with aws_key("user", "password"):
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

    @property
    def key(self) -> str:
        """Of the object that is asked for; of the bucket itself, nothing."""
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    @property
    def query(self) -> dict[str, str]:
        options = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[0] for name, values in options.items()}

    def do_HEAD(self) -> None:
        if self._is_forbidden():
            return
        if self.path == f"/{BUCKET}":
            self._answer(200, 0)
        elif (content := self._content()) is not None:
            self._answer(200, len(content))

    def do_GET(self) -> None:
        if self._is_forbidden():
            return
        if "list-type" in self.query:
            self._list(self.query["prefix"])
        elif (content := self._content()) is not None:
            self._read(content)

    def do_PUT(self) -> None:
        body = self._body()
        if body is None:
            return
        if "uploadId" in self.query:
            self.server.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = body
        elif not self.key.endswith("/"):  # else it marks a folder, which nobody needs
            self.server.put(self.key, body)
        self._answer(200, 0, {"ETag": '"made"'})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if "uploads" in self.query:
            name = uuid.uuid4().hex
            self.server.uploads[name] = {}
            self._answer_xml(
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            )
        elif "uploadId" in self.query:
            parts = self.server.uploads.pop(self.query["uploadId"])
            self.server.put(self.key, b"".join(parts[number] for number in sorted(parts)))
            self._answer_xml('<CompleteMultipartUploadResult><ETag>"made"</ETag></CompleteMultipartUploadResult>')
        else:
            for key in ElementTree.fromstring(body).iterfind("{*}Object/{*}Key"):
                self.server.delete(key.text or "")
            self._answer_xml("<DeleteResult/>")

    def do_DELETE(self) -> None:
        if self._is_forbidden():
            return
        if "uploadId" in self.query:
            self.server.uploads.pop(self.query["uploadId"], None)
        else:
            self.server.delete(self.key)
        self._answer(204, 0)

    def _read(self, content: bytes) -> None:
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

    def _list(self, prefix: str) -> None:
        keys = self.server.keys(prefix)
        objects = (
            f"<Contents><Key>{escape(key)}</Key><Size>{(self.server.root / key).stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        counted = f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._answer_xml(f"<ListBucketResult>{counted}{''.join(objects)}</ListBucketResult>")

    def _content(self) -> bytes | None:
        path = self.server.root / self.key
        if path.is_file():
            return path.read_bytes()
        self._answer(404, 0)
        return None

    def _is_forbidden(self) -> bool:
        if self.server.forbids:
            self._answer(403, 0)
        return self.server.forbids

    def _body(self) -> bytes | None:
        """What the request brings; None if that has been refused."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(_chunks(self.rfile))
            while self.rfile.readline().strip():
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = b"".join(_chunks(BytesIO(body)))
        if self.server.forbids or (body and not self.server.before_write(self.key)):
            self._answer(403, 0)
            return None
        return body

    def _answer(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer_xml(self, text: str) -> None:
        self._answer(200, len(text), {"Content-Type": "application/xml"})
        self.wfile.write(text.encode())


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The pieces of a body that come with their sizes, up to the piece of size 0."""
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
