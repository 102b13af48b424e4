"""What an AWS account needs before `ray up`: made once, again without harm, and taken away again.

What is to be done is found out first, as a list of steps; nothing is changed before these are carried out.
"""

import ipaddress
import urllib.request
from collections.abc import Iterator
from typing import Any

from harness.cluster.aws import buckets, network, roles
from harness.cluster.aws.session import Session, groups_named, usable_subnets
from harness.cluster.aws.wanted import Step, Wanted
from harness.cluster.files import ClusterFile
from ndcl.errors import UserError

WHO_AM_I = "https://checkip.amazonaws.com"


def missing(session: Session, wanted: Wanted, file: ClusterFile) -> list[Step]:
    """What has to be done; nothing where all is as it should be.

    Raises UserError where something of the same name was made by somebody else.
    """
    return [
        *buckets.missing(session, wanted),
        *roles.missing(session, wanted),
        *network.missing(session, wanted, file),
    ]


def removal(session: Session, wanted: Wanted) -> list[Step]:
    """What has to be done to leave nothing but a bucket that holds something.

    Raises UserError while instances of the cluster are there.
    """
    left = instances_of(session.ec2, wanted.cluster)
    if left:
        raise UserError(f"AWS: {', '.join(left)} of cluster {wanted.cluster} are there; ndcl cluster down first")
    parts = (network.removal, roles.removal, buckets.removal)
    return [step for part in parts for step in part(session, wanted)]


def instances_of(ec2: Any, cluster: str) -> list[str]:
    """The ids of a cluster's instances that have not ended."""
    states = ["pending", "running", "shutting-down", "stopping", "stopped"]
    filters = [
        {"Name": "tag:ray-cluster-name", "Values": [cluster]},
        {"Name": "instance-state-name", "Values": states},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    reservations = [reservation for page in pages for reservation in page["Reservations"]]
    return [instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]]


def own_address() -> str:
    """This machine's address as AWS sees it, as a range of one. Raises UserError if it can't be told."""
    try:
        with urllib.request.urlopen(WHO_AM_I, timeout=10) as answer:
            return f"{ipaddress.IPv4Address(answer.read().decode().strip())}/32"
    except (OSError, ValueError):
        raise UserError(f"this machine's public address is not known ({WHO_AM_I} is silent); give --cidr") from None


def after(session: Session, wanted: Wanted, file: ClusterFile) -> Iterator[str]:
    """What the cluster's YAML has to say of what is now there."""
    if str(file.metadata.get("results", "")).startswith(f"s3://{wanted.bucket}"):
        yield f"next: ndcl cluster check {file.path}"
    else:
        yield f"next: in {file.path}, under metadata, write `results: s3://{wanted.bucket}`"
    if wanted.placement_groups:
        groups = groups_named(session.ec2, wanted.group)
        for subnet in usable_subnets(session.ec2, file):
            group, zone = groups[subnet["VpcId"]]["GroupId"], subnet["AvailabilityZone"]
            yield f"for NetworkInterfaces in {zone}: SubnetId: {subnet['SubnetId']}, Groups: [{group}]"
