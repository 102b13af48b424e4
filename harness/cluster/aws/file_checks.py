"""What can be wrong with an AWS cluster's YAML, told from the file and the SDK's own model of EC2. Nobody is asked."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding, unknown
from ndcl.errors import UserError

WANTED_TAGS = ("project", "owner")
"""By which a bill is split."""
EVERYBODY = ("0.0.0.0/0", "::/0")
RAYS_OWN = ("SubnetIds", "MinCount", "MaxCount")
"""Keys of node_config that are Ray's: it launches in one of the subnets, as many as it needs."""
NEW_VALUES = ("InstanceType",)
"""Members whose values become more every month: the SDK's list of them is never complete."""


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where."""
    if not file.provider.get("region"):
        yield Finding(where="provider", what="it has no region", remedy="such as region: us-west-2")


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos and wrong types inside node_config, which Ray passes on to EC2 as it is."""
    shape = _run_instances()
    for _, where, config in file.node_configs():
        known = {key: value for key, value in config.items() if key not in RAYS_OWN}
        yield from _against(shape, known, where)
        if not isinstance(config.get("SubnetIds", []), list):
            yield Finding(where=f"{where}.SubnetIds", what="it is no list", remedy="SubnetIds: [subnet-...]")


def open_ports(file: ClusterFile) -> Iterator[Finding]:
    """Who may reach the nodes."""
    where, group = "provider.security_group", file.provider.get("security_group") or {}
    for permission in group.get("IpPermissions", ()):
        ranges = [*permission.get("IpRanges", ()), *permission.get("Ipv6Ranges", ())]
        if any(cidr in EVERYBODY for entry in ranges for cidr in entry.values()):
            ports = f"ports {permission.get('FromPort', 'all')} to {permission.get('ToPort', 'all')}"
            what = f"{ports} are open to everybody, and Ray listens on all interfaces"
            yield Finding(where=f"{where}.IpPermissions", what=what, remedy="your own address, a.b.c.d/32")
    closed = all("SecurityGroupIds" in config or "NetworkInterfaces" in config for _, _, config in file.node_configs())
    if not group.get("GroupName") and not closed:
        what = "Ray would make a group with port 22 open to everybody"
        yield Finding(where=where, what=what, remedy="GroupName: ndcl, after `ndcl cluster bootstrap aws`")


def network_interfaces(file: ClusterFile) -> Iterator[Finding]:
    """What Ray and EC2 want where interfaces are listed, as EFA needs it."""
    for name, where, config in file.node_configs():
        interfaces = config.get("NetworkInterfaces", ())
        for key in ("SubnetId", "SubnetIds", "SecurityGroupIds"):
            if interfaces and key in config:
                what = "with NetworkInterfaces it has to stand inside each of them"
                yield Finding(where=f"{where}.{key}", what=what, remedy="move it there (SubnetId, Groups)")
        for number, interface in enumerate(interfaces):
            for key in ("SubnetId", "Groups"):
                if not interface.get(key):
                    place = f"{where}.NetworkInterfaces.{number}"
                    yield Finding(where=place, what=f"it has no {key}", remedy=f"give {key}; bootstrap prints it")
        if len(interfaces) > 1 and any(interface.get("AssociatePublicIpAddress") for interface in interfaces):
            what = "EC2 gives no public address to an instance with several interfaces"
            yield Finding(where=f"{where}.NetworkInterfaces", what=what, remedy="a private subnet with a NAT gateway")
        is_efa = any(interface.get("InterfaceType") == "efa" for interface in interfaces)
        if is_efa and "GroupName" not in config.get("Placement", {}):
            what = f"{name} has EFA but no placement group, without which nodes may stand far apart"
            yield Finding(where=f"{where}.Placement", what=what, remedy="{GroupName: ndcl-efa}; bootstrap makes it")


def head_is_on_demand(file: ClusterFile) -> Iterator[Finding]:
    """With the head goes the cluster."""
    for name, where, config in file.node_configs():
        if name == file.head and "InstanceMarketOptions" in config:
            what = "the head is a spot instance, and with it the cluster would go at two minutes' notice"
            yield Finding(where=f"{where}.InstanceMarketOptions", what=what, remedy="take it out of the head")


def market_labels(file: ClusterFile) -> Iterator[Finding]:
    """Trials and the guard go by the label; EC2 goes by InstanceMarketOptions."""
    for name, _, config in file.node_configs():
        is_spot = (config.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
        market = "spot" if is_spot else "on-demand"
        label = file.node_types[name].get("labels", {}).get("ray.io/market-type", market)
        if label != market:
            what = f"the label says {label}, InstanceMarketOptions {market}"
            yield Finding(where=f"available_node_types.{name}.labels", what=what, remedy=f"market-type: {market}")


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
                what = "the disk outlives its instance, and goes on costing"
                yield Finding(where=place, what=what, remedy="DeleteOnTermination: true")


def tags(file: ClusterFile) -> Iterator[Finding]:
    """Whose an instance or a disk is."""
    for _, where, config in file.node_configs():
        for kind in ("instance", "volume"):
            given = [
                tag["Key"]
                for spec in config.get("TagSpecifications", ())
                if spec.get("ResourceType") == kind
                for tag in spec.get("Tags", ())
            ]
            missing = [tag for tag in WANTED_TAGS if tag not in given]
            if missing:
                what = f"{kind}s have no tag {' and '.join(missing)}, so that no bill can be split by it"
                yield Finding(where=f"{where}.TagSpecifications", what=what, remedy="add it, as clusters/aws.yaml")


def key_pairs(file: ClusterFile) -> Iterator[Finding]:
    """A key of the user's own has to be known to EC2, too."""
    if "ssh_private_key" not in (file.values.get("auth") or {}):
        return
    for _, where, config in file.node_configs():
        if "KeyName" not in config and "UserData" not in config:
            what = "auth.ssh_private_key is given, but not which key pair of EC2 it belongs to"
            yield Finding(where=where, what=what, remedy="KeyName: ..., or leave out ssh_private_key: Ray makes one")


@cache
def _run_instances() -> Any:
    """The SDK's model of what RunInstances takes. Raises UserError without the SDK."""
    try:
        import botocore.session
    except ModuleNotFoundError:
        raise UserError("AWS's SDK is not installed; make install, or pip install boto3") from None
    model = botocore.session.get_session().get_service_model("ec2")
    return model.operation_model("RunInstances").input_shape


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
                what = f"{value!r} is none of its values"
                yield Finding(where=where, what=what, remedy=f"one of {', '.join(shape.enum)}")
        case ("boolean", bool()) | ("double" | "float", int() | float()) | ("blob" | "timestamp", _):
            pass
        case (("integer" | "long"), int()) if not isinstance(value, bool):
            pass
        case expected, _:
            yield Finding(where=where, what=f"{value!r} is no {expected}", remedy=f"give a {expected}")


CHECKS = (
    location,
    node_config_keys,
    open_ports,
    network_interfaces,
    head_is_on_demand,
    market_labels,
    roles,
    credentials_service,
    volumes,
    tags,
    key_pairs,
)
