"""`ndcl cluster results`: copy a sweep's results to this machine, with MLflow complete."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.cluster.given_file import prepared_cluster, reachable_cluster
from harness.cli.options import ClusterYaml, SweepName, given_sweep
from harness.cli.report import show_comparison
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say

if TYPE_CHECKING:
    from harness.cluster.files import ClusterFile


def results(
    path: ClusterYaml,
    sweep: SweepName,
    to: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie here.")] = DEFAULT_RESULTS,
    from_storage: Annotated[
        bool, typer.Option("--from-storage", help="From metadata.results, with this machine's credentials.")
    ] = False,
) -> None:
    """Copy a sweep's report, journal and models to this machine, also while it runs; and log them to MLflow here.

    After the cluster's end they come from metadata.results. Exit code 1 if MLflow is not complete.
    """

    name, to = given_sweep(sweep, to)
    file = prepared_cluster(path) if from_storage else reachable_cluster(path)
    if not bring_home(file, name, to, from_storage=from_storage):
        raise typer.Exit(1)


def bring_home(file: "ClusterFile", name: str, to: Path, *, from_storage: bool = False) -> bool:
    """Copy the results below `to`, and log them to MLflow there; whether MLflow has all of them."""
    from harness.cluster import lifecycle
    from harness.config.commands import ndcl_command

    folder = to / name
    if from_storage or lifecycle.head_state(file, say) == "none":
        lifecycle.results_from_storage(file, name, to)
        _report(folder)
    else:
        lifecycle.results(file, name, folder, say)
    is_complete = _sync(name, to)
    say(f"results: {folder}; page: {folder / 'report.html'}")
    if not (folder / "models").is_dir():
        say(f"models: {ndcl_command('export', name, results=to, to=Path('models'))}")
    say(f"next: {ndcl_command('ui', results=to)}")
    return is_complete


def _report(folder: Path) -> None:
    """Write the report of what has come, which only the head had."""
    from harness.records import Journal

    records = Journal(folder).read()
    if records:
        show_comparison(folder, records)


def _sync(name: str, to: Path) -> bool:
    """Log the sweep to MLflow here; whether that has all of it now."""
    from harness.config.commands import ndcl_command
    from harness.tracking.sync import sync_sweep

    tracker = sync_sweep(to, name, say=partial(say, error=True))
    if tracker.problem:
        again = ndcl_command("sync", name, results=to)
        say(f"MLflow at {tracker.shown_uri} is not complete: {tracker.problem}; complete it with: {again}", error=True)
        return False
    refused = f" but what it refuses: {tracker.refusal}" if tracker.refusal else ""
    say(f"MLflow at {tracker.shown_uri} has all of sweep {name}{refused}")
    return True
