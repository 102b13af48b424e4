"""The `ndcl cluster` command: what is said about a cluster before it runs, and what an account needs for it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness import cli_cluster_life
from ndcl.errors import UserError

WRONG = 2
"""Exit code where anything is wrong with a cluster."""

cluster = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Clusters: check and price their YAML, prepare an account, and run sweeps on them.",
    epilog="Example: ndcl cluster check clusters/aws.yaml",
)

ClusterYaml = Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="A cluster, such as clusters/aws.yaml.")]
DEFAULT_AWS = Path("clusters/aws.yaml")


@cluster.command(epilog="Example: ndcl cluster check clusters/aws.yaml --offline")
def check(
    path: ClusterYaml,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the file only, not at the account.")] = False,
) -> None:
    """Find what is wrong with a cluster before it costs anything: a line each, with the remedy; exit code 2 if any.

    Looks at the file and, once that is right, at the account or the machines; nothing is changed.
    """
    from harness.cluster.check import findings_in_file, findings_outside
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    found = findings_in_file(file)
    if not found and not offline:
        found = list(findings_outside(file))
    for finding in found:
        typer.echo(f"{path}: {finding}")
    if found:
        typer.echo(f"{len(found)} finding{'s' if len(found) > 1 else ''}")
        raise typer.Exit(WRONG)
    typer.echo(f"{path}: nothing is wrong that {'the file tells' if offline else 'file and account tell'}")


@cluster.command(epilog="Example: ndcl cluster bootstrap aws --cidr 203.0.113.7/32")
def bootstrap(
    provider: Annotated[Literal["aws"], typer.Argument(metavar="aws", help="The cloud.")],
    path: Annotated[
        Path, typer.Option("--cluster", metavar="YAML", help="By whose names things are made.")
    ] = DEFAULT_AWS,
    cidr: Annotated[
        str | None, typer.Option("--cidr", metavar="A.B.C.D/32", help="Who may reach SSH; default: this machine.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="NAME", help="For results; default: CLUSTER-ACCOUNT-REGION.")
    ] = None,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take away what was made, but no results.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make what an AWS account needs, once: security group for you alone, roles with few rights, a bucket.

    Says first what it will do. Done again, it does only what is missing or has changed, such as your address.
    """
    from harness.cluster.aws.bootstrap import after, missing, own_address, removal
    from harness.cluster.aws.buckets import kept
    from harness.cluster.aws.session import answered, open_session
    from harness.cluster.aws.wanted import NOBODY, wanted_by
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    if file.kind != provider:
        raise UserError(f"{path}: it is a cluster of {file.kind}; give one of {provider} with --cluster")
    session = open_session(file.provider["region"])
    with answered():
        wanted = wanted_by(file, session, cidr or (NOBODY if destroy else own_address()), bucket)
        steps = removal(session, wanted) if destroy else missing(session, wanted, file)
        last = kept(session, wanted) if destroy else None
        typer.echo(f"AWS account {session.account.number}, {session.account.region}:")
        for step in steps:
            typer.echo(f"  {step.what}")
        if not steps:
            typer.echo("  nothing to do")
        elif not yes and not typer.confirm("go on?"):
            raise typer.Exit(1)
        for step in steps:
            step.do()
            typer.echo(f"done: {step.what}")
        for line in [last] if last else [] if destroy else after(session, wanted, file):
            typer.echo(line)


@cluster.command(epilog="Example: ndcl cluster cost search_spaces/pacs.yaml clusters/aws.yaml --seconds-per-step 0.25")
def cost(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep, such as search_spaces/pacs.yaml.")],
    path: ClusterYaml,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the sweep's; repeatable.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie.")] = Path("results"),
    seconds_per_step: Annotated[
        float | None, typer.Option("--seconds-per-step", metavar="S", min=0, help="Of a training on a worker's GPU.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of each kind of training here.")] = False,
    price: Annotated[
        list[str] | None, typer.Option("--price", metavar="TYPE=USD", help="Of an hour of a machine; repeatable.")
    ] = None,
) -> None:
    """Say what a sweep would take and cost on a cluster, and what the cluster can cost an hour at the worst.

    Speeds come from --seconds-per-step, --measure, or trials that have run; prices from clusters/prices.yaml.
    """
    from datetime import date

    from harness.cluster.cost import cost_lines, fleet_of
    from harness.cluster.files import read_cluster
    from harness.cluster.prices import parse_prices, read_prices
    from harness.config import load_sweep
    from harness.plan import make_plan
    from harness.plan_cost import Speed, kinds_of, recorded_speeds
    from harness.records import Journal

    prices = read_prices().with_prices(parse_prices(price or ()))
    fleet = fleet_of(read_cluster(path), prices)
    plan = make_plan(load_sweep(sweep, settings or ()), results)
    records = Journal(plan.folder).read()
    if seconds_per_step is not None:
        given = Speed(seconds_per_step=seconds_per_step)
        speeds = {kind: given for study in plan.studies for kind in kinds_of(study)}
    elif measure:
        from harness.measurement import measured_speeds

        speeds = dict(measured_speeds(plan))
    else:
        speeds = recorded_speeds(records)
    for line in cost_lines(plan, records, speeds, fleet, prices, date.today()):
        typer.echo(line)


cli_cluster_life.add_verbs(cluster)
