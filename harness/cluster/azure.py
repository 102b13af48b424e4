"""What can be wrong with an Azure cluster's YAML. Its node_config are parameters of the template that Ray deploys."""

import importlib.util
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding, unknown
from harness.cluster.ray_schema import ray_folder

RAYS_OWN = ("adminUsername", "msi", "nsg", "provisionPublicIp", "publicKey", "subnet", "vmCount", "vmName", "vmTags")
"""Parameters that Ray fills in."""
BESIDE = ("availability_zone",)
"""What Ray takes out before it deploys."""
WANTED_TAGS = ("project", "owner")
SDK = ("azure.mgmt.compute", "pip install azure-identity azure-mgmt-compute azure-mgmt-network azure-mgmt-resource")
LOGIN = Path("~/.azure/azureProfile.json")


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos, and parameters that Ray writes over."""
    valid = [*(key for key in _parameters() if key not in RAYS_OWN), *BESIDE]
    for name, where, config in file.node_configs():
        yield from (unknown(key, ("azure_arm_parameters",), where) for key in config if key != "azure_arm_parameters")
        parameters, place = config.get("azure_arm_parameters", {}), f"{where}.azure_arm_parameters"
        yield from (unknown(key, valid, place) for key in parameters if key not in valid)
        if "vmSize" not in parameters:
            yield Finding(where=place, what=f"{name} has no vmSize", remedy="such as vmSize: Standard_D4s_v5")


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where."""
    for key in ("location", "resource_group"):
        if not file.provider.get(key):
            yield Finding(where="provider", what=f"it has no {key}", remedy=f"give {key}")


def head_is_on_demand(file: ClusterFile) -> Iterator[Finding]:
    """With the head goes the cluster."""
    for name, where, config in file.node_configs():
        if name == file.head and config.get("azure_arm_parameters", {}).get("priority") == "Spot":
            what = "the head is a spot machine, and with it the cluster would go at 30 seconds' notice"
            yield Finding(where=f"{where}.azure_arm_parameters.priority", what=what, remedy="take it out of the head")


def evictions(file: ClusterFile) -> Iterator[Finding]:
    """A spot machine that is deallocated keeps its disk."""
    for _, where, config in file.node_configs():
        if config.get("azure_arm_parameters", {}).get("evictionPolicy") == "Deallocate":
            what = "a machine that was taken back keeps its disk, which goes on costing"
            yield Finding(where=f"{where}.azure_arm_parameters.evictionPolicy", what=what, remedy="Delete")


def tags(file: ClusterFile) -> Iterator[Finding]:
    """Whose a machine is. Ray puts them on the resource group."""
    missing = [tag for tag in WANTED_TAGS if tag not in (file.provider.get("tags") or {})]
    if missing:
        what = f"there is no tag {' and '.join(missing)}, so that no bill can be split by it"
        yield Finding(where="provider.tags", what=what, remedy="add it")


def credentials(file: ClusterFile) -> Iterator[Finding]:
    """What `ray up` needs on this machine."""
    module, remedy = SDK
    if importlib.util.find_spec(module.split(".")[0]) is None:
        yield Finding(where="this machine", what="Azure's SDK is not installed", remedy=remedy)
    if not os.environ.get("AZURE_CLIENT_ID") and not LOGIN.expanduser().is_file():
        yield Finding(where="account", what="nobody has logged in to Azure", remedy="az login")


@cache
def _parameters() -> tuple[str, ...]:
    """Of the template of the installed Ray."""
    template = ray_folder() / "autoscaler" / "_private" / "_azure" / "azure-vm-template.json"
    return tuple(json.loads(template.read_text())["parameters"])


CHECKS = (node_config_keys, location, head_is_on_demand, evictions, tags)
