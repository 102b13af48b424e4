"""Opening MLflow's stores."""

import contextlib
import fcntl
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.database_files import make_whole
from harness.tracking_uri import STORE_FILE, is_server, store_uri, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}


def open_client(results: Path, configured: str | None = None) -> "MlflowClient":
    """A client of the store that `tracking_uri` names.

    That of the results folder is made or migrated first, by one process at a time.
    """
    os.environ.update(ENVIRONMENT)
    from mlflow import MlflowClient

    warnings.filterwarnings("ignore", module="mlflow")  # of its own database code
    for name in ("alembic", "mlflow", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = tracking_uri(results, configured)
    if uri != store_uri(results):
        client = MlflowClient(uri)
        _set_up(client)
        return client
    with _locked(results / ".mlflow.lock"):
        make_whole(results / STORE_FILE, lambda path: _set_up(MlflowClient(f"sqlite:///{path.resolve()}")))
        client = MlflowClient(uri)
        _set_up(client)
    return client


def fail_at_once() -> None:
    """Have calls to a server that is away fail within seconds rather than minutes, in this whole process.

    Whoever calls tries again by itself, and first looks up what the server has: a call that MLflow repeats by itself,
    after its answer was lost, would make a run twice.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def keeps_artifacts(results: Path, configured: str | None) -> bool:
    """Whether the store is a server, which has a place for artifacts."""
    return is_server(tracking_uri(results, configured))


def _set_up(client: "MlflowClient") -> None:
    """Have MLflow make its tables, or migrate them, which it does at the first call."""
    client.search_experiments(max_results=1)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
