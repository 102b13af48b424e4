"""The `ndcl` command. Each verb reads its input, calls what does the work, and prints.

Ray, torch and MLflow take seconds to import, so that each verb imports what it needs.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from harness import cli_models
from harness.cli_cluster import cluster
from harness.cli_data import data
from harness.cli_sweeps import recorded_sweep, sweep_name
from harness.tracking_uri import artifact_folder, store_uri, tracking_uri, without_secrets
from ndcl.errors import NonFiniteLossError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.plan import Plan
    from harness.plan_cost import Kind, Speed
    from harness.records import TrialRecord
    from harness.sweep import SweepResult
    from ndcl.config import TrainConfig

TRACKING_TIMEOUT_SECONDS = 60
WRONG_INPUT, INTERRUPTED = 2, 130
"""Exit codes: something the user gave is wrong; stopped by Ctrl-C or SIGTERM."""


class Verbs(TyperGroup):
    """The commands, with a user's mistake as one line and an interruption as exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for."""
        try:
            return super().invoke(ctx)
        except (UserError, NonFiniteLossError) as error:
            typer.echo(f"ndcl: error: {' '.join(str(error).split())}", err=True)
            ctx.exit(WRONG_INPUT)
        except KeyboardInterrupt:
            typer.echo("ndcl: stopped; the same command goes on from where it was", err=True)
            ctx.exit(INTERRUPTED)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="NDCL for imbalanced domain generalization: search, train, compare.",
    epilog="Example: ndcl sweep search_spaces/digits.yaml",
)

app.add_typer(data, name="data")
app.add_typer(cluster, name="cluster")

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep, such as search_spaces/digits.yaml.")]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name or its YAML file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the file's; repeatable.")
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left, and start anew.")]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="Run trials on this Ray cluster; auto: the one of this machine."),
]
StoragePlace = Annotated[
    str | None,
    typer.Option("--storage", metavar="PLACE", help="Also keep the sweep in this shared folder or URI (s3://, gs://)."),
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Stop who runs it with this storage elsewhere.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
DEFAULT_RESULTS = Path("results")


@app.command(epilog="Example: ndcl plan search_spaces/pacs.yaml --measure --price-per-gpu-hour 2.50")
def plan(
    sweep: SweepFile,
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of each kind of training here.")] = False,
    per_gpu_hour: Annotated[float, typer.Option("--price-per-gpu-hour", metavar="USD", min=0, help="Of a GPU.")] = 0.0,
    per_cpu_hour: Annotated[float, typer.Option("--price-per-cpu-hour", metavar="USD", min=0, help="Of a core.")] = 0.0,
) -> None:
    """Show what a sweep would run, what of it is done, and what the rest costs."""
    from rich.console import Console

    from harness.machine import fit
    from harness.plan_cost import recorded_speeds
    from harness.plan_view import Prices, cost_lines, plan_table, plan_totals
    from harness.records import Journal

    made = _plan(sweep, settings, results)
    records = Journal(made.folder).read()
    Console().print(plan_table(made, records))
    typer.echo(plan_totals(made, records))
    speeds = _measured(made) if measure else recorded_speeds(records)
    prices = Prices(per_cpu_hour=per_cpu_hour, per_gpu_hour=per_gpu_hour)
    for line in cost_lines(made, records, speeds, fit(made), prices):
        typer.echo(line)


@app.command(name="sweep", epilog="Example: ndcl sweep search_spaces/digits.yaml --results results")
def run_a_sweep(
    sweep: SweepFile,
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    address: Address = None,
    storage: StoragePlace = None,
    take_over: TakeOver = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Run a sweep to its end, or go on with it; then compare the algorithms.

    Ctrl-C stops it cleanly; the same command goes on from where it was, with --storage also on another machine.
    """
    from rich.console import Console

    from harness.progress import Progress

    made = _plan(sweep, settings, results)
    if take_over and not storage:
        raise UserError(
            "--take-over: only a sweep with --storage is taken over; stop the other process, or wait for it"
        )
    from harness.storage import Storage
    from harness.sweep import run_sweep  # imports Ray, after the plan has been found right

    place = Storage(storage, made.name) if storage else None
    with Progress(Console(stderr=True), quiet=quiet) as progress:
        result = run_sweep(made, progress, fresh=fresh, address=address, storage=place, take_over=take_over)
    _show_result(made, result)
    if any(study.stage == "stopped" for study in result.studies):
        raise typer.Exit(1)


@app.command(epilog="Example: ndcl train config.yaml --set algorithm.alpha=0.5 --set seed=1")
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="One training: the keys of a TrainConfig.")],
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that train together.")] = 1,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Train once, in this process or on several workers; the same command goes on with a training that was stopped."""
    from harness.progress import evaluation_line, result_line
    from harness.single import load_training
    from harness.sweep_folder import writable

    loaded = load_training(config, settings or ())
    folder = results / "train" / config.stem
    evaluations = []
    with writable(folder):
        for evaluation in _trained(loaded, folder, workers, fresh):
            evaluations.append(evaluation)
            if not quiet:
                typer.echo(evaluation_line(evaluation, loaded.num_steps), err=True)
    typer.echo(result_line(evaluations))
    typer.echo(f"checkpoint and evaluations: {folder}")


@app.command(epilog="Example: ndcl status digits --watch")
def status(
    name: SweepName,
    results: Results = DEFAULT_RESULTS,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds, until it has ended.")] = False,
) -> None:
    """Show how far a sweep is, from any shell, while it runs or afterwards; nothing is written."""
    from rich.console import Console

    from harness.status import read_status
    from harness.status_view import status_view, watched

    console, name = Console(), sweep_name(name)
    if watch:
        watched(console, lambda: read_status(results, name))
    else:
        console.print(status_view(read_status(results, name)), soft_wrap=True)


@app.command(epilog="Example: ndcl report digits --results results")
def report(
    name: SweepName,
    results: Results = DEFAULT_RESULTS,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="ALGORITHM", help="What all others are compared with.")
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also draw PDF and PNG figures for a paper.")] = False,
) -> None:
    """Show the comparison of a sweep that has run or is running; write report.html, .md, .tex and .json beside it."""
    folder, records = recorded_sweep(name, results)
    _compare(folder, records, reference, figures=figures)
    typer.echo(f"page: {folder / 'report.html'}")


@app.command(epilog="Example: ndcl ui --results results --port 5000")
def ui(
    results: Results = DEFAULT_RESULTS,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on the results, for this machine alone; Ctrl-C ends it."""
    store = results / "mlflow.db"
    if not store.is_file():
        raise UserError(f"there is no MLflow store in {results}; run a sweep first, or give --results")
    for database in sorted(results.glob("*/optuna.db")):
        typer.echo(f"Optuna (pip install optuna-dashboard): optuna-dashboard sqlite:///{database}")
    typer.echo(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it)")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store_uri(results)]
    command += ["--default-artifact-root", artifact_folder(results).as_uri()]
    os.execv(sys.executable, command)


@app.command(epilog="Example: ndcl sync digits")
def sync(name: SweepName, results: Results = DEFAULT_RESULTS) -> None:
    """Bring MLflow to what a sweep's folder says, after its server was away, or on another server.

    The sweep does the same while it runs. Exit code 1 if something is left to do.
    """
    from harness.sync import sync_sweep

    name = sweep_name(name)
    tracker = sync_sweep(results, name)
    if tracker.problem:
        typer.echo(f"MLflow at {tracker.shown_uri} is not complete: {tracker.problem}; run this again", err=True)
        raise typer.Exit(1)
    typer.echo(f"MLflow at {tracker.shown_uri} has all of sweep {name}")


cli_models.add_verbs(app)


def _plan(sweep: Path, settings: list[str] | None, results: Path) -> "Plan":
    from harness.config import load_sweep
    from harness.plan import make_plan

    return make_plan(load_sweep(sweep, settings or ()), results)


def _trained(config: "TrainConfig", folder: Path, workers: int, fresh: bool) -> "Iterator[dict[str, Any]]":
    if workers == 1:
        from harness.single import run_training

        return run_training(config, folder, fresh=fresh)
    from harness.distributed_single import run_on_workers  # imports Ray

    return run_on_workers(config, folder, workers, fresh=fresh)


def _measured(made: "Plan") -> "dict[Kind, Speed]":
    from harness.measurement import measured_speeds
    from harness.plan_view import speed_line

    speeds = {}
    for kind, speed in measured_speeds(made):
        typer.echo(speed_line(kind, speed))
        speeds[kind] = speed
    return speeds


def _show_result(made: "Plan", result: "SweepResult") -> None:
    from harness.progress import failure_lines

    _compare(made.folder, result.records)
    for line in failure_lines(result.records):
        typer.echo(line)
    for study in result.studies:
        if study.reason:
            typer.echo(f"study {study.key.name} was stopped: {study.reason}")
    where = "" if made.results == DEFAULT_RESULTS else f" --results {made.results}"
    problem = result.tracking_problem or _report_problem(made)
    if problem:
        typer.echo(f"MLflow is not complete: {problem}; complete it with: ndcl sync {made.name}{where}")
    typer.echo(f"results: {made.folder}")
    uri = tracking_uri(made.results, made.tracking_uri)
    is_ours = uri == store_uri(made.results)
    typer.echo(f"next: ndcl ui{where}" if is_ours else f"MLflow: {without_secrets(uri)}")


def _report_problem(made: "Plan") -> str | None:
    """Log the report, which has just been written; why that could not be done, if so."""
    from harness.sync import sync_report

    return sync_report(made.results, made.name, TRACKING_TIMEOUT_SECONDS).problem


def _compare(
    folder: Path, records: "list[TrialRecord]", reference: str | None = None, *, figures: bool = False
) -> None:
    from rich.console import Console

    from harness.report import to_console
    from harness.report_files import compare_sweep, write_report

    comparison = compare_sweep(folder, records, reference)
    Console().print(to_console(comparison))
    details = write_report(folder, comparison, records)
    if figures:
        from harness.report_figures import FOLDER, write_figures

        write_figures(folder / FOLDER, comparison, details)
        typer.echo(f"figures: {folder / FOLDER}")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
