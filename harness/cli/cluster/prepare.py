"""The `ndcl cluster` command: what is said about a cluster before it runs, and what an account needs for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.cluster.given_file import readable_cluster, right_cluster, shaped_cluster
from harness.cli.options import ClusterYaml, Results, Settings
from harness.records.places import DEFAULT_RESULTS
from harness.terminal.lines import say
from ndcl.errors import UserError
from ndcl.files import clear_write_errors, write_whole

if TYPE_CHECKING:
    from harness.cluster.files import ClusterFile

DEFAULT_AWS = Path("clusters/aws.yaml")


def check(
    path: ClusterYaml,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the file only, not at the account.")] = False,
) -> None:
    """Check a cluster before it costs anything: one line a finding, with the remedy; exit code 2 if there is any.

    Looks at the file and, once that is right, at the account or the machines; nothing is changed.
    """
    right_cluster(path, offline=offline)
    say(f"{path}: nothing is wrong that {'the file tells' if offline else 'file and account tell'}")


def bootstrap(
    provider: Annotated[Literal["aws"], typer.Argument(metavar="aws", help="The cloud.")],
    path: Annotated[
        Path, typer.Option("--cluster", metavar="YAML", help="By whose names things are made.")
    ] = DEFAULT_AWS,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="REGION", help="Default: the file's, or before that your AWS profile's."),
    ] = None,
    cidr: Annotated[
        str | None, typer.Option("--cidr", metavar="A.B.C.D/32", help="Who may reach SSH; default: this machine.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="NAME", help="For results; default: CLUSTER-ACCOUNT-REGION.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="Tag of what costs; default: you.")
    ] = None,
    boundary: Annotated[
        str | None, typer.Option("--permissions-boundary", metavar="ARN", help="Policy that limits both roles.")
    ] = None,
    kms_key: Annotated[
        str | None, typer.Option("--kms-key", metavar="ARN", help="Key that encrypts the bucket; default: S3's own.")
    ] = None,
    write: Annotated[
        bool | None, typer.Option("--write/--no-write", help="Write what was made into the YAML; default: ask.")
    ] = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Print the rights that you need, as JSON; do nothing.")
    ] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take away what was made, but no results.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; writes nothing without --write.")] = False,
) -> None:
    """Make what an AWS account needs, once: security group for you alone, roles with few rights, bucket, key, token.

    Says first what it will do. Done again, it does only what is missing or has changed, such as your address.
    """
    from harness.cluster.aws import bootstrap as aws
    from harness.cluster.aws.buckets import kept
    from harness.cluster.aws.desired_state import NOBODY, wanted_by
    from harness.cluster.aws.session import answered, open_session

    file = readable_cluster(path)
    if file.kind != provider:
        raise UserError(f"{path}: it is a cluster of {file.kind}; give one of {provider} with --cluster")
    place = aws.region_of(file, region)
    if policy:
        _print_policy(file, place, bucket)
        return
    session = open_session(place)
    with answered():
        cidr = cidr or (NOBODY if destroy else aws.own_address())
        wanted = wanted_by(file, session.account, cidr, bucket, boundary=boundary, kms_key=kms_key)
        steps = aws.removal(session, wanted) if destroy else aws.missing(session, wanted, file)
        last = kept(session, wanted) if destroy else None
        say(f"AWS account {session.account.number}, {session.account.region}:")
        for step in steps:
            say(f"  {step.what}")
        if not steps:
            say("  nothing to do")
        elif not yes and not typer.confirm("go on?"):
            raise typer.Exit(1)
        for step in steps:
            step.do()
            say(f"done: {step.what}")
        if destroy:
            if last:
                say(last)
            return
        is_written = _written(path, file.text, aws.prepared(session, wanted, file, owner), write, yes)
        for line in aws.after(session, wanted, file, is_written):
            say(line)


def _print_policy(file: "ClusterFile", region: str, bucket: str | None) -> None:
    """On stdout as JSON alone."""
    from harness.cluster.aws.bootstrap import needed_rights
    from harness.cluster.aws.desired_state import NOBODY, wanted_by
    from harness.cluster.aws.session import NO_CREDENTIALS, UNKNOWN_ACCOUNT, account_of

    account = account_of(region)
    for line in needed_rights(account, wanted_by(file, account, NOBODY, bucket)).splitlines():
        say(line)
    if account.number == UNKNOWN_ACCOUNT:
        say(f"{NO_CREDENTIALS}; or put the account's number in place of {UNKNOWN_ACCOUNT} above", error=True)


def _written(path: Path, old: str, new: str, write: bool | None, yes: bool) -> bool:
    """Show how the YAML changes, and change it if that is wanted; whether it is as it should be then."""
    if new == old:
        return True
    say(f"{path}:")
    for before, after in zip(old.splitlines(), new.splitlines(), strict=True):
        if before != after:
            say(f"  - {before.strip()}")
            say(f"  + {after.strip()}")
    if write is None:
        write = not yes and typer.confirm(f"write this into {path}?")
    if write:
        with clear_write_errors(path):
            write_whole(path, new)
        say(f"written: {path}")
    return write


def cost(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep, such as search_spaces/pacs.yaml.")],
    path: ClusterYaml,
    settings: Settings = None,
    results: Results = DEFAULT_RESULTS,
    seconds_per_step: Annotated[
        float | None,
        typer.Option("--seconds-per-step", metavar="S", min=0, help="Of one step of a training on a worker's GPU."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time a few steps of each kind of training here.")] = False,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="TYPE=USD", help="Price of a machine for an hour; repeatable."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask AWS for the prices of now, with your credentials; for nothing else.")
    ] = False,
) -> None:
    """Estimate time and price of a sweep on a cluster, and the most that the cluster can cost an hour.

    Speeds come from --seconds-per-step, --measure, or trials that have run; prices from clusters/prices.yaml, or
    of now with --live.
    """
    from datetime import date

    from harness.cluster.cost import cost_lines, fleet_of, given_prices
    from harness.cluster.job_inputs import require_inputs
    from harness.cluster.live_prices import with_live_prices
    from harness.cluster.prices import read_prices
    from harness.config import load_sweep
    from harness.plan import make_plan
    from harness.plan.cost import Speed, kinds_of, recorded_speeds
    from harness.records import Journal

    file, config, prices = shaped_cluster(path), load_sweep(sweep, settings or ()), read_prices()
    if live:
        prices = with_live_prices(prices, file)
    prices = prices.with_prices(given_prices(file, price or ()))
    fleet, plan = fleet_of(file, prices), make_plan(config, results)
    records = Journal(plan.folder).read()
    if seconds_per_step is not None:
        given = Speed(seconds_per_step=seconds_per_step)
        speeds = {kind: given for study in plan.studies for kind in kinds_of(study).values()}
    elif measure:
        from harness.plan.measure import measured_speeds

        speeds = dict(measured_speeds(plan, alone=True))
    else:
        speeds = recorded_speeds(records)
    for line in cost_lines(plan, records, speeds, fleet, prices, date.today()):
        say(line)
    require_inputs(file, config, say)  # last, so that a price is known before anything is uploaded
