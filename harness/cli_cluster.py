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

    Looks at the file and, with credentials, at the account; nothing is changed.
    """
    from harness.cluster.check import findings_in_file, findings_outside
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    found = findings_in_file(file)
    if not offline:
        found += findings_outside(file)
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
    from harness.cluster.aws.wanted import wanted_by
    from harness.cluster.files import read_cluster

    file = read_cluster(path)
    if file.kind != provider:
        raise UserError(f"{path}: it is a cluster of {file.kind}; give one of {provider} with --cluster")
    session = open_session(file.provider["region"])
    with answered():
        wanted = wanted_by(file, session, cidr or own_address(), bucket)
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


cli_cluster_life.add_verbs(cluster)
