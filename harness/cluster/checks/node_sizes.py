"""Whether the machines of a launcher YAML are large enough, and offer to trials what they have. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.cluster.catalogue.machine_sizes import MachineSize, size_of
from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile

HEAD_MEMORY_GIB, HEAD_CPUS = 8, 2
"""Of driver, GCS, autoscaler, dashboard and MLflow."""
LEAST_DISK_GIB = 50
"""Of the image, some 7 GB of packages, and a set of a few GB."""
LEAST_MEMORY_BYTES = 2**26
OF_RAY = {"CPU": "CPU", "GPU": "GPU", "NVIDIA.COM/GPU": "GPU"}
"""Names in capitals, without a plural's s, to those that Ray knows."""


def resource_names(file: ClusterFile) -> Iterator[Finding]:
    """Any name is a resource to Ray, so that a wrong one is offered and never asked for."""
    for name, node_type in file.node_types.items():
        for key, value in node_type["resources"].items():
            where = f"available_node_types.{name}.resources"
            meant = OF_RAY.get(key.upper().removesuffix("S"))
            if meant and key != meant:
                what = f"no trial asks for {key}"
                yield Finding(where=f"{where}.{key}", what=what, remedy=f'"{meant}": {value}')
            if key == "memory" and value < LEAST_MEMORY_BYTES:
                remedy = f"in bytes: {value} GiB are {value * 2**30}, or leave it out"
                yield Finding(where=f"{where}.memory", what=f"{value} are so many bytes", remedy=remedy)


def offered_resources(file: ClusterFile) -> Iterator[Finding]:
    """A type that promises more than its machine has is started again and again, and no trial ever fits."""
    for name, _, config in file.node_configs():
        size, where = size_of(file, config), f"available_node_types.{name}.resources"
        offered, machine = file.node_types[name]["resources"], file.machine(config)
        if size is None or any(OF_RAY.get(key.upper().removesuffix("S"), key) != key for key in offered):
            continue
        has = {"CPU": size.cpus, "GPU": size.gpus + _attached(config)}
        too_many = [kind for kind in has if offered.get(kind, 0) > has[kind]]
        if too_many:
            said = " and ".join(f"{offered[kind]} {kind}" for kind in too_many)
            real = " and ".join(str(has[kind]) for kind in too_many)
            what = f"{said} are promised, but a {machine} has {real}: no trial would ever fit"
            yield Finding(where=where, what=what, remedy=", ".join(f'"{kind}": {has[kind]}' for kind in too_many))
        elif offered.get("GPU", 0) < has["GPU"] and name != file.head:
            said = f"{offered['GPU']}: the rest costs and idles" if offered.get("GPU") else "none"
            what = f"a {machine} has {has['GPU']} GPU, and trials are offered {said}"
            yield Finding(where=where, what=what, remedy=f'"GPU": {has["GPU"]}')


def head_size(file: ClusterFile) -> Iterator[Finding]:
    """A head that runs out of memory ends all sweeps."""
    for name, where, config in file.node_configs():
        size = size_of(file, config) if name == file.head else None
        if size and _is_too_small(size):
            what = f"a {file.machine(config)} is too small for a head ({size.cpus} CPUs, {size.memory_gib:g} GiB)"
            yield Finding(where=where, what=what, remedy=f"4 CPUs and 16 GiB, such as {_SHIPPED_HEADS[file.kind]}")


def disk_sizes(file: ClusterFile) -> Iterator[Finding]:
    """A full disk ends trials hours after the start."""
    for _, where, config in file.node_configs():
        key, gib = disk_of(file, config)
        if gib is not None and gib < LEAST_DISK_GIB:
            what = f"{gib:g} GiB are too few for the image, the packages and data"
            yield Finding(where=f"{where}.{key}", what=what, remedy="150, as the shipped files")


def disk_of(file: ClusterFile, config: Mapping[str, Any]) -> tuple[str, float | None]:
    """Where the size of the first disk stands, and the size in GiB; None where it is the image's."""
    match file.kind:
        case "gcp":
            found = [(disk.get("initializeParams") or {}).get("diskSizeGb") for disk in config.get("disks") or ()]
            return "disks.0.initializeParams.diskSizeGb", float(found[0]) if found and found[0] else None
        case "azure":
            size = (config.get("azure_arm_parameters") or {}).get("osDiskSize")
            return "azure_arm_parameters.osDiskSize", float(size) if size else None
        case _:
            sizes = [(disk.get("Ebs") or {}).get("VolumeSize") for disk in config.get("BlockDeviceMappings") or ()]
            return "BlockDeviceMappings.0.Ebs.VolumeSize", float(sizes[0]) if sizes and sizes[0] else None


_SHIPPED_HEADS = {"aws": "m6i.xlarge", "gcp": "n2-standard-4", "azure": "Standard_D4s_v5"}


def _is_too_small(size: MachineSize) -> bool:
    return size.memory_gib < HEAD_MEMORY_GIB or size.cpus < HEAD_CPUS


def _attached(config: Mapping[str, Any]) -> int:
    """GPUs that Google attaches to a machine."""
    return sum(int(gpu.get("acceleratorCount", 0)) for gpu in config.get("guestAccelerators") or ())


CHECKS = (resource_names, offered_resources, head_size, disk_sizes)
