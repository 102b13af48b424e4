"""A cloud's metadata server on loopback, which refuses what lacks the header that the cloud asks for."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

NEEDED = {
    "/latest/meta-data/": ("X-aws-ec2-metadata-token", "a-token"),
    "/latest/api/token": ("X-aws-ec2-metadata-token-ttl-seconds", "60"),
    "/computeMetadata/": ("Metadata-Flavor", "Google"),
    "/metadata/": ("Metadata", "true"),
}
"""The header without which a server refuses."""


class Metadata(http.server.ThreadingHTTPServer):
    """A metadata server that answers what stands in `texts`, by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.texts: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_GET(self) -> None:
        name, value = next(NEEDED[start] for start in NEEDED if self.path.startswith(start))
        if self.headers[name] != value:
            self.send_error(401)
        elif self.path in self.server.texts:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.texts[self.path].encode())
        else:
            self.send_error(404)

    do_PUT = do_GET  # noqa: N815  the name that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def metadata_server() -> Iterator[Metadata]:
    """A server that knows nothing yet but AWS's token."""
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.texts["/latest/api/token"] = "a-token"
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
