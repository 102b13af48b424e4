"""What is to be in an AWS account for a cluster, by the names in its YAML, and the mark by which it is known again."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.cluster.aws.session import Session
from harness.cluster.files import ClusterFile
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


def wanted_by(file: ClusterFile, session: Session, cidr: str, bucket: str | None) -> Wanted:
    """Raises UserError if the YAML leaves a role to Ray, or `cidr` is no range of addresses."""
    configs = {name: config for name, _, config in file.node_configs()}
    head = _profile(configs[file.head])
    workers = {_profile(config) for name, config in configs.items() if name != file.head}
    if head is None or len(workers) != 1 or None in workers:
        raise UserError(f"{file.path}: head and workers each need one IamInstanceProfile with a Name; see aws.yaml")
    placements = {config.get("Placement", {}).get("GroupName") for config in configs.values()} - {None}
    cluster, account = file.values["cluster_name"], session.account
    return Wanted(
        cluster=cluster,
        group=(file.provider.get("security_group") or {}).get("GroupName", cluster),
        head_role=head,
        worker_role=str(workers.pop()),
        bucket=bucket or f"{cluster}-{account.number}-{account.region}",
        cidr=cidr,
        placement_groups=tuple(sorted(placements)),
        has_spot=any("InstanceMarketOptions" in config for config in configs.values()),
    )


def network_of(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Raises UserError if it is no range of addresses."""
    try:
        return ipaddress.ip_network(cidr)
    except ValueError:
        raise UserError(f"--cidr {cidr}: it is no range of addresses; give one, such as 203.0.113.7/32") from None


def _profile(config: Mapping[str, Mapping[str, str]]) -> str | None:
    return (config.get("IamInstanceProfile") or {}).get("Name")
