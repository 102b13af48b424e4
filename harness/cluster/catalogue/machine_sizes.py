"""How large machines are, by the name of their type: EC2's from a list, Google's and Azure's by how they are named."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.cluster.catalogue.ec2_types import ec2_types
from harness.cluster.files import ClusterFile


@dataclass(frozen=True, kw_only=True)
class MachineSize:
    """What a type of machine has."""

    cpus: int
    memory_gib: float
    gpus: int = 0


def _gpu_sizes(text: str) -> dict[str, MachineSize]:
    """Of lines with name, CPUs, GiB of memory, and GPUs."""
    rows = (line.split() for line in text.strip().splitlines())
    return {
        name: MachineSize(cpus=int(cpus), memory_gib=float(memory), gpus=int(gpus)) for name, cpus, memory, gpus in rows
    }


GCE_GPU_TYPES = _gpu_sizes("""
a2-highgpu-1g 12 85 1
a2-highgpu-2g 24 170 2
a2-highgpu-4g 48 340 4
a2-highgpu-8g 96 680 8
a2-megagpu-16g 96 1360 16
a2-ultragpu-1g 12 170 1
a2-ultragpu-2g 24 340 2
a2-ultragpu-4g 48 680 4
a2-ultragpu-8g 96 1360 8
a3-edgegpu-8g 208 1872 8
a3-highgpu-1g 26 234 1
a3-highgpu-2g 52 468 2
a3-highgpu-4g 104 936 4
a3-highgpu-8g 208 1872 8
a3-megagpu-8g 208 1872 8
a3-ultragpu-8g 224 2952 8
a4-highgpu-8g 224 3968 8
a4x-highgpu-4g 140 884 4
g2-standard-4 4 16 1
g2-standard-8 8 32 1
g2-standard-12 12 48 1
g2-standard-16 16 64 1
g2-standard-24 24 96 2
g2-standard-32 32 128 1
g2-standard-48 48 192 4
g2-standard-96 96 384 8
g4-standard-48 48 180 1
g4-standard-96 96 360 2
g4-standard-192 192 720 4
g4-standard-384 384 1440 8
""")
"""Google's machines that come with GPUs; to others they are attached."""
GCE_SHARED = {
    "e2-micro": MachineSize(cpus=2, memory_gib=1),
    "e2-small": MachineSize(cpus=2, memory_gib=2),
    "e2-medium": MachineSize(cpus=2, memory_gib=4),
    "f1-micro": MachineSize(cpus=1, memory_gib=0.6),
    "g1-small": MachineSize(cpus=1, memory_gib=1.7),
}
GCE_SHAPES = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
"""GiB of memory a CPU, about."""
GCE_OTHER_SHAPES = ("highlssd", "hypermem", "megamem", "standardlssd", "ultramem")
_GCE_CUSTOM = re.compile(r"(?:[a-z]\d{1,2}[a-z]?-)?custom-(\d+)-(\d+)(?:-ext)?")
_GCE_PREDEFINED = re.compile(r"([a-z]\d{1,2}[a-z]?)-([a-z]+)-(\d+)(?:-[a-z]+)?")
AZURE_GPU_SIZES = _gpu_sizes("""
Standard_NC4as_T4_v3 4 28 1
Standard_NC8as_T4_v3 8 56 1
Standard_NC16as_T4_v3 16 110 1
Standard_NC64as_T4_v3 64 440 4
Standard_NC24ads_A100_v4 24 220 1
Standard_NC48ads_A100_v4 48 440 2
Standard_NC96ads_A100_v4 96 880 4
Standard_NC40ads_H100_v5 40 320 1
Standard_NC80adis_H100_v5 80 640 2
Standard_ND96asr_v4 96 900 8
Standard_ND96amsr_A100_v4 96 1900 8
Standard_ND96isr_H100_v5 96 1900 8
Standard_ND96isr_H200_v5 96 1850 8
Standard_NV36ads_A10_v5 36 440 1
Standard_NV36adms_A10_v5 36 880 1
Standard_NV72ads_A10_v5 72 880 2
""")
AZURE_SERIES = {"D": 4.0, "E": 8.0, "F": 2.0}
"""GiB of memory a CPU, of those without GPUs."""
AZURE_BURSTABLE = {"B1ls": (1, 0.5), "B1s": (1, 1.0), "B1ms": (1, 2.0), "B2s": (2, 4.0), "B2ms": (2, 8.0)}
_AZURE = re.compile(r"Standard_([DEF])(\d+)[a-z]*_v\d")


def size_of(file: ClusterFile, config: Mapping[str, object]) -> MachineSize | None:
    """Of the machine that a `node_config` asks for; None for one that is not known."""
    name = file.machine(config)
    match file.kind:
        case "aws":
            found = ec2_types().get(name)
            return MachineSize(cpus=found.cpus, memory_gib=found.memory_gib, gpus=found.gpus) if found else None
        case "gcp":
            return gce_size(name)
        case "azure":
            return azure_size(name)
        case _:
            return None


def gce_size(name: str) -> MachineSize | None:
    """Of one of Google's machines, without GPUs that are attached to it."""
    name = name.rpartition("/")[2]
    if name in GCE_GPU_TYPES or name in GCE_SHARED:
        return GCE_GPU_TYPES.get(name) or GCE_SHARED[name]
    if custom := _GCE_CUSTOM.fullmatch(name):
        return MachineSize(cpus=int(custom.group(1)), memory_gib=int(custom.group(2)) / 1024)
    found = _GCE_PREDEFINED.fullmatch(name)
    if not found or found.group(2) not in GCE_SHAPES:
        return None
    return MachineSize(cpus=int(found.group(3)), memory_gib=int(found.group(3)) * GCE_SHAPES[found.group(2)])


def is_gce_type(name: str) -> bool:
    """Whether a name is one of Google's, or built as those are."""
    found = _GCE_PREDEFINED.fullmatch(name)
    if found and found.group(1) in {known.partition("-")[0] for known in GCE_GPU_TYPES}:
        return name in GCE_GPU_TYPES
    is_built = found is not None and found.group(2) in (*GCE_SHAPES, *GCE_OTHER_SHAPES)
    return is_built or name in GCE_SHARED or _GCE_CUSTOM.fullmatch(name) is not None


def gce_remedy(name: str) -> str:
    """What may have been meant."""
    series, _, rest = name.partition("-")
    shape, _, cpus = rest.rpartition("-")
    near = difflib.get_close_matches(name, [*GCE_GPU_TYPES, *GCE_SHARED], n=1, cutoff=0.75)
    dashed = re.sub(r"[._]", "-", name.lower())
    shapes = difflib.get_close_matches(shape, [*GCE_SHAPES, *GCE_OTHER_SHAPES], n=1)
    if is_gce_type(dashed):
        return f"did you mean '{dashed}'?"
    if shapes and is_gce_type(f"{series}-{shapes[0]}-{cpus}"):
        return f"did you mean '{series}-{shapes[0]}-{cpus}'?"
    if near:
        return f"did you mean '{near[0]}'?"
    return "such as n2-standard-4 or g2-standard-8; gcloud compute machine-types list"


def azure_size(name: str) -> MachineSize | None:
    """Of one of Azure's machines."""
    if name in AZURE_GPU_SIZES:
        return AZURE_GPU_SIZES[name]
    if name.removeprefix("Standard_") in AZURE_BURSTABLE:
        cpus, memory = AZURE_BURSTABLE[name.removeprefix("Standard_")]
        return MachineSize(cpus=cpus, memory_gib=memory)
    found = _AZURE.fullmatch(name)
    if not found:
        return None
    cpus = int(found.group(2))
    return MachineSize(cpus=cpus, memory_gib=cpus * AZURE_SERIES[found.group(1)])
