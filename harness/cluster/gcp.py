"""What can be wrong with a Google Cloud cluster's YAML. Its node_config is an instance of Compute Engine's REST API."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding, unknown

INSTANCE_KEYS = (
    "advancedMachineFeatures",
    "canIpForward",
    "confidentialInstanceConfig",
    "deletionProtection",
    "description",
    "disks",
    "displayDevice",
    "guestAccelerators",
    "hostname",
    "keyRevocationActionType",
    "labels",
    "machineType",
    "metadata",
    "minCpuPlatform",
    "networkInterfaces",
    "networkPerformanceConfig",
    "params",
    "privateIpv6GoogleAccess",
    "reservationAffinity",
    "resourcePolicies",
    "scheduling",
    "serviceAccounts",
    "shieldedInstanceConfig",
    "sourceMachineImage",
    "tags",
)
SCHEDULING_KEYS = (
    "automaticRestart",
    "availabilityDomain",
    "hostErrorTimeoutSeconds",
    "instanceTerminationAction",
    "localSsdRecoveryTimeout",
    "locationHint",
    "maxRunDuration",
    "minNodeCpus",
    "nodeAffinities",
    "onHostMaintenance",
    "onInstanceStopAction",
    "preemptible",
    "provisioningModel",
    "terminationTime",
)
DISK_KEYS = (
    "architecture",
    "autoDelete",
    "boot",
    "deviceName",
    "diskEncryptionKey",
    "diskSizeGb",
    "forceAttach",
    "guestOsFeatures",
    "index",
    "initializeParams",
    "interface",
    "mode",
    "source",
    "type",
)
WANTED_LABELS = ("project", "owner")
SDK = ("googleapiclient", "pip install google-api-python-client google-auth")
LOGIN = Path("~/.config/gcloud/application_default_credentials.json")


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos in what Ray passes on to Compute Engine."""
    for _, where, config in file.node_configs():
        yield from (unknown(key, INSTANCE_KEYS, where) for key in config if key not in INSTANCE_KEYS)
        scheduling = config.get("scheduling", {})
        if isinstance(scheduling, list):
            what = "it is a list, and Compute Engine takes a mapping"
            yield Finding(where=f"{where}.scheduling", what=what, remedy="leave out the dash")
            continue
        place = f"{where}.scheduling"
        yield from (unknown(key, SCHEDULING_KEYS, place) for key in scheduling if key not in SCHEDULING_KEYS)
        for number, disk in enumerate(config.get("disks", ())):
            place = f"{where}.disks.{number}"
            yield from (unknown(key, DISK_KEYS, place) for key in disk if key not in DISK_KEYS)


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where and for whom."""
    for key in ("project_id", "region", "availability_zone"):
        if not file.provider.get(key):
            yield Finding(where="provider", what=f"it has no {key}", remedy=f"give {key}")
    region, zone = (str(file.provider.get(key)) for key in ("region", "availability_zone"))
    if not zone.startswith(region):
        what = f"{zone} is not in {region}"
        yield Finding(where="provider.availability_zone", what=what, remedy=f"such as {region}-a")


def head_is_on_demand(file: ClusterFile) -> Iterator[Finding]:
    """With the head goes the cluster."""
    for name, where, config in file.node_configs():
        scheduling = config.get("scheduling") or {}
        is_spot = scheduling.get("provisioningModel") == "SPOT" or scheduling.get("preemptible")
        if name == file.head and is_spot:
            what = "the head is a spot instance, and with it the cluster would go at 30 seconds' notice"
            yield Finding(where=f"{where}.scheduling", what=what, remedy="take it out of the head")


def accelerators(file: ClusterFile) -> Iterator[Finding]:
    """A machine with GPUs can't be moved."""
    for name, where, config in file.node_configs():
        has_gpu = file.node_types[name]["resources"].get("GPU") or config.get("guestAccelerators")
        if has_gpu and (config.get("scheduling") or {}).get("onHostMaintenance") != "TERMINATE":
            what = "Compute Engine refuses an instance with GPUs that it is to move at maintenance"
            yield Finding(where=f"{where}.scheduling", what=what, remedy="onHostMaintenance: TERMINATE")


def disks(file: ClusterFile) -> Iterator[Finding]:
    """Compute Engine encrypts all of them; but they may stay."""
    for _, where, config in file.node_configs():
        for number, disk in enumerate(config.get("disks", ())):
            if not disk.get("autoDelete"):
                what = "the disk outlives its instance, and goes on costing"
                yield Finding(where=f"{where}.disks.{number}", what=what, remedy="autoDelete: true")


def labels(file: ClusterFile) -> Iterator[Finding]:
    """Whose an instance is."""
    for _, where, config in file.node_configs():
        missing = [label for label in WANTED_LABELS if label not in (config.get("labels") or {})]
        if missing:
            what = f"instances have no label {' and '.join(missing)}, so that no bill can be split by it"
            yield Finding(where=f"{where}.labels", what=what, remedy="add it")


def accounts(file: ClusterFile) -> Iterator[Finding]:
    """A worker without an account of its own can't reach the results; the head's is Ray's."""
    for name, where, config in file.node_configs():
        if name != file.head and not config.get("serviceAccounts"):
            what = "workers have no service account, so that they can't reach the results' bucket"
            yield Finding(where=f"{where}.serviceAccounts", what=what, remedy="give one, as clusters/gcp.yaml")


def credentials(file: ClusterFile) -> Iterator[Finding]:
    """What `ray up` needs on this machine."""
    module, remedy = SDK
    if importlib.util.find_spec(module) is None:
        yield Finding(where="this machine", what="Google Cloud's SDK is not installed", remedy=remedy)
    given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not (Path(given).is_file() if given else LOGIN.expanduser().is_file()):
        what = "there are no credentials of Google Cloud"
        yield Finding(where="account", what=what, remedy="gcloud auth application-default login")


CHECKS = (node_config_keys, location, head_is_on_demand, accelerators, disks, labels, accounts)
