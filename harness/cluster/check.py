"""Everything that is wrong with a cluster's YAML, and, with credentials, with the account it would run in."""

from collections.abc import Iterable, Iterator

from harness.cluster import azure, gcp, kuberay, launcher, own_machines
from harness.cluster.aws import file_checks as aws
from harness.cluster.files import ClusterFile, Kind
from harness.cluster.findings import Check, Finding
from harness.cluster.ray_schema import against_schema
from ndcl.errors import UserError

OF_PROVIDER: dict[Kind, tuple[Check, ...]] = {
    "aws": aws.CHECKS,
    "gcp": gcp.CHECKS,
    "azure": azure.CHECKS,
    "local": own_machines.CHECKS,
}


def findings_in_file(file: ClusterFile) -> list[Finding]:
    """What the file alone tells, without the network.

    Where the shape is wrong, that alone is told: all else would follow from it.
    """
    is_kuberay = file.kind == "kuberay"
    wrong_shape = list(kuberay.against_model(file) if is_kuberay else against_schema(file))
    if wrong_shape:
        return wrong_shape
    checks = kuberay.CHECKS if is_kuberay else (*launcher.CHECKS, *OF_PROVIDER[file.kind])
    return _distinct(finding for check in checks for finding in check(file))


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


def _in_aws(file: ClusterFile) -> Iterator[Finding]:
    from harness.cluster.aws import account_checks
    from harness.cluster.aws.session import answered, open_session

    try:
        session = open_session(file.provider["region"])
    except UserError as error:
        yield _unanswered(error)
        return
    for check in account_checks.CHECKS:
        try:
            with answered():
                yield from list(check(session, file))
        except UserError as error:
            yield _unanswered(error)


def _unanswered(error: UserError) -> Finding:
    """What could not be looked at."""
    what, _, remedy = str(error).partition("; ")
    return Finding(where="account", what=what, remedy=remedy or "look into the account")


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))
