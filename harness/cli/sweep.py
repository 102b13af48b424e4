"""`ndcl sweep`: run a sweep to its end, and report its result."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import (
    Address,
    Fresh,
    OnNewData,
    Quiet,
    Results,
    Settings,
    StoragePlace,
    SweepFile,
    TakeOver,
    planned,
)
from harness.cli.report import show_comparison
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.sweep.run import SweepResult

TRACKING_TIMEOUT_SECONDS = 60


def run_a_sweep(
    sweep: SweepFile,
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    address: Address = None,
    storage: StoragePlace = None,
    take_over: TakeOver = False,
    fresh: Fresh = False,
    on_new_data: OnNewData = None,
    quiet: Quiet = False,
) -> None:
    """Run a sweep to its end, or resume it; then compare the algorithms.

    Ctrl-C stops it cleanly; the same command resumes where it was, with --storage also on another machine.
    """
    from harness.cli.progress import Progress
    from harness.plan.fit import require_fit
    from harness.terminal.terminal import console_of

    made = planned(sweep, settings, results, on_new_data)
    if take_over and not storage:
        raise UserError(
            "--take-over: only a sweep with --storage is taken over; stop the other process, or wait for it"
        )
    if address is None:
        require_fit(made)
    from harness.storage import Storage
    from harness.sweep.run import run_sweep  # imports Ray, after the plan has been found right

    place = Storage(storage, made.name) if storage else None
    with Progress(console_of(error=True), quiet=quiet) as progress:
        result = run_sweep(made, progress, fresh=fresh, address=address, storage=place, take_over=take_over)
    _show_result(made, result)
    if result.problems:
        raise typer.Exit(1)


def _show_result(made: "Plan", result: "SweepResult") -> None:
    from harness.cli.progress import failure_lines
    from harness.config.commands import ndcl_command
    from harness.config.tracking_uri import store_uri, tracking_uri, without_secrets
    from harness.state.selected_models import gone_checkpoints

    show_comparison(made.folder, result.records)
    for line in failure_lines(result.records):
        say(line)
    for line in result.problems:
        say(line)
    if any(study.reason for study in result.studies):
        say(f"failed trials are not tried again; once the cause is mended, start anew with: {made.command} --fresh")
    problem = result.tracking_problem or _report_problem(made)
    if problem:
        again = ndcl_command("sync", made.name, results=made.results)
        say(f"MLflow is not complete: {problem}; complete it with: {again}")
    if result.tracking_refusal:
        say(f"MLflow refuses {result.tracking_refusal}; the journal has it")
    say(f"results: {made.results / made.name}")
    uri = tracking_uri(made.results, made.tracking_uri)
    is_ours = uri == store_uri(made.results)
    gone = gone_checkpoints(
        made.results / made.name, result.records, max((study.top_k for study in made.studies), default=1)
    )
    if gone:
        say(f"warning: {gone}")
    elif any(record.state == "finished" for record in result.records):
        say(f"models: {ndcl_command('export', made.name, results=made.results, to=Path('models'))}")
        if made.is_for_deployment:
            place = ndcl_command("deploy", made.name, results=made.results, to=Path("model"))
            say(f"one model of all domains, for a site without labels: {place}")
    say(f"next: {ndcl_command('ui', results=made.results)}" if is_ours else f"MLflow: {without_secrets(uri)}")


def _report_problem(made: "Plan") -> str | None:
    """Log the report that was just written; returns why that failed, or None."""
    from harness.tracking.sync import sync_report

    return sync_report(made.results, made.name, TRACKING_TIMEOUT_SECONDS).problem
