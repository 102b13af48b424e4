"""Whether an AWS account may run as many machines as a cluster can ask for, by Service Quotas. Only looks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.cluster.aws.session import Session
from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.checks.findings import Finding
from harness.cluster.checks.hints import answer, client
from harness.cluster.files import ClusterFile
from harness.cluster.market import Market, market_of

CODES: Mapping[tuple[str, Market], tuple[str, str]] = {
    ("standard", "on-demand"): ("L-1216C47A", "Running On-Demand Standard instances"),
    ("G", "on-demand"): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("P", "on-demand"): ("L-417A185B", "Running On-Demand P instances"),
    ("standard", "spot"): ("L-34B43A08", "All Standard Spot Instance Requests"),
    ("G", "spot"): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("P", "spot"): ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ("P5", "spot"): ("L-C4BD4855", "All P5 Spot Instance Requests"),
}
"""Family and market to the code and the name of a quota. They count vCPUs; a capacity block has none."""
STANDARD = "acdhimrtz"


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a cluster may take of one quota."""

    code: str
    name: str
    nodes: tuple[str, ...]
    """The types of its largest nodes that may run at once."""

    @property
    def cpus(self) -> int:
        """vCPUs of them all."""
        return sum(ec2_types()[name].cpus for name in self.nodes)


def quotas(session: Session, file: ClusterFile, service: Any = None) -> Iterator[Finding]:
    """Each quota that the cluster would exceed, of those that may be asked; `service`: a client of Service Quotas."""
    service = service or client("service-quotas", session.account.region)
    for need in needs(file):
        allowed = _value(service, need.code)
        if allowed is not None and allowed < need.cpus:
            most = f"{len(need.nodes)} {' and '.join(sorted(set(need.nodes)))} take {need.cpus}"
            what = f"the quota '{need.name}' is {allowed:g} vCPUs, {most}"
            remedy = (
                "fewer max_workers, or: aws service-quotas request-service-quota-increase --service-code ec2 "
                f"--quota-code {need.code} --desired-value {need.cpus}"
            )
            yield Finding(where="account", what=what, remedy=remedy)


def needs(file: ClusterFile) -> list[Need]:
    """Of each quota, the most that the file allows at once."""
    ceiling = int(file.values.get("max_workers") or 0)
    nodes: dict[tuple[str, str], list[str]] = {}
    heads: dict[tuple[str, str], list[str]] = {}
    for name, _, config in file.node_configs():
        node_type, machine = file.node_types[name], file.machine(config)
        market = market_of(node_type)
        quota = CODES.get((_family(machine, market), market))
        if quota and machine in ec2_types():
            number = 1 if name == file.head else min(int(node_type.get("max_workers", ceiling)), ceiling)
            (heads if name == file.head else nodes).setdefault(quota, []).extend([machine] * number)
    result = []
    for quota in heads | nodes:
        largest = sorted(nodes.get(quota, ()), key=lambda machine: ec2_types()[machine].cpus, reverse=True)
        taken = (*heads.get(quota, ()), *largest[:ceiling])
        result.append(Need(code=quota[0], name=quota[1], nodes=taken))
    return result


def _family(machine: str, market: Market) -> str:
    letters = re.match(r"[a-z]+", machine)
    match letters.group(0) if letters else "":
        case "g" | "gr" | "vt":
            return "G"
        case "p":
            return "P5" if market == "spot" and machine.startswith("p5") else "P"
        case family:
            return "standard" if family[:1] in STANDARD and family[:1] else family


def _value(service: Any, code: str) -> float | None:
    """The account's quota, where it has none of its own what accounts begin with; None where nobody may ask."""
    asked: dict[str, Any] = {"ServiceCode": "ec2", "QuotaCode": code}
    found = answer(service.get_service_quota, absent="NoSuchResourceException", **asked)
    if found == {}:
        found = answer(service.get_aws_default_service_quota, **asked)
    return float(found["Quota"]["Value"]) if found else None
