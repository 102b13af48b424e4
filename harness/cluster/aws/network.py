"""Security groups and placement groups: who reaches the nodes, and how close these stand."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.cluster.aws.desired_state import MARK, Step, Wanted, network_of
from harness.cluster.aws.session import Session, groups_named, usable_subnets
from harness.cluster.files import ClusterFile
from ndcl.errors import UserError

MADE_BY_RAY = "Auto-created security group for Ray workers"
"""The description that Ray gives the groups that it makes."""
Permission = dict[str, Any]
"""As EC2 takes it: a protocol, ports, and one range of addresses."""


def missing(session: Session, wanted: Wanted, file: ClusterFile) -> Iterator[Step]:
    """A security group in each VPC that Ray may choose, and placement groups.

    Where Ray finds no group of the name, it makes one that is open to everybody.
    """
    ec2, existing = session.ec2, groups_named(session.ec2, wanted.group)
    for vpc in vpcs_of(session, wanted, file):
        if vpc in existing:
            yield from _corrections(ec2, existing[vpc], wanted)
        else:
            what = f"make security group {wanted.group} in {vpc}: SSH from {wanted.cidr}, everything among its members"
            yield Step(what=what, do=partial(_make_group, ec2, vpc, wanted))
    yield from missing_placement_groups(ec2, wanted)


def vpcs_of(session: Session, wanted: Wanted, file: ClusterFile) -> list[str]:
    """Those in which nodes may start: all that Ray may choose, or where a group is given by its id one of them, the
    default one if that is usable. Raises UserError if there is none.
    """
    vpcs = sorted({subnet["VpcId"] for subnet in usable_subnets(session.ec2, file)})
    if not vpcs:
        what = f"{session.account.region} has no subnet that gives its instances public addresses"
        raise UserError(f"AWS: {what}; make a default VPC (aws ec2 create-default-vpc)")
    if not wanted.groups_by_id:
        return vpcs
    found = session.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    default = {vpc["VpcId"] for vpc in found}
    return [next((vpc for vpc in vpcs if vpc in default), vpcs[0])]


def group_id(session: Session, wanted: Wanted, file: ClusterFile) -> str:
    """The id of the security group that was made."""
    return str(groups_named(session.ec2, wanted.group)[vpcs_of(session, wanted, file)[0]]["GroupId"])


def subnet_id(session: Session, wanted: Wanted, file: ClusterFile) -> str:
    """A subnet in which nodes may start, for files that name one: the first of the VPC by its zone."""
    [vpc, *_] = vpcs_of(session, wanted, file)
    found = [subnet for subnet in usable_subnets(session.ec2, file) if subnet["VpcId"] == vpc]
    return str(min(found, key=lambda subnet: (subnet["AvailabilityZone"], subnet["SubnetId"]))["SubnetId"])


def known_groups(session: Session) -> set[str]:
    """The ids of all security groups of the region."""
    pages = session.ec2.get_paginator("describe_security_groups").paginate()
    return {group["GroupId"] for page in pages for group in page["SecurityGroups"]}


def missing_placement_groups(ec2: Any, wanted: Wanted) -> Iterator[Step]:
    """In which nodes stand close together, as EFA needs it."""
    there = {group["GroupName"] for group in _placement_groups(ec2, wanted)}
    for name in wanted.placement_groups:
        if name not in there:
            yield Step(what=f"make placement group {name}", do=partial(_make_placement_group, ec2, name, wanted))


def removal(session: Session, wanted: Wanted) -> Iterator[Step]:
    """What was made here."""
    ec2 = session.ec2
    for vpc, group in groups_named(ec2, wanted.group).items():
        if wanted.is_ours(group.get("Tags", ())):
            delete = partial(ec2.delete_security_group, GroupId=group["GroupId"])
            yield Step(what=f"delete security group {wanted.group} in {vpc}", do=delete)
    yield from removal_of_placement_groups(ec2, wanted)


def removal_of_placement_groups(ec2: Any, wanted: Wanted) -> Iterator[Step]:
    """Those that were made here."""
    for group in _placement_groups(ec2, wanted):
        name = group["GroupName"]
        if wanted.is_ours(group.get("Tags", ())):
            delete = partial(ec2.delete_placement_group, GroupName=name)
            yield Step(what=f"delete placement group {name}", do=delete)


def _make_group(ec2: Any, vpc: str, wanted: Wanted) -> None:
    made = ec2.create_security_group(
        GroupName=wanted.group,
        Description=f"nodes of cluster {wanted.cluster}",
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": wanted.marks}],
    )
    group = made["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_among(group), _ssh(wanted.cidr)])
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[_among(group)])  # EFA wants it said


def _corrections(ec2: Any, group: dict[str, Any], wanted: Wanted) -> Iterator[Step]:
    """Mostly because the user's address is another one now."""
    name = f"security group {wanted.group} in {group['VpcId']}"
    if _is_rays(group):
        mark = partial(ec2.create_tags, Resources=[group["GroupId"]], Tags=wanted.marks)
        yield Step(what=f"take over {name}, which Ray has made", do=mark)
    else:
        wanted.require_ours(group.get("Tags", ()), name)
    identity, ssh, from_outside = group["GroupId"], _ssh(wanted.cidr), list(_from_outside(group))
    too_much = [permission for permission in from_outside if permission != ssh]
    if too_much:
        close = partial(ec2.revoke_security_group_ingress, GroupId=identity, IpPermissions=too_much)
        yield Step(what=f"close {', '.join(map(_text, too_much))} in {name}", do=close)
    if ssh not in from_outside:
        allow = partial(ec2.authorize_security_group_ingress, GroupId=identity, IpPermissions=[ssh])
        yield Step(what=f"allow SSH from {wanted.cidr} in {name}", do=allow)
    if not any(group["GroupId"] == pair["GroupId"] for p in group["IpPermissions"] for pair in p["UserIdGroupPairs"]):
        allow = partial(ec2.authorize_security_group_ingress, GroupId=identity, IpPermissions=[_among(identity)])
        yield Step(what=f"allow everything among the members of {name}", do=allow)


def _is_rays(group: dict[str, Any]) -> bool:
    """Whether `ray up` made the group, open to everybody, before anything was prepared."""
    is_marked = any(tag["Key"] == MARK for tag in group.get("Tags", ()))
    return group.get("Description") == MADE_BY_RAY and not is_marked


def _from_outside(group: dict[str, Any]) -> Iterator[Permission]:
    for permission in group["IpPermissions"]:
        ports = {key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission}
        for ranges, cidr in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
            for entry in permission.get(ranges, ()):
                yield ports | {ranges: [{cidr: entry[cidr]}]}


def _ssh(cidr: str) -> Permission:
    is_v6 = network_of(cidr).version == 6
    ranges = {"Ipv6Ranges": [{"CidrIpv6": cidr}]} if is_v6 else {"IpRanges": [{"CidrIp": cidr}]}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}


def _among(group: str) -> Permission:
    return {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}


def _text(permission: Permission) -> str:
    ranges = permission.get("IpRanges") or permission["Ipv6Ranges"]
    return f"port {permission.get('FromPort', 'any')} to {' '.join(ranges[0].values())}"


def _placement_groups(ec2: Any, wanted: Wanted) -> list[dict[str, Any]]:
    """Those that are wanted and are there."""
    if not wanted.placement_groups:
        return []
    filters = [{"Name": "group-name", "Values": list(wanted.placement_groups)}]
    groups: list[dict[str, Any]] = ec2.describe_placement_groups(Filters=filters)["PlacementGroups"]
    return groups


def _make_placement_group(ec2: Any, name: str, wanted: Wanted) -> None:
    tags = [{"ResourceType": "placement-group", "Tags": wanted.marks}]
    ec2.create_placement_group(GroupName=name, Strategy="cluster", TagSpecifications=tags)
