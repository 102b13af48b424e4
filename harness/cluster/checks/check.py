"""Everything that is wrong with a cluster's YAML, and, with credentials, with the account it would run in."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.cluster.checks import aws_file as aws
from harness.cluster.checks import azure, gcp, kuberay, launcher_yaml, own_machines, programs, sky, slurm
from harness.cluster.checks.findings import Check, Finding, merged
from harness.cluster.checks.ray_schema import against_schema
from harness.cluster.files import ClusterFile, Kind
from harness.config.commands import ndcl_command
from ndcl.errors import UserError

MENDED_AT_ONCE = 3
"""Findings with the same command as remedy, from which on they are told as one."""
OF_PROVIDER: dict[Kind, tuple[tuple[Check, ...], tuple[Check, ...]]] = {
    "aws": (aws.SHAPE, aws.CHECKS),
    "gcp": (gcp.SHAPE, gcp.CHECKS),
    "azure": (azure.SHAPE, azure.CHECKS),
    "local": (own_machines.SHAPE, own_machines.CHECKS),
}
"""What tells whether the provider would read a file as it was meant, and what is looked at then."""
STRUCTURE: dict[Kind, tuple[Check, ...]] = {
    "aws": aws.STRUCTURE,
    "gcp": gcp.STRUCTURE,
    "azure": azure.STRUCTURE,
    "local": own_machines.STRUCTURE,
}
"""What Ray and every verb read beside Ray's schema; nothing by a list of names, which is never complete."""


def findings_in_file(file: ClusterFile) -> list[Finding]:
    """What the file alone tells, without the network.

    Where the shape is wrong, that alone is reported: all else would follow from it.
    """
    if not file.is_prepared:
        return [unprepared(file)]
    return _first(_stages(file.kind), file)


def structure_of(file: ClusterFile) -> list[Finding]:
    """What keeps Ray and the verbs from reading a file at all, also one that bootstrap has not filled in."""
    return _first((_stages(file.kind)[0], STRUCTURE.get(file.kind, ())), file)


def shape_of(file: ClusterFile) -> list[Finding]:
    """What all else that follows from a file, such as its price, takes for granted; placeholders are allowed."""
    return _first(_stages(file.kind)[:-1], file)


def _first(stages: Iterable[tuple[Check, ...]], file: ClusterFile) -> list[Finding]:
    """The findings of the first stage that has any."""
    for stage in stages:
        if found := merged(finding for check in stage for finding in check(file)):
            return found
    return []


def unprepared(file: ClusterFile) -> Finding:
    """What is to be said of a file that bootstrap has not filled in yet."""
    other = () if file.path == Path("clusters/aws.yaml") else ("--cluster", file.path)
    command = ndcl_command("cluster", "bootstrap", file.kind, *other, "--write")
    return Finding(where="provider.type", what="the account and this file are not prepared yet", remedy=command)


def _stages(kind: Kind) -> tuple[tuple[Check, ...], ...]:
    """Checks that are made one group after another, each if the one before has found nothing."""
    match kind:
        case "kuberay":
            return (kuberay.against_model,), kuberay.CHECKS
        case "sky":
            return sky.SHAPE, sky.CHECKS
        case "slurm":
            return (slurm.SHAPE,)
    shape, checks = OF_PROVIDER[kind]
    return (against_schema,), (launcher_yaml.lost_settings, *shape), (*launcher_yaml.CHECKS, *checks)


def findings_outside(file: ClusterFile) -> Iterator[Finding]:
    """What credentials, account or machines tell: they are looked at, and nothing is changed."""
    match file.kind:
        case "aws":
            yield from _in_aws(file)
        case "gcp":
            yield from gcp.credentials(file)
        case "azure":
            yield from azure.credentials(file)
        case "local":
            yield from own_machines.reachable(file)
        case "kuberay":
            yield from programs.kubernetes(file)
        case "slurm":
            yield from programs.slurm(file)
        case "sky":
            yield from sky.by_its_own_loader(file)


def notes_outside(file: ClusterFile) -> Iterator[str]:
    """What the account tells that is not wrong: how likely spot capacity is. Nothing where it may not be asked."""
    if file.kind != "aws":
        return
    from harness.cluster.aws.session import open_session
    from harness.cluster.checks.aws_spot import placement_notes

    yield from placement_notes(open_session(file.provider["region"]), file)


def _in_aws(file: ClusterFile) -> Iterator[Finding]:
    from harness.cluster.aws.session import answered, open_session
    from harness.cluster.checks import aws_account

    try:
        session = open_session(file.provider["region"])
    except UserError as error:
        yield _unanswered(error)
        return
    found: list[Finding] = []
    for check in (*aws_account.CHECKS, *aws_account.LAST):
        if check in aws_account.LAST and found:
            break
        try:
            with answered():
                found += check(session, file)
        except UserError as error:
            found.append(_unanswered(error))
    yield from merged(_as_one(found, aws_account.bootstrap(file)))


def _as_one(findings: list[Finding], remedy: str) -> list[Finding]:
    """What one command mends as one finding: mostly it was never run, or not since the file was changed."""
    alike = list(dict.fromkeys(finding.what for finding in findings if finding.remedy == remedy))
    if len(alike) < MENDED_AT_ONCE:
        return findings
    what = f"bootstrap makes what is missing: {', '.join(alike)}"
    return [
        *(finding for finding in findings if finding.remedy != remedy),
        Finding(where="account", what=what, remedy=remedy),
    ]


def _unanswered(error: UserError) -> Finding:
    """What could not be looked at."""
    what, _, remedy = str(error).partition("; ")
    return Finding(where="account", what=what, remedy=remedy or "look into the account")
