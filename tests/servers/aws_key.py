"""A key of AWS in the environment of this process, for as long as a server wants it and no longer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def aws_key(identity: str, secret: str) -> Iterator[None]:
    """What pyarrow and AWS's SDK find, and that they need not look elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", identity)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield
