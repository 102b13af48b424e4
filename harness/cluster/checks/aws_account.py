"""What of an AWS account would keep a cluster from coming up, or leave it open. Only looks: nothing is changed."""

from collections.abc import Callable, Iterator
from typing import Any

from harness.cluster.aws.buckets import has_bucket
from harness.cluster.aws.desired_state import MARK
from harness.cluster.aws.roles import existing_profile
from harness.cluster.aws.session import Session, code_of, groups_named, usable_subnets
from harness.cluster.checks.address_ranges import open_ports
from harness.cluster.checks.aws_images import images
from harness.cluster.checks.aws_quotas import quotas
from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile
from harness.config.commands import ndcl_command
from ndcl.errors import UserError

MISSING_SUBNET = "InvalidSubnetID.NotFound"


def bootstrap(file: ClusterFile) -> str:
    """The command that makes what an account lacks."""
    return ndcl_command("cluster", "bootstrap", "aws", "--cluster", file.path)


def subnets(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """Each node type needs a subnet that exists, gives public addresses, and has a way out."""
    usable = {subnet["SubnetId"]: subnet for subnet in usable_subnets(session.ec2, file)}
    routes = session.ec2.describe_route_tables()["RouteTables"]
    for _, where, config in file.node_configs():
        given = _given_subnets(config)
        for subnet in given:
            if subnet not in usable and not _exists(session.ec2, subnet):
                what = f"subnet {subnet} is not in {session.account.region}"
                yield Finding(where=where, what=what, remedy="give one of the region, or leave it out")
            elif subnet not in usable:
                what = f"Ray will not launch in {subnet}: it gives no public address, or is in another zone"
                yield Finding(where=where, what=what, remedy="one that does, or provider.use_internal_ips: true")
        if not given and not usable:
            what = "there is no subnet that gives public addresses"
            yield Finding(where="provider.region", what=what, remedy="aws ec2 create-default-vpc, or give SubnetIds")
        shut = [name for name in given or usable if name in usable and not _has_way_out(usable[name], routes)]
        if shut:
            has = "has" if len(shut) == 1 else "have"
            what = f"{', '.join(shut)} {has} no route to the internet: nothing is installed, SSH never answers"
            yield Finding(where=where, what=what, remedy="add a route to an internet or NAT gateway, or another")


def security_group(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """Ray takes the group of the VPC it happens to choose; where there is none it makes an open one."""
    name = (file.provider.get("security_group") or {}).get("GroupName")
    ids = {group for _, _, config in file.node_configs() for group in _given_groups(config)}
    groups = groups_named(session.ec2, name) if name else {}
    if name and any(not _given_groups(config) for _, _, config in file.node_configs()):
        for vpc in sorted({subnet["VpcId"] for subnet in usable_subnets(session.ec2, file)} - groups.keys()):
            what = f"{vpc} has no group {name}, and Ray would make one with port 22 open to everybody"
            yield Finding(where="provider.security_group", what=what, remedy=bootstrap(file))
    known = {group["GroupId"]: group for group in session.ec2.describe_security_groups()["SecurityGroups"]}
    for identity in sorted(ids - known.keys()):
        what = f"there is no security group {identity} in {session.account.region}"
        yield Finding(where="SecurityGroupIds", what=what, remedy=f"{bootstrap(file)}; it prints the id")
    for group in [*groups.values(), *(known[identity] for identity in sorted(ids & known.keys()))]:
        for ports in open_ports(group["IpPermissions"]):
            what = f"{ports} open to everybody"
            yield Finding(where=f"security group {group['GroupId']}", what=what, remedy=bootstrap(file))


def profiles(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """Without one EC2 refuses to start the instance; one of another cluster may not start this one's workers."""
    others: dict[str, set[str]] = {}
    for _, where, config in file.node_configs():
        name = (config.get("IamInstanceProfile") or {}).get("Name")
        profile = existing_profile(session.iam, name) if name else None
        if name and profile is None:
            what = f"there is no instance profile {name}"
            yield Finding(where=f"{where}.IamInstanceProfile", what=what, remedy=bootstrap(file))
        for tag in (profile or {}).get("Tags", ()):
            if tag["Key"] == MARK and tag["Value"] != file.values["cluster_name"]:
                others.setdefault(tag["Value"], set()).add(str(name))
    for cluster, names in others.items():
        what = f"{' and '.join(sorted(names))} were made for cluster {cluster}: the head could start no worker"
        remedy = f"cluster_name: {cluster}, or profiles of other names and {bootstrap(file)}"
        yield Finding(where="cluster_name", what=what, remedy=remedy)


def results_bucket(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """Where results go."""
    name = str(file.metadata.get("results", "")).removeprefix("s3://").split("/")[0]
    if not str(file.metadata.get("results", "")).startswith("s3://") or not name:
        return
    try:
        exists = has_bucket(session, name)
    except UserError as error:
        yield Finding(where="metadata.results", what=str(error), remedy="the one that bootstrap made")
        return
    if not exists:
        yield Finding(where="metadata.results", what=f"there is no bucket s3://{name}", remedy=bootstrap(file))


def instance_types(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """What the region has, and whether it is what `resources` says."""
    for name, where, config in file.node_configs():
        instance_type = config.get("InstanceType")
        filters = [{"Name": "instance-type", "Values": [instance_type]}]
        offered = session.ec2.describe_instance_type_offerings(Filters=filters)["InstanceTypeOfferings"]
        if not offered:
            what = f"{session.account.region} has no {instance_type}"
            yield Finding(where=f"{where}.InstanceType", what=what, remedy="another type or region")
            continue
        described = session.ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"][0]
        gpus = sum(gpu["Count"] for gpu in described.get("GpuInfo", {}).get("Gpus", ()))
        has = {"CPU": described["VCpuInfo"]["DefaultVCpus"], "GPU": gpus}
        for kind, number in has.items():
            said = file.node_types[name]["resources"].get(kind, 0)
            if said > number:
                what = f"{said} {kind} are promised, a {instance_type} has {number}: nodes would start in vain"
                yield Finding(where=f"available_node_types.{name}.resources", what=what, remedy=f'"{kind}": {number}')


def launches(session: Session, file: ClusterFile) -> Iterator[Finding]:
    """Whether EC2 would let the user start the head: a dry run, which starts nothing."""
    config = dict(file.node_types[file.head]["node_config"])
    for key in ("SubnetIds", "NetworkInterfaces"):
        config.pop(key, None)
    error = _refusal(lambda: session.ec2.run_instances(MinCount=1, MaxCount=1, DryRun=True, **config))
    if error and code_of(error) != "DryRunOperation":
        what = f"EC2 would refuse to start it: {' '.join(str(error).split())[:200]}"
        yield Finding(where=f"available_node_types.{file.head}", what=what, remedy="correct it, or ask for the right")


def _refusal(call: Callable[[], object]) -> Exception | None:
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        return error  # type: ignore[no-any-return]
    return None


def _given_subnets(config: Any) -> list[str]:
    inside = [interface.get("SubnetId") for interface in config.get("NetworkInterfaces", ())]
    return [*config.get("SubnetIds", ()), *(subnet for subnet in inside if subnet)]


def _given_groups(config: Any) -> list[str]:
    inside = [group for interface in config.get("NetworkInterfaces", ()) for group in interface.get("Groups", ())]
    return [*config.get("SecurityGroupIds", ()), *inside]


def _exists(ec2: Any, subnet: str) -> bool:
    error = _refusal(lambda: ec2.describe_subnets(SubnetIds=[subnet]))
    if error and code_of(error) != MISSING_SUBNET:
        raise error
    return error is None


def _has_way_out(subnet: dict[str, Any], tables: list[dict[str, Any]]) -> bool:
    """By the subnet's own route table, else by its VPC's main one."""
    ours = [table for table in tables if table["VpcId"] == subnet["VpcId"]]
    own = [t for t in ours if any(a.get("SubnetId") == subnet["SubnetId"] for a in t["Associations"])]
    main = [t for t in ours if any(a.get("Main") for a in t["Associations"])]
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0" and _leads_out(route)
        for table in own or main
        for route in table["Routes"]
    )


def _leads_out(route: dict[str, Any]) -> bool:
    through = ("GatewayId", "NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId")
    return any(route.get(key) and route[key] != "local" for key in through)


CHECKS = (subnets, security_group, profiles, results_bucket, instance_types, images, quotas)
LAST = (launches,)
"""What would say again, in EC2's words, what the others have found."""
