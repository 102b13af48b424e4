"""Opening MLflow's stores."""

import contextlib
import fcntl
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.tracking_uri import STORE_FILE, is_server, store_uri, tracking_uri, without_secrets
from harness.storage.folder import lock_file
from harness.tracking.moved_store import follow_move
from ndcl.errors import UserError
from ndcl.files import is_damaged, make_whole, set_aside_damaged, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

MADE_ANEW = "make it anew from the journal with: ndcl sync SWEEP"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}


def open_client(
    results: Path, configured: str | None = None, say: Callable[[str], None] | None = None
) -> "MlflowClient":
    """A client of the store that `tracking_uri` names.

    That of the results folder is made or migrated first, by one process at a time. If it is damaged, it is set aside
    and made anew, and `say` is called; without `say` that is a UserError.
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
        if say is not None:
            set_aside_damaged(results / STORE_FILE, say, "a new one is made; other sweeps here need: ndcl sync SWEEP")
        elif is_damaged(results / STORE_FILE):
            raise UserError(f"MLflow's store {results / STORE_FILE} is damaged; {MADE_ANEW}")
        make_whole(results / STORE_FILE, lambda path: _set_up(MlflowClient(sqlite_uri(path))))
        client = MlflowClient(uri)
        _set_up(client)
        follow_move(results)
    return client


def fail_at_once() -> None:
    """Have calls to a server that is away fail within seconds rather than minutes, in this whole process.

    The caller tries again, and first looks up what the server has: a call that MLflow repeats after its answer was lost
    would make a run twice.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def keeps_artifacts(results: Path, configured: str | None) -> bool:
    """Whether the store is a server, which has a place for artifacts."""
    return is_server(tracking_uri(results, configured))


def newest_experiment(results: Path) -> str | None:
    """Id of the experiment in the results' own store in which a run has begun last; UserError if it is damaged."""
    client = open_client(results, store_uri(results))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1)
    return str(newest[0].info.experiment_id) if newest else None


def _set_up(client: "MlflowClient") -> None:
    """Have MLflow make its tables, or migrate them, which it does at the first call."""
    client.search_experiments(max_results=1)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with lock_file(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def one_line(error: BaseException) -> str:
    """What an error says, without secrets; the system's own, such as a refused connection, if that is behind it."""
    telling, link = error, error.__cause__ or error.__context__
    while link is not None:
        telling, link = link if isinstance(link, OSError) else telling, link.__cause__ or link.__context__
    return without_secrets(" ".join(f"{type(telling).__name__}: {telling}".split()))[:300]
