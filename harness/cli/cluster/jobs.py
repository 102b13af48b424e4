"""The verbs of `ndcl cluster` that run a sweep on a cluster, by Ray's commands, which are shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.cluster.given_file import prepared_cluster, reachable_cluster, require_right
from harness.cli.cluster.results import bring_home
from harness.cli.options import INTERRUPTED, ClusterYaml, Fresh, Settings, SweepFile, given_sweep
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.cluster.files import ClusterFile
    from harness.cluster.following import Outcome

Job = Annotated[str | None, typer.Argument(metavar="JOB", help="A job's name; default: the newest.")]


def up(
    path: ClusterYaml,
    check: Annotated[bool, typer.Option("--check/--no-check", help="First look for what is wrong.")] = True,
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="Update the cluster around a job that runs; Ray is not restarted.")
    ] = False,
) -> None:
    """Check a cluster, start or update it, and check its head; not while a job runs there."""
    from harness.cluster import lifecycle
    from harness.cluster.aws.session import require_credentials
    from harness.cluster.files import LAUNCHED_BY_RAY

    file = prepared_cluster(path)
    if check and file.kind in LAUNCHED_BY_RAY:
        require_right(file)
    require_credentials(file)
    lifecycle.up(file, say, no_restart=no_restart)


def submit(
    path: ClusterYaml,
    sweep: SweepFile,
    settings: Settings = None,
    fresh: Fresh = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Stop another process that runs it on the same metadata.results.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="USD", min=0.01, help="Stop the sweep once the cluster has cost so much."),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="TYPE=USD", help="Price of a machine for an hour, for --budget; repeatable."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not show what the job prints.")] = False,
    then_down: Annotated[
        bool, typer.Option("--then-down", help="At the job's end copy its results here, and end the cluster.")
    ] = False,
    to: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Where all results lie here, for --then-down.")
    ] = DEFAULT_RESULTS,
) -> None:
    """Send code and sweep to the head, and run the sweep there as a Ray job, or resume it.

    Exit code: that of the sweep; 130 if it was stopped, or after Ctrl-C, which stops the display alone. The job
    continues when this machine sleeps. After the head's loss, up and submit again resume where it was.
    """
    from harness.cluster.aws.session import require_credentials
    from harness.cluster.budget import budget_options
    from harness.cluster.following import submit as submit_job
    from harness.cluster.job_inputs import require_inputs
    from harness.config import load_sweep
    from harness.plan.own_modules import own_modules

    if detach and then_down:
        raise UserError("--then-down: the job's end is seen by following it; leave out --detach")
    file, config = prepared_cluster(path), load_sweep(sweep, settings or ())
    watch = budget_options(file, budget, price or ())
    require_credentials(file)
    require_inputs(file, config, say)
    options = [word for setting in settings or () for word in ("--set", setting)]
    options += ["--fresh"] * fresh + ["--take-over"] * take_over
    modules = own_modules(spec.algorithm or label for label, spec in config.algorithms.items())
    job = submit_job(file, sweep, config.name, options, say, watch, modules)
    if detach:
        return
    outcome = _followed(file, job, then_down=then_down)
    is_complete = _end(file, config.name, to, outcome) if then_down else True
    raise typer.Exit(outcome.code or int(not is_complete))


def status(
    path: ClusterYaml,
    sweep: Annotated[str | None, typer.Argument(metavar="SWEEP", help="Also how far this sweep is.")] = None,
) -> None:
    """Show a cluster's nodes, and how far a sweep is."""
    from harness.cluster import lifecycle

    lifecycle.status(reachable_cluster(path), given_sweep(sweep, DEFAULT_RESULTS)[0] if sweep else None, say)


def logs(
    path: ClusterYaml,
    job: Job = None,
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Follow until it ends, or print what there is.")
    ] = True,
) -> None:
    """Print what a job prints, from its beginning, and exit as it does; Ctrl-C stops the display, not the job."""
    from harness.cluster import lifecycle
    from harness.cluster.following import newest

    file = reachable_cluster(path)
    job = job or newest(file, None, say)
    if not follow:
        lifecycle.show(file, job, say)
        return
    raise typer.Exit(_followed(file, job).code)


def stop(path: ClusterYaml, job: Job = None) -> None:
    """Stop a job; submit it again to resume its sweep."""
    from harness.cluster import lifecycle
    from harness.cluster.following import newest

    file = reachable_cluster(path)
    lifecycle.stop(file, job or newest(file, None, say), say)


def ui(path: ClusterYaml) -> None:
    """Open MLflow and dashboard of a cluster at free ports of this machine; Ctrl-C closes them, and ends no job."""
    from harness.cli.browser import open_when_served
    from harness.cluster.pages import show_pages

    show_pages(reachable_cluster(path), open_when_served, say)


def down(path: ClusterYaml) -> None:
    """End a cluster, and report what is left of it; exit code 2 if anything is."""
    from harness.cluster import lifecycle

    lifecycle.down(reachable_cluster(path), say)


def _followed(file: "ClusterFile", job: str, *, then_down: bool = False) -> "Outcome":
    """Follow a job to its end. Whoever wanted the cluster's end then is told where it does not come."""
    from harness.cluster.following import follow
    from harness.config.commands import ndcl_command

    stays = f"the cluster stays up, and costs until: {ndcl_command('cluster', 'down', file.path)}"
    try:
        return follow(file, job, say)
    except KeyboardInterrupt:
        if then_down:
            say(stays)
        raise typer.Exit(INTERRUPTED) from None
    except UserError as error:
        raise UserError(f"{error}; {stays}" if then_down else str(error)) from None


def _end(file: "ClusterFile", name: str, to: Path, outcome: "Outcome") -> bool:
    """Copy the results here and end the cluster; whether the results are complete."""
    from harness.cluster import lifecycle
    from harness.cluster.commands import storage_of
    from harness.config.commands import ndcl_command

    down = ndcl_command("cluster", "down", file.path)
    if outcome.others:
        raise UserError(f"the cluster stays up, since {', '.join(outcome.others)} still run there; end it with: {down}")
    is_complete = False
    try:
        is_complete = bring_home(file, name, to)
    except UserError as error:
        if not storage_of(file):
            raise UserError(f"{error}; the cluster stays up, since nothing else has the results; {down}") from None
        again = f"{ndcl_command('cluster', 'results', file.path, name, results=to)} --from-storage"
        say(f"{error}; {storage_of(file)} has what there is of them: {again}")
    lifecycle.down(file, say)
    return is_complete
