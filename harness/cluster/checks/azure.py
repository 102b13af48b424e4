"""What can be wrong with an Azure cluster's YAML. Its node_config are parameters of the template that Ray deploys."""

import difflib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.cluster.catalogue.machine_sizes import AZURE_GPU_SIZES
from harness.cluster.checks.findings import Finding, unknown
from harness.cluster.checks.json_schema import against
from harness.cluster.checks.ray_schema import ray_folder
from harness.cluster.files import ClusterFile
from harness.cluster.market import is_spot

RAYS_OWN = ("adminUsername", "msi", "nsg", "provisionPublicIp", "publicKey", "subnet", "vmCount", "vmName", "vmTags")
"""Parameters that Ray fills in."""
BESIDE = ("availability_zone",)
"""What Ray takes out before it deploys."""
NODE_KEYS = ("azure_arm_parameters", "tags")
TYPES = {"int": "integer", "bool": "boolean", "securestring": "string"}
VALUES = {"priority": ("Regular", "Spot", "Low"), "evictionPolicy": ("Delete", "Deallocate")}
"""Which the template hands on unchecked."""
_SIZE = re.compile(r"(?:Standard|Basic)_[A-Z]+\d+[A-Za-z0-9-]*(?:_[A-Za-z0-9]+)*")
_RESULTS = re.compile(r"abfss?://[a-z0-9$-]{3,63}@[a-z0-9]{3,24}\.(?:dfs|blob)\.core\.[a-z.]+(?:/.*)?")
WANTED_TAGS = ("project", "owner")
SDK = ("azure.mgmt.compute", "pip install azure-identity azure-mgmt-compute azure-mgmt-network azure-mgmt-resource")
LOGIN = Path("~/.azure/azureProfile.json")


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos, and parameters that Ray writes over."""
    for name, where, config in file.node_configs():
        yield from (unknown(key, NODE_KEYS, where) for key in config if key not in NODE_KEYS)
        parameters, place = config.get("azure_arm_parameters", {}), f"{where}.azure_arm_parameters"
        yield from against(_parameters(), parameters, place, "Ray's template")
        if not isinstance(parameters, dict):
            continue
        if "vmSize" not in parameters:
            yield Finding(where=place, what=f"{name} has no vmSize", remedy="such as vmSize: Standard_D4s_v5")
        elif not _SIZE.fullmatch(str(parameters["vmSize"])):
            what = f"{parameters['vmSize']} is named as no size of Azure's"
            yield Finding(where=f"{place}.vmSize", what=what, remedy=size_remedy(str(parameters["vmSize"])))


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where."""
    for key in ("location", "resource_group"):
        if not file.provider.get(key):
            yield Finding(where="provider", what=f"it has no {key}", remedy=f"give {key}")


def head_is_on_demand(file: ClusterFile) -> Iterator[Finding]:
    """With the head goes the cluster."""
    for name, where, config in file.node_configs():
        if name == file.head and is_spot({"node_config": config}):
            what = "the head is a spot machine, and with it the cluster would go at 30 seconds' notice"
            yield Finding(where=f"{where}.azure_arm_parameters.priority", what=what, remedy="take it out of the head")


def evictions(file: ClusterFile) -> Iterator[Finding]:
    """A spot machine that is deallocated keeps its disk."""
    for _, where, config in file.node_configs():
        if config.get("azure_arm_parameters", {}).get("evictionPolicy") == "Deallocate":
            what = "a machine that was taken back keeps its disk, which keeps costing"
            yield Finding(where=f"{where}.azure_arm_parameters.evictionPolicy", what=what, remedy="Delete")


def identities(file: ClusterFile) -> Iterator[Finding]:
    """Ray's own identity has rights over the cluster's group alone, in which results must not lie."""
    results = str(file.metadata.get("results") or "")
    given = [file.provider.get(key) for key in ("msi_name", "msi_resource_group")]
    if results.startswith(("abfs://", "abfss://")):
        if not all(given):
            what = "the identity that Ray makes may use no storage account, so that no results could be written"
            remedy = "msi_name and msi_resource_group of one with the role, as clusters/azure.yaml"
            yield Finding(where="provider", what=what, remedy=remedy)
        elif given[1] == file.provider.get("resource_group"):
            what = "the identity, and its role, would go with the cluster's group"
            yield Finding(where="provider.msi_resource_group", what=what, remedy="another group, such as ndcl-results")
        if not _RESULTS.fullmatch(results):
            what = f"{results} names no container and account"
            remedy = "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/ndcl"
            yield Finding(where="metadata.results", what=what, remedy=remedy)


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
def _parameters() -> dict[str, Any]:
    """Those of the template of the installed Ray that a file may set, as a JSON Schema."""
    template = ray_folder() / "autoscaler" / "_private" / "_azure" / "azure-vm-template.json"
    declared = json.loads(template.read_text())["parameters"]
    fields = {key: {"type": TYPES.get(of["type"], of["type"])} for key, of in declared.items() if key not in RAYS_OWN}
    fields |= {key: {"enum": list(values)} for key, values in VALUES.items()} | {key: {} for key in BESIDE}
    return {"type": "object", "properties": fields, "additionalProperties": False}


def size_remedy(given: str) -> str:
    """What may have been meant."""
    known = (*AZURE_GPU_SIZES, "Standard_D4s_v5", "Standard_E4s_v5")
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(f"Standard_{given}", known, n=1)
    return f"did you mean '{near[0]}'?" if near else "such as Standard_D4s_v5; az vm list-sizes --location ..."


STRUCTURE = (node_config_keys,)
SHAPE = (*STRUCTURE, location)
CHECKS = (head_is_on_demand, evictions, identities, tags)
