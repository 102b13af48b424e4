"""`ndcl ui` and `ndcl sync`: the MLflow store of the results."""

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Results, SweepName, given_sweep
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.errors import UserError


def ui(
    results: Results = DEFAULT_RESULTS,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow UI on 127.0.0.1, and open it at the newest sweep; Ctrl-C ends it."""
    from harness.cli.browser import open_when_served
    from harness.config.commands import typed
    from harness.config.tracking_uri import artifact_folder, store_uri
    from harness.tracking.moved_store import follow_move

    store = results / "mlflow.db"
    if not store.is_file():
        raise UserError(f"there is no MLflow store in {results}; run a sweep first, or give --results")
    _claim(port)
    follow_move(results)
    for database in sorted(results.glob("*/optuna.db")):
        say(f"Optuna (pip install optuna-dashboard): optuna-dashboard {typed(f'sqlite:///{database}')}")
    address = _page(results, f"http://127.0.0.1:{port}")
    say(f"MLflow: {address} (Ctrl-C ends it)")
    open_when_served(address)
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store_uri(results)]
    command += ["--default-artifact-root", artifact_folder(results).as_uri()]
    os.execv(sys.executable, command)


def sync(name: SweepName, results: Results = DEFAULT_RESULTS) -> None:
    """Complete what MLflow lacks of a sweep, after its server was away, or on another server.

    The sweep does the same while it runs. Exit code 1 if something is left to do.
    """
    from harness.tracking.sync import sync_sweep

    name, results = given_sweep(name, results)
    tracker = sync_sweep(results, name, say=partial(say, error=True))
    if tracker.problem:
        say(f"MLflow at {tracker.shown_uri} is not complete: {tracker.problem}; run this again", error=True)
        raise typer.Exit(1)
    refused = f" but what it refuses: {tracker.refusal}" if tracker.refusal else ""
    say(f"MLflow at {tracker.shown_uri} has all of sweep {name}{refused}")


def _claim(port: int) -> None:
    """Raise UserError if the port is taken. No other `ndcl ui` gets it until this process ends, whatever it becomes.

    A name beside the port marks it, since MLflow takes the port itself, some seconds from now.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0ndcl-ui-{port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        claim.close()
        reason = os.strerror(error.errno or 0)
        raise UserError(f"--port {port}: it can't be taken ({reason}); give another --port") from None
    os.set_inheritable(claim.detach(), True)


def _page(results: Path, server: str) -> str:
    """The newest sweep's page, as MLflow shows trainings; it would rather show traces of language models."""
    from harness.tracking.client import newest_experiment

    experiment = newest_experiment(results)
    return server if experiment is None else f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
