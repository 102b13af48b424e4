"""What is to be in an AWS account for a cluster, by the names in its YAML, and the mark by which it is known again."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.cluster.aws.policies import Account
from harness.cluster.files import PLACEHOLDER, ClusterFile
from harness.cluster.market import is_spot
from ndcl.errors import UserError

MARK = "ndcl-cluster"
"""The tag of all that bootstrap makes: nothing else is changed or deleted."""
NOBODY = "127.0.0.1/32"
"""Where nothing is to be opened."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of the account."""

    what: str
    do: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a cluster's YAML refers to."""

    cluster: str
    group: str
    """The security group."""
    head_role: str
    """Also the name of the instance profile."""
    worker_role: str
    bucket: str
    cidr: str
    """Who may reach SSH on the nodes."""
    placement_groups: tuple[str, ...] = ()
    has_spot: bool = True
    groups_by_id: bool = False
    """Whether the YAML names the security group by its id, and so one VPC alone."""
    key: str | None = None
    """The key pair to be made; None where the YAML names the user's own, or Ray is to make one."""
    boundary: str | None = None
    """ARN of the permissions boundary of both roles."""
    kms_key: str | None = None
    """ARN of the key by which bucket and disks are encrypted."""

    def __post_init__(self) -> None:
        if network_of(self.cidr).prefixlen == 0:
            raise UserError(f"--cidr {self.cidr}: that is everybody; give your own address, such as 203.0.113.7/32")

    @property
    def marks(self) -> list[dict[str, str]]:
        """Tags, as AWS takes them."""
        return [{"Key": MARK, "Value": self.cluster}]

    def is_ours(self, tags: Iterable[Mapping[str, str]]) -> bool:
        """Whether bootstrap made something for this cluster."""
        return self.marks[0] in tags

    def require_ours(self, tags: Iterable[Mapping[str, str]], what: str) -> None:
        """Raise UserError for what somebody else made under a name of ours."""
        if not self.is_ours(tags):
            raise UserError(
                f"AWS: {what} is there but was not made for cluster {self.cluster} by this command; give another name "
                "in the cluster's YAML, or delete it"
            )


def wanted_by(
    file: ClusterFile,
    account: Account,
    cidr: str,
    bucket: str | None = None,
    *,
    boundary: str | None = None,
    kms_key: str | None = None,
) -> Wanted:
    """Raises UserError if the YAML leaves a role to Ray, `cidr` is no range of addresses, or an ARN is none."""
    require_arn("--permissions-boundary", boundary, "iam")
    require_arn("--kms-key", kms_key, "kms")
    configs = {name: config for name, _, config in file.node_configs()}
    head = _profile(configs[file.head])
    workers = {_profile(config) for name, config in configs.items() if name != file.head}
    if head is None or len(workers) != 1 or None in workers:
        raise UserError(f"{file.path}: head and workers each need one IamInstanceProfile with a Name; see aws.yaml")
    placements = {config.get("Placement", {}).get("GroupName") for config in configs.values()} - {None}
    cluster = file.values["cluster_name"]
    return Wanted(
        cluster=cluster,
        group=(file.provider.get("security_group") or {}).get("GroupName", cluster),
        head_role=head,
        worker_role=str(workers.pop()),
        bucket=bucket or f"{cluster}-{account.number}-{account.region}",
        cidr=cidr,
        placement_groups=tuple(sorted(placements)),
        has_spot=any(is_spot({"node_config": config}) for config in configs.values()),
        groups_by_id=any("SecurityGroupIds" in config for config in configs.values()),
        key=_key(cluster, configs[file.head].get("KeyName")),
        boundary=boundary,
        kms_key=kms_key,
    )


def require_arn(option: str, value: str | None, service: str) -> None:
    """Raise UserError for what is no ARN of the service."""
    if value is not None and value.split(":")[:1] + value.split(":")[2:3] != ["arn", service]:
        example = "us-west-2:123456789012:key/1a2b" if service == "kms" else ":123456789012:policy/boundary"
        raise UserError(f"{option} {value}: it is no ARN of {service}; give one, such as arn:aws:{service}:{example}")


def _key(cluster: str, named: str | None) -> str | None:
    """The key pair that is made, named as the cluster; None for one of the user's own, and where Ray is to make it."""
    return cluster if named is not None and (PLACEHOLDER in named or named == cluster) else None


def network_of(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Raises UserError if it is no range of addresses."""
    try:
        return ipaddress.ip_network(cidr)
    except ValueError:
        raise UserError(f"--cidr {cidr}: it is no range of addresses; give one, such as 203.0.113.7/32") from None


def _profile(config: Mapping[str, Mapping[str, str]]) -> str | None:
    return (config.get("IamInstanceProfile") or {}).get("Name")
