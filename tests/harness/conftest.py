"""What the harness's tests share."""

import pytest

from harness.tracking.client import open_client


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty MLflow store: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("store")
    open_client(folder)
    return (folder / "mlflow.db").read_bytes()
