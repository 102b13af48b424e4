"""Whether torch can use the GPU of this machine, and why not: driver, CUDA and architecture have to go together."""

import re
import warnings
from pathlib import Path

import torch

from ndcl.errors import UnusableGpuError

_DRIVER = Path("/proc/driver/nvidia/version")


def require_usable_gpu() -> None:
    """Raise UnusableGpuError, which names the driver and torch's CUDA, unless torch can use each GPU that it sees."""
    problem = gpu_problem()
    if problem is not None:
        raise UnusableGpuError(
            f"a GPU is reserved for this training, but torch can't use it: {problem}; update the driver or install a "
            "torch that suits it, or reserve none (gpus_per_trial: 0, device: cpu)"
        )


def gpu_problem() -> str | None:
    """Why torch can't use the GPU of this machine, in one line with the driver and torch's CUDA, or None."""
    reason = _why_not_available() if not torch.cuda.is_available() else _why_not_suitable()
    return None if reason is None else f"{reason} ({driver_version()}; torch {torch.__version__}, {_torch_cuda()})"


def driver_version() -> str:
    """NVIDIA's driver as the kernel tells it: `driver 535.104.05`, or `no NVIDIA driver`."""
    found = re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text()) if _DRIVER.is_file() else None
    return f"driver {found.group()}" if found else "no NVIDIA driver"


def _torch_cuda() -> str:
    return f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"


def _why_not_available() -> str:
    """What CUDA says when it is to start, such as that the driver is too old."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        return str(error).split(". ")[0].split("\n")[0].rstrip(".")
    return "it sees no GPU"


def _why_not_suitable() -> str | None:
    """That torch has no code for the architecture of a GPU."""
    built_for = torch.cuda.get_arch_list()
    for number in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(number)
        if built_for and not any(_runs_on(architecture, capability) for architecture in built_for):
            name = torch.cuda.get_device_name(number)
            return f"{name} has architecture sm_{capability[0]}{capability[1]}, and torch only {' '.join(built_for)}"
    return None


def _runs_on(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture (`sm_90`, `sm_90a`, `compute_90`) runs on a GPU of this capability.

    Code of one generation runs on its later members; intermediate code (PTX) on all that come later.
    """
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
    if found is None:  # not NVIDIA's
        return True
    kind, major, minor, special = found[1], int(found[2]), int(found[3]), found[4]
    if special == "a":
        return capability == (major, minor)
    if kind == "compute" and not special:
        return capability >= (major, minor)
    return capability[0] == major and capability[1] >= minor
