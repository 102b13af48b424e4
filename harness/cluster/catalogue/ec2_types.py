"""The instance types of EC2, by what `DescribeInstanceTypes` says of them.

`python -m harness.cluster.catalogue.ec2_types us-east-1` writes `ec2_types.csv` anew, with the account's credentials.
"""

import csv
import sys
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("ec2_types.csv")
GIB_OF_MIB = 1 / 1024


@dataclass(frozen=True, kw_only=True)
class Ec2Type:
    """One type of instance."""

    name: str
    cpus: int
    memory_gib: float
    gpus: int
    """Whole ones: a type with a share of a GPU has none that a trial could hold alone."""
    gpu: str
    """Its name; empty without one."""
    network_cards: int
    efa_interfaces: int
    """The most that it may have; 0 where it has no EFA."""
    nvme_gb: int
    """Of the instance's own disks."""
    architecture: str
    has_spot: bool


@cache
def ec2_types() -> Mapping[str, Ec2Type]:
    """All types by name."""
    with FILE.open(newline="") as file:
        return {row["name"]: _of_row(row) for row in csv.DictReader(file)}


def described(page: Mapping[str, Any]) -> Ec2Type:
    """One of the answers of EC2."""
    gpus, network = page.get("GpuInfo", {}).get("Gpus", ()), page["NetworkInfo"]
    return Ec2Type(
        name=page["InstanceType"],
        cpus=page["VCpuInfo"]["DefaultVCpus"],
        memory_gib=round(page["MemoryInfo"]["SizeInMiB"] * GIB_OF_MIB, 2),
        gpus=sum(gpu["Count"] for gpu in gpus),
        gpu=gpus[0]["Name"] if gpus else "",
        network_cards=network.get("MaximumNetworkCards", 1),
        efa_interfaces=network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0),
        nvme_gb=page.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
        architecture=page["ProcessorInfo"]["SupportedArchitectures"][-1],
        has_spot="spot" in page["SupportedUsageClasses"],
    )


def ask_for_all(region: str) -> list[Ec2Type]:
    """Those that a region has."""
    import boto3

    pages = boto3.client("ec2", region_name=region).get_paginator("describe_instance_types").paginate()
    return [described(answer) for page in pages for answer in page["InstanceTypes"]]


def write(types: Iterable[Ec2Type], path: Path = FILE) -> None:
    """One a line, sorted by name."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Ec2Type))
        writer.writerows(
            [
                f"{value:g}" if isinstance(value, float) else int(value) if isinstance(value, bool) else value
                for value in row
            ]
            for row in sorted(map(astuple, types))
        )


def _of_row(row: Mapping[str, str]) -> Ec2Type:
    numbers = {key: int(row[key]) for key in ("cpus", "gpus", "network_cards", "efa_interfaces", "nvme_gb")}
    texts = {key: row[key] for key in ("name", "gpu", "architecture")}
    return Ec2Type(memory_gib=float(row["memory_gib"]), has_spot=row["has_spot"] == "1", **texts, **numbers)  # type: ignore[arg-type]


if __name__ == "__main__":
    write(ask_for_all(sys.argv[1]))
