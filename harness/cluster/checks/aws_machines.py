"""What can be wrong with the machines that an AWS cluster asks for: image, type, market, EFA. Told from the file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.checks.ec2_model import instance_types
from harness.cluster.checks.findings import Finding, one_of
from harness.cluster.checks.json_schema import no_such_value
from harness.cluster.files import ClusterFile
from harness.cluster.market import LABEL, market_of

PARAMETER = "resolve:ssm:"
"""Before the path of the parameter that holds an image's id, as EC2 resolves it."""
PUBLIC_IMAGE = re.compile(r"/aws/service/deeplearning/ami/(x86_64|arm64)/[\w.-]+/latest/ami-id")
_IMAGE_ID = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")
IMAGE = f"ImageId: {PARAMETER}/aws/service/deeplearning/ami/..., as clusters/aws.yaml"
INTERFACE_TYPES = ("interface", "efa", "efa-only")
"""What RunInstances takes; the SDK's model lists none."""
MARKET = "InstanceMarketOptions"


def types(file: ClusterFile) -> Iterator[Finding]:
    """A type that EC2 has, as far as the list goes; the account tells of others."""
    for _, where, config in file.node_configs():
        instance_type = file.machine(config)
        if not instance_type:
            yield Finding(where=where, what="it has no InstanceType", remedy="such as InstanceType: g5.xlarge")
        elif instance_type not in instance_types() | ec2_types().keys() and not _is_of_new_family(instance_type):
            what = f"EC2 has no type {instance_type}"
            yield Finding(where=f"{where}.InstanceType", what=what, remedy=one_of(instance_type, ec2_types()))


def images(file: ClusterFile) -> Iterator[Finding]:
    """What a node starts from."""
    for _, where, config in file.node_configs():
        image = str(config.get("ImageId") or "")
        if not image:
            if "LaunchTemplate" not in config:
                what = "there is no ImageId, and Ray would take an old image of its own"
                yield Finding(where=where, what=what, remedy=IMAGE)
        elif image.startswith(PARAMETER):
            yield from _parameter(image.removeprefix(PARAMETER), file.machine(config), f"{where}.ImageId")
        elif not _IMAGE_ID.fullmatch(image):
            what = f"{image} is neither an image's id nor the path of one"
            yield Finding(where=f"{where}.ImageId", what=what, remedy=f"ami-..., or {IMAGE.partition(': ')[2]}")


def markets(file: ClusterFile) -> Iterator[Finding]:
    """How machines are rented, and whether the label, by which trials and the guard go, says the same."""
    for name, where, config in file.node_configs():
        market, label = market_of({"node_config": config}), (file.node_types[name].get("labels") or {}).get(LABEL)
        if name == file.head and market != "on-demand":
            how = "a spot instance, and with it" if market == "spot" else "in a capacity block, with whose end"
            what = f"the head is {how} the cluster would go"
            yield Finding(where=f"{where}.{MARKET}", what=what, remedy="take it out of the head")
        elif label is not None and (label == "spot") != (market == "spot"):
            is_said = "on-demand" if market == "on-demand" else market
            what = f"the label says {label}, {MARKET} {is_said}"
            right = "spot" if market == "spot" else "on-demand"
            yield Finding(where=f"available_node_types.{name}.labels", what=what, remedy=f"{LABEL}: {right}")
        if market == "capacity-block" and name != file.head:
            yield from _of_block(config, where)
        known = ec2_types().get(file.machine(config))
        if market == "spot" and known and not known.has_spot:
            what = f"EC2 has no spot instances of {known.name}"
            yield Finding(where=f"{where}.{MARKET}", what=what, remedy="on-demand, a capacity block, or another type")


def network_interfaces(file: ClusterFile) -> Iterator[Finding]:
    """What Ray and EC2 want where interfaces are listed, as EFA needs it."""
    for _, where, config in file.node_configs():
        interfaces = config.get("NetworkInterfaces") or ()
        for key in ("SubnetId", "SubnetIds", "SecurityGroupIds"):
            if interfaces and key in config:
                what = "with NetworkInterfaces it has to stand inside each of them"
                yield Finding(where=f"{where}.{key}", what=what, remedy="move it there (SubnetId, Groups)")
        for number, interface in enumerate(interfaces):
            kind = interface.get("InterfaceType", INTERFACE_TYPES[0])
            if kind not in INTERFACE_TYPES:
                yield no_such_value(kind, INTERFACE_TYPES, f"{where}.NetworkInterfaces.{number}.InterfaceType")
            for key in ("SubnetId", "Groups"):
                if not interface.get(key):
                    place = f"{where}.NetworkInterfaces.{number}"
                    yield Finding(where=place, what=f"it has no {key}", remedy=f"give {key}; bootstrap prints it")
        if len(interfaces) > 1 and any(interface.get("AssociatePublicIpAddress") for interface in interfaces):
            what = "EC2 gives no public address to an instance with several interfaces"
            yield Finding(where=f"{where}.NetworkInterfaces", what=what, remedy="a private subnet with a NAT gateway")
        yield from _efa(file, where, config, [i for i in interfaces if str(i.get("InterfaceType")).startswith("efa")])


def _is_of_new_family(instance_type: str) -> bool:
    """Whether the list may be older than the type: none of its family stands there."""
    family, dot, size = instance_type.partition(".")
    known = any(name.startswith(f"{family}.") for name in ec2_types())
    return bool(dot and size and not known and re.fullmatch(r"[a-z]+\d+[a-z0-9-]*", family))


def _parameter(path: str, instance_type: str, where: str) -> Iterator[Finding]:
    """Of the path of an image."""
    found, known = PUBLIC_IMAGE.fullmatch(path), ec2_types().get(instance_type)
    if not path.startswith("/") or (path.startswith("/aws/service/deeplearning/") and not found):
        what = f"{path} is no path of an image"
        yield Finding(where=where, what=what, remedy="/aws/service/deeplearning/ami/x86_64/NAME/latest/ami-id")
    elif found and known and found.group(1) != known.architecture:
        what = f"the image is for {found.group(1)}, the machine is {known.architecture}"
        yield Finding(where=where, what=what, remedy="an image or a type of the other kind")


def _of_block(config: Mapping[str, Any], where: str) -> Iterator[Finding]:
    target = (config.get("CapacityReservationSpecification") or {}).get("CapacityReservationTarget") or {}
    if not target.get("CapacityReservationId"):
        what = "it is of a capacity block, but not of which"
        remedy = "CapacityReservationSpecification: {CapacityReservationTarget: {CapacityReservationId: cr-...}}"
        yield Finding(where=where, what=what, remedy=remedy)


def _efa(file: ClusterFile, where: str, config: Mapping[str, Any], efa: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """Of the interfaces with EFA, by what the type has."""
    known, place = ec2_types().get(file.machine(config)), f"{where}.NetworkInterfaces"
    if not efa:
        return
    if known and len(efa) > known.efa_interfaces:
        has = f"at most {known.efa_interfaces}" if known.efa_interfaces else "none"
        what = f"{len(efa)} interfaces with EFA are listed, a {known.name} has {has}"
        yield Finding(where=place, what=what, remedy="fewer" if known.efa_interfaces else "such as g5.12xlarge")
        return
    if known and len(efa) < known.efa_interfaces:
        what = f"EFA is on {len(efa)} of the {known.efa_interfaces} interfaces that a {known.name} has for it"
        yield Finding(where=place, what=what, remedy="one for each NetworkCardIndex, DeviceIndex 1 but for the first")
    if "GroupName" not in (config.get("Placement") or {}):
        what = "it has EFA but no placement group, without which nodes may stand far apart"
        yield Finding(where=f"{where}.Placement", what=what, remedy="{GroupName: ndcl-efa}; bootstrap makes it")
