"""What can be wrong with an AWS cluster's YAML, by the file and the SDK's model of EC2 alone, without a request."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.cluster.checks.address_ranges import open_ports as open_ports_of
from harness.cluster.checks.aws_machines import images, markets, network_interfaces, types
from harness.cluster.checks.aws_place import location, region_given
from harness.cluster.checks.ec2_model import run_instances
from harness.cluster.checks.findings import Finding, unknown
from harness.cluster.checks.json_schema import no_such_value, wrong_type
from harness.cluster.files import ClusterFile

WANTED_TAGS = ("project", "owner")
"""By which a bill is split."""
RAYS_OWN = ("SubnetIds", "MinCount", "MaxCount")
"""Keys of node_config that are Ray's: it launches in one of the subnets, as many as it needs."""
NEW_VALUES = ("InstanceType",)
"""Members whose values become more every month: the SDK's list of them is never complete."""


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos and wrong types inside node_config, which Ray passes on to EC2 as it is."""
    shape = run_instances()
    for _, where, config in file.node_configs():
        known = {key: value for key, value in config.items() if key not in RAYS_OWN}
        yield from _against(shape, known, where)
        if not isinstance(config.get("SubnetIds", []), list):
            yield Finding(where=f"{where}.SubnetIds", what="it is no list", remedy="SubnetIds: [subnet-...]")


def open_ports(file: ClusterFile) -> Iterator[Finding]:
    """Who may reach the nodes."""
    where, group = "provider.security_group", file.provider.get("security_group") or {}
    for ports in open_ports_of(group.get("IpPermissions") or ()):
        what = f"{ports} open to everybody, and Ray listens on all interfaces"
        yield Finding(where=f"{where}.IpPermissions", what=what, remedy="your own address, a.b.c.d/32")
    closed = all("SecurityGroupIds" in config or "NetworkInterfaces" in config for _, _, config in file.node_configs())
    if not group.get("GroupName") and not closed:
        what = "Ray would make a group with port 22 open to everybody"
        yield Finding(where=where, what=what, remedy="GroupName: ndcl, after `ndcl cluster bootstrap aws`")


def roles(file: ClusterFile) -> Iterator[Finding]:
    """What instances may do in the account."""
    for name, where, config in file.node_configs():
        if "IamInstanceProfile" not in config:
            what = (
                "Ray would give the head all rights to EC2 and S3"
                if name == file.head
                else "workers could not reach the results' bucket"
            )
            kind = "head" if name == file.head else "worker"
            yield Finding(where=where, what=what, remedy=f"IamInstanceProfile: {{Name: ndcl-{kind}}}")


def credentials_service(file: ClusterFile) -> Iterator[Finding]:
    """Version 1 of the metadata service hands the role's credentials to any request that can be smuggled in."""
    for _, where, config in file.node_configs():
        if (config.get("MetadataOptions") or {}).get("HttpTokens") != "required":
            what = "IMDSv1 is allowed, which gives the role's credentials to any forged request"
            yield Finding(where=f"{where}.MetadataOptions", what=what, remedy="HttpTokens: required")


def volumes(file: ClusterFile) -> Iterator[Finding]:
    """Disks: encrypted, and gone with their instance."""
    for _, where, config in file.node_configs():
        disks = [disk["Ebs"] for disk in config.get("BlockDeviceMappings", ()) if "Ebs" in disk]
        place = f"{where}.BlockDeviceMappings"
        if not disks:
            what = "the disk is the image's own: small, and maybe not encrypted"
            yield Finding(where=place, what=what, remedy="give one, as clusters/aws.yaml")
        for disk in disks:
            if not disk.get("Encrypted"):
                yield Finding(where=place, what="the disk is not encrypted", remedy="Encrypted: true")
            if not disk.get("DeleteOnTermination", True):
                what = "the disk outlives its instance, and keeps costing"
                yield Finding(where=place, what=what, remedy="DeleteOnTermination: true")


def tags(file: ClusterFile) -> Iterator[Finding]:
    """Whose an instance or a disk is."""
    for _, where, config in file.node_configs():
        kinds: dict[str, list[str]] = {}
        for kind in ("instance", "volume"):
            given = [
                tag.get("Key")
                for spec in config.get("TagSpecifications") or ()
                if spec.get("ResourceType") == kind
                for tag in spec.get("Tags") or ()
            ]
            missing = [tag for tag in WANTED_TAGS if tag not in given]
            kinds.setdefault(" and ".join(missing), []).append(f"{kind}s")
        for tags, of in kinds.items():
            if tags:
                what = f"{' and '.join(of)} have no tag {tags}, so that no bill can be split by it"
                yield Finding(where=f"{where}.TagSpecifications", what=what, remedy="add it, as clusters/aws.yaml")


def key_pairs(file: ClusterFile) -> Iterator[Finding]:
    """A key of the user's own has to be known to EC2, too."""
    if "ssh_private_key" not in (file.values.get("auth") or {}):
        return
    for _, where, config in file.node_configs():
        if "KeyName" not in config and "UserData" not in config:
            what = "auth.ssh_private_key is given, but not which key pair of EC2 it belongs to"
            yield Finding(where=where, what=what, remedy="KeyName: ..., or leave out ssh_private_key: Ray makes one")


def _against(shape: Any, value: Any, where: str) -> Iterator[Finding]:
    """What of `value` does not fit a shape of the SDK's model."""
    match shape.type_name, value:
        case "structure", Mapping():
            for key in value:
                if key in shape.members:
                    yield from _against(shape.members[key], value[key], f"{where}.{key}")
                else:
                    yield unknown(str(key), shape.members, where)
            for key in shape.required_members:
                if key not in value and key not in RAYS_OWN:
                    yield Finding(where=where, what=f"'{key}' is missing", remedy="add it")
        case "list", list():
            for number, item in enumerate(value):
                yield from _against(shape.member, item, f"{where}.{number}")
        case "string", str():
            if shape.enum and value not in shape.enum and shape.name not in NEW_VALUES:
                yield no_such_value(value, shape.enum, where)
        case ("boolean", bool()) | ("double" | "float", int() | float()) | ("blob" | "timestamp", _):
            pass
        case (("integer" | "long"), int()) if not isinstance(value, bool):
            pass
        case expected, _:
            yield wrong_type(value, "integer" if expected == "long" else expected, where)


STRUCTURE = (region_given, node_config_keys)
SHAPE = (*STRUCTURE, location, types)
"""What all else would follow from."""
CHECKS = (
    images,
    markets,
    network_interfaces,
    open_ports,
    roles,
    credentials_service,
    volumes,
    tags,
    key_pairs,
)
