"""Object stores on this machine: moto's, which speaks S3, and one that speaks Google's, each in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from tests.servers.aws_key import aws_key
from tests.servers.ports import free_port

BUCKET = "bucket"


@contextmanager
def served_s3() -> Iterator[str]:
    """The URI of an empty bucket, with which pyarrow finds it; the key to it is in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        key = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        client = boto3.Session(**key).client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        with aws_key("key", "secret"):
            yield f"s3://{BUCKET}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        server.stop()


@contextmanager
def served_gs() -> Iterator[str]:
    """The URI of an empty bucket of Google's storage, which lets anybody in."""
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield f"gs://anonymous@{BUCKET}?endpoint_override=127.0.0.1:{port}&scheme=http"
    finally:
        server.stop()
