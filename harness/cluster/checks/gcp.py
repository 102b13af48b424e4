"""What can be wrong with a Google Cloud cluster's YAML. Its node_config is an instance of Compute Engine's REST API."""

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.cluster.catalogue.compute_engine import instance_schema
from harness.cluster.catalogue.machine_sizes import gce_remedy, is_gce_type
from harness.cluster.checks.findings import Finding
from harness.cluster.checks.json_schema import against
from harness.cluster.files import ClusterFile
from harness.cluster.market import is_spot

RAYS_OWN = ("networkConfig", "sourceInstanceTemplate")
"""Keys that Ray takes out before it asks for an instance."""
NO_STANDARD_DISK = ("a3", "a4", "a4x", "c3", "c3d", "c4", "c4a", "c4d", "g2", "g4", "h3", "m3", "n4", "z3")
"""Series that take no pd-standard."""
HYPERDISK_ONLY = ("a4", "a4x", "c4", "c4a", "c4d", "g4", "n4")
IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2404-nvidia-580"
_REGION = re.compile(
    r"(?:africa|asia|australia|europe|me|northamerica|southamerica|us)-"
    r"(?:central|east|north|northeast|northwest|south|southeast|southwest|west)\d+"
)
_ZONE = re.compile(rf"({_REGION.pattern})-[a-z]")
_ZONE_OF_PATH = re.compile(r"zones/([^/]+)/")
_IMAGE = re.compile(r"(?:https://[^/]+/compute/v1/)?(?:projects/[\w.:-]+/)?global/images/(?:family/)?[a-z][a-z0-9-]*")
WANTED_LABELS = ("project", "owner")
SDK = ("googleapiclient", "pip install google-api-python-client google-auth")
LOGIN = Path("~/.config/gcloud/application_default_credentials.json")


def node_config_keys(file: ClusterFile) -> Iterator[Finding]:
    """Typos and wrong values at any depth of what Ray passes on to Compute Engine."""
    for _, where, config in file.node_configs():
        given = {key: value for key, value in config.items() if key not in RAYS_OWN}
        yield from against(instance_schema(), given, where, "Compute Engine")


def location(file: ClusterFile) -> Iterator[Finding]:
    """Where and for whom."""
    missing = [key for key in ("project_id", "region", "availability_zone") if not file.provider.get(key)]
    yield from (Finding(where="provider", what=f"it has no {key}", remedy=f"give {key}") for key in missing)
    if missing:
        return
    region, zone = (str(file.provider[key]) for key in ("region", "availability_zone"))
    as_zone = _ZONE.fullmatch(region)
    if as_zone:
        what, remedy = f"{region} is a zone", f"region: {as_zone.group(1)}, availability_zone: {region}"
        yield Finding(where="provider.region", what=what, remedy=remedy)
    elif not _REGION.fullmatch(region):
        what = f"{region} is named as no region of Google's"
        yield Finding(where="provider.region", what=what, remedy="such as us-central1; gcloud compute regions list")
    elif not zone.startswith(f"{region}-") or not _ZONE.fullmatch(zone):
        what = f"{zone} is not in {region}" if _ZONE.fullmatch(zone) else f"{zone} is no zone"
        yield Finding(where="provider.availability_zone", what=what, remedy=f"such as {region}-a")


def machine_types(file: ClusterFile) -> Iterator[Finding]:
    """By how Google names them: there is no list to be had without an account."""
    for _, where, config in file.node_configs():
        name = file.machine(config).rpartition("/")[2]
        if not name:
            yield Finding(where=where, what="it has no machineType", remedy="such as machineType: n2-standard-4")
        elif not is_gce_type(name):
            what, remedy = f"{name} is named as no machine type of Google's", gce_remedy(name)
            yield Finding(where=f"{where}.machineType", what=what, remedy=remedy)


def head_is_on_demand(file: ClusterFile) -> Iterator[Finding]:
    """With the head goes the cluster."""
    for name, where, config in file.node_configs():
        if name == file.head and is_spot({"node_config": config}):
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
    """Compute Engine encrypts all of them; but they may stay, be of a type that no machine takes, or have no system."""
    zone = file.provider["availability_zone"]
    for _, where, config in file.node_configs():
        if not any(disk.get("boot") for disk in config.get("disks") or ()) and "sourceInstanceTemplate" not in config:
            yield Finding(where=f"{where}.disks", what="there is none to start from", remedy="one with boot: true")
        for number, disk in enumerate(config.get("disks") or ()):
            place, series = f"{where}.disks.{number}", file.machine(config).rpartition("/")[2].partition("-")[0]
            if not disk.get("autoDelete"):
                what = "the disk outlives its instance, and keeps costing"
                yield Finding(where=place, what=what, remedy="autoDelete: true")
            if disk.get("type") == "SCRATCH" or "source" in disk:
                continue
            given = disk.get("initializeParams") or {}
            right = f"zones/{zone}/diskTypes/{_disk_for(series)}"
            yield from _disk_type(str(given.get("diskType") or ""), right, series, f"{place}.initializeParams")
            if disk.get("boot") and not given.get("sourceImage"):
                what = "the first disk has no image"
                yield Finding(where=f"{place}.initializeParams", what=what, remedy=f"sourceImage: {IMAGE}")


def images(file: ClusterFile) -> Iterator[Finding]:
    """By their path alone."""
    for _, where, config in file.node_configs():
        for number, disk in enumerate(config.get("disks") or ()):
            image = (disk.get("initializeParams") or {}).get("sourceImage")
            if image and not _IMAGE.fullmatch(str(image)):
                place, what = f"{where}.disks.{number}.initializeParams.sourceImage", f"{image} is no path of an image"
                yield Finding(where=place, what=what, remedy=f"such as {IMAGE}")


def _disk_type(given: str, right: str, series: str, where: str) -> Iterator[Finding]:
    """Ray passes the type on as it is, and Compute Engine wants a path; the default, pd-standard, does not fit all."""
    if not given and series in NO_STANDARD_DISK:
        what = f"without diskType it is pd-standard, which no {series} takes"
        yield Finding(where=where, what=what, remedy=f"diskType: {right}")
    elif given and "/diskTypes/" not in given:
        what = f"{given} is no path, and Ray does not make it one"
        yield Finding(where=f"{where}.diskType", what=what, remedy=f"zones/ZONE/diskTypes/{given}")
    elif given and (zone := _ZONE_OF_PATH.search(given)) and f"zones/{zone.group(1)}/" not in right:
        what = f"it is of zone {zone.group(1)}"
        yield Finding(where=f"{where}.diskType", what=what, remedy=right)
    elif given.endswith("/pd-standard") and series in NO_STANDARD_DISK:
        yield Finding(where=f"{where}.diskType", what=f"no {series} takes pd-standard", remedy=right)


def _disk_for(series: str) -> str:
    """The type of disk that a series takes and that is neither its slowest nor its dearest."""
    return "hyperdisk-balanced" if series in HYPERDISK_ONLY else "pd-balanced"


def labels(file: ClusterFile) -> Iterator[Finding]:
    """Whose an instance is."""
    for _, where, config in file.node_configs():
        missing = [label for label in WANTED_LABELS if label not in (config.get("labels") or {})]
        if missing:
            what = f"instances have no label {' and '.join(missing)}, so that no bill can be split by it"
            yield Finding(where=f"{where}.labels", what=what, remedy="add it")


def accounts(file: ClusterFile) -> Iterator[Finding]:
    """A worker without its own account can't reach the results; the head's is Ray's."""
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


STRUCTURE = (node_config_keys,)
SHAPE = (*STRUCTURE, location, machine_types)
CHECKS = (head_is_on_demand, accelerators, disks, images, labels, accounts)
