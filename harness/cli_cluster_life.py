"""The verbs of `ndcl cluster` that bring a sweep onto a cluster and home again, by Ray's commands, which they show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli_sweeps import sweep_name

if TYPE_CHECKING:
    from harness.cluster.files import ClusterFile

ClusterYaml = Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="A cluster, such as clusters/aws.yaml.")]
Sweep = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name or its YAML file.")]
Job = Annotated[str | None, typer.Argument(metavar="JOB", help="A job's name; default: the newest.")]


def add_verbs(cluster: typer.Typer) -> None:
    """Put this module's verbs on the `ndcl cluster` command."""
    cluster.command(epilog="Example: ndcl cluster up clusters/aws.yaml")(up)
    cluster.command(epilog="Example: ndcl cluster submit clusters/aws.yaml search_spaces/pacs.yaml")(submit)
    cluster.command(epilog="Example: ndcl cluster status clusters/aws.yaml pacs")(status)
    cluster.command(epilog="Example: ndcl cluster logs clusters/aws.yaml")(logs)
    cluster.command(epilog="Example: ndcl cluster stop clusters/aws.yaml")(stop)
    cluster.command(epilog="Example: ndcl cluster results clusters/aws.yaml pacs")(results)
    cluster.command(epilog="Example: ndcl cluster down clusters/aws.yaml")(down)


def up(path: ClusterYaml) -> None:
    """Start a cluster, or bring it to what its file says, and see that its head can do what it must."""
    from harness.cluster import life

    life.up(_cluster(path), _say)


def submit(
    path: ClusterYaml,
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep, such as search_spaces/pacs.yaml.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the file's; repeatable.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left, and start anew.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Stop who runs it elsewhere on the same metadata.results.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not show what the job prints.")] = False,
) -> None:
    """Send code and sweep to the head, and run the sweep there as a Ray job, or go on with it.

    The job goes on when this machine sleeps. After the head's loss, up and submit again go on where it was.
    """
    from harness.cluster import life
    from harness.config import load_sweep

    file, name = _cluster(path), load_sweep(sweep, settings or ()).name
    options = [word for setting in settings or () for word in ("--set", setting)]
    options += ["--fresh"] * fresh + ["--take-over"] * take_over
    job = life.submit(file, sweep, name, options, _say)
    if not detach:
        life.follow(file, job, _say)


def status(
    path: ClusterYaml,
    sweep: Annotated[str | None, typer.Argument(metavar="SWEEP", help="Also how far this sweep is.")] = None,
) -> None:
    """Show a cluster's nodes, and how far a sweep is."""
    from harness.cluster import life

    life.status(_cluster(path), sweep_name(sweep) if sweep else None, _say)


def logs(
    path: ClusterYaml,
    job: Job = None,
    follow: Annotated[bool, typer.Option("--follow/--once", help="Until it ends; or what there is now.")] = True,
) -> None:
    """Show what a job prints, from its beginning on; Ctrl-C stops looking, not the job."""
    from harness.cluster import life

    file = _cluster(path)
    (life.follow if follow else life.show)(file, job or life.newest_job(file, None, _say), _say)


def stop(path: ClusterYaml, job: Job = None) -> None:
    """End a job; submitted again, its sweep goes on."""
    from harness.cluster import life

    file = _cluster(path)
    life.stop(file, job or life.newest_job(file, None, _say), _say)


def results(
    path: ClusterYaml,
    sweep: Sweep,
    to: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie here.")] = Path("results"),
    without_head: Annotated[
        bool, typer.Option("--from-storage", help="From metadata.results, with this machine's credentials.")
    ] = False,
) -> None:
    """Bring a sweep's report, journal and selected models home, also while it runs."""
    from harness.cluster import life

    file, name = _cluster(path), sweep_name(sweep)
    if without_head:
        life.results_from_storage(file, name, to, _say)
    else:
        life.results(file, name, to / name, _say)


def down(path: ClusterYaml) -> None:
    """End a cluster, and look whether anything that costs, or any process of Ray's, is left; exit code 2 if so."""
    from harness.cluster import life

    life.down(_cluster(path), _say)


def _cluster(path: Path) -> "ClusterFile":
    from harness.cluster.files import read_cluster

    return read_cluster(path)


def _say(line: str) -> None:
    typer.echo(line)
