"""What an AWS account needs before `ray up`: made once, again without harm, and taken away again.

What is to be done is found out first, as a list of steps; nothing is changed before these are carried out.
"""

import ipaddress
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from harness.cluster.aws import buckets, key_pair, network, roles
from harness.cluster.aws.desired_state import Step, Wanted
from harness.cluster.aws.policies import Account, user_policy
from harness.cluster.aws.session import Session, groups_named, usable_subnets
from harness.cluster.files import PLACEHOLDER, ClusterFile
from harness.cluster.yaml_edit import with_values
from harness.config.commands import ndcl_command
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
        *key_pair.missing(session, wanted),
        *key_pair.missing_token(),
    ]


def removal(session: Session, wanted: Wanted) -> list[Step]:
    """What has to be done to leave nothing but a bucket that holds something.

    Raises UserError while instances of the cluster are there.
    """
    left = instances_of(session.ec2, wanted.cluster)
    if left:
        raise UserError(
            f"AWS: {', '.join(left)} of cluster {wanted.cluster} are there; end it with: ndcl cluster down CLUSTER.yaml"
        )
    parts = (network.removal, key_pair.removal, roles.removal, buckets.removal)
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
    """This machine's address as AWS sees it, as a range of one. Raises UserError if it is unknown."""
    try:
        with urllib.request.urlopen(WHO_AM_I, timeout=10) as answer:
            return f"{ipaddress.IPv4Address(answer.read().decode().strip())}/32"
    except (OSError, ValueError):
        raise UserError(f"this machine's public address is not known ({WHO_AM_I} is silent); give --cidr") from None


def region_of(file: ClusterFile, given: str | None) -> str:
    """Where the cluster is to be: as given, as the file says once it is prepared, or as the user's AWS profile says."""
    if given or file.is_prepared:
        return given or str(file.provider["region"])
    try:
        import boto3
    except ModuleNotFoundError:
        return str(file.provider["region"])  # that it is missing is said when a session is opened
    return boto3.Session().region_name or str(file.provider["region"])


def needed_rights(account: Account, wanted: Wanted) -> str:
    """The policy, as JSON, of the user who prepares the account and runs the cluster."""
    roles_of_nodes = (wanted.head_role, wanted.worker_role)
    return json.dumps(user_policy(account, wanted.bucket, wanted.cluster, roles_of_nodes), indent=2)


def prepared(session: Session, wanted: Wanted, file: ClusterFile, owner: str | None = None) -> str:
    """The text of the cluster's YAML with what is now in the account: provider, region, bucket, group, key, owner.

    Values of the user's own stay. Only what bootstrap makes anew, group and key, replaces what stood there.
    """
    group = network.group_id(session, wanted, file) if wanted.groups_by_id else None
    subnet = network.subnet_id(session, wanted, file) if wanted.groups_by_id else None
    known = network.known_groups(session)
    key = None if wanted.key is None else str(key_pair.key_file(wanted, session.account.region))
    bucket = f"s3://{wanted.bucket}"
    own = {"owner": owner or session.user, "results": f"{bucket}/results", "data": f"{bucket}/data"}

    def value_of(path: tuple[str, ...], value: str) -> str | None:
        match path:
            case ("provider", "type"):
                return file.kind
            case ("provider", "region"):
                return session.account.region
            case ("auth", "ssh_private_key"):
                return key
            case (*_, "node_config", "KeyName"):
                return wanted.key
            case (*_, "SecurityGroupIds" | "Groups", "0") if PLACEHOLDER in value or value not in known:
                return group
            case (*_, "SubnetIds", "0") | (*_, "SubnetId") if PLACEHOLDER in value:
                return subnet
            case (*_, name) if name in own and PLACEHOLDER in value:
                return own[name]
        return None

    return with_values(file.text, value_of)


def after(session: Session, wanted: Wanted, file: ClusterFile, is_written: bool) -> Iterator[str]:
    """What is next, and what of the account the YAML can't be given by itself."""
    if is_written:
        yield f"next: {ndcl_command('cluster', 'check', file.path)}"
    else:
        yield f"next: {ndcl_command('cluster', 'bootstrap', 'aws', '--cluster', file.path, '--write')}"
    if wanted.placement_groups:
        groups = groups_named(session.ec2, wanted.group)
        for subnet in usable_subnets(session.ec2, file):
            group, zone = groups[subnet["VpcId"]]["GroupId"], subnet["AvailabilityZone"]
            yield f"for NetworkInterfaces in {zone}: SubnetId: {subnet['SubnetId']}, Groups: [{group}]"
