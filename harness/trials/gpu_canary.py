"""One GPU of each node is tried before a sweep starts on a cluster: an old driver is a line then, and no failed trial.

Nodes that an autoscaler starts later are tried by their first trial (`ndcl/gpus.py`), which ends the sweep likewise.
"""

import subprocess
from collections.abc import Callable
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ndcl.errors import UnusableGpuError
from ndcl.gpus import gpu_problem

MINIMUM_DRIVERS = {11: 450, 12: 525, 13: 580}
"""Of NVIDIA, by CUDA's major version, for Linux: "Minor Version Compatibility", table 1, as read on 2026-11-29 at
docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html."""
SIDE = 64
"""Of the matrices that are multiplied."""
WAIT_SECONDS = 180.0
"""So long a node has to start a process and load torch; one whose GPUs are all taken is passed over."""


def require_usable_gpus(say: Callable[[str], None]) -> None:
    """Try one GPU of each node of the Ray that this process has joined; `say` which ones have not answered.

    Raises UnusableGpuError, with node, cause and remedy in one line.
    """
    asked = {_ask(node["NodeID"]): str(node["NodeManagerHostname"]) for node in ray.nodes() if _has_gpus(node)}
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=WAIT_SECONDS) if asked else ([], [])
    for answer in answered:
        problem = ray.get(answer)
        if problem is not None:
            raise UnusableGpuError(f"{asked[answer]}: {problem}")
    for answer in silent:
        ray.cancel(answer, force=True)
        say(f"not checked: the GPUs of {asked[answer]}, which has not answered within {WAIT_SECONDS:.0f} s")


def _has_gpus(node: dict[str, Any]) -> bool:
    return bool(node["Alive"]) and node["Resources"].get("GPU", 0) > 0


def _ask(node: str) -> Any:
    """Start the canary on a node, with a share of a GPU that leaves room for a trial."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, num_gpus=0.01, max_retries=0, scheduling_strategy=there)(canary)
    return task.remote()


def canary() -> str | None:
    """Why torch can't use the GPU that this process sees, with the remedy; None if it can."""
    problem = gpu_problem() or _multiplication_problem()
    if problem is None:  # whatever the driver: a compatibility package may stand in for a newer one
        return None
    old = old_driver(nvidia_driver(), torch.version.cuda)
    if old is not None:
        return f"{old}; update the driver, on a cloud by a newer image, or install a torch for an older CUDA"
    return f"torch can't use its GPU: {problem}; mend the node, or leave it out, or reserve no GPU (gpus_per_trial: 0)"


def nvidia_driver() -> str | None:
    """The version of this machine's driver, such as 535.104.05, by nvidia-smi; None where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


def old_driver(driver: str | None, cuda: str | None) -> str | None:
    """That `driver` is too old for torch's `cuda`, such as 13.2, in words; None if it is not, or nobody knows."""
    major = (driver or "").partition(".")[0]
    least = MINIMUM_DRIVERS.get(int(cuda.partition(".")[0])) if cuda else None
    if least is None or not major.isdecimal() or int(major) >= least:
        return None
    wanted = f"torch {torch.__version__} has CUDA {cuda}, which wants {least} or later"
    return f"its NVIDIA driver {driver} is too old: {wanted}"


def _multiplication_problem() -> str | None:
    try:
        ones = torch.ones(SIDE, SIDE, device="cuda")
        total = float((ones @ ones).sum())
    except RuntimeError as error:
        return f"a multiplication fails ({' '.join(str(error).split())[:200]})"
    return None if total == SIDE**3 else f"a multiplication gives {total:g}, and not {SIDE**3}"
