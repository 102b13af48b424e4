"""Where a trial runs, what it learns from, and what its process uses meanwhile: read within the trial itself.

From `/proc` and torch alone: an evaluation's `system` takes a fraction of a millisecond.
"""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import ndcl
from harness.trials.gpu_usage import GpuUsage
from ndcl.data.problem import Problem
from ndcl.imbalance.shots import SHOT_GROUPS

PACKAGES = ("torchvision", "numpy", "ray")
MIB = 1024**2
TICKS_PER_SECOND, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def environment(problem: Problem) -> dict[str, Any]:
    """Host, versions, device and data set, in JSON types. No environment variables: some are secrets."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {"ndcl": ndcl.__version__, "torch": torch.__version__} | {name: version(name) for name in PACKAGES},
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "data": data_facts(problem),
    }


def data_facts(problem: Problem) -> dict[str, Any]:
    """The data set, and what of it is trained on: for each class its shot group and images over all source domains."""
    store = problem.store
    return {
        "name": store.name,
        "digest": store.digest,
        "folder": str(store.folder),
        "num_images": len(store),
        "domains": list(store.domains),
        "target": problem.target_domain,
        "classes": list(store.classes),
        "groups": [SHOT_GROUPS[group] for group in problem.groups],
        "training_images": problem.counts.sum(axis=0).tolist(),
    }


class Usage:
    """What this process and its children use from one evaluation to the next."""

    def __init__(self) -> None:
        self._gpu: GpuUsage | None = None
        self._cpu_seconds, self._at = _cpu_seconds(_children()), time.monotonic()
        _forget_peak()

    def since_last(self) -> dict[str, float]:
        """`cpu_percent` of one core and `memory_mib` now; on a GPU `gpu_memory_mib`, the most that torch held.

        And there `gpu_percent`, the share of time in which the GPU was busy, if its driver tells.
        """
        children, now = _children(), time.monotonic()
        cpu_seconds = _cpu_seconds(children)
        used = {
            "cpu_percent": 100 * max(0.0, cpu_seconds - self._cpu_seconds) / max(now - self._at, 1e-3),
            "memory_mib": sum(map(_resident_bytes, [os.getpid(), *children])) / MIB,
        }
        if _uses_gpu():
            used["gpu_memory_mib"] = torch.cuda.max_memory_reserved() / MIB
            self._gpu = self._gpu or GpuUsage(str(torch.cuda.get_device_properties().uuid))
            busy = self._gpu.percent()
            used |= {} if busy is None else {"gpu_percent": busy}
        self._cpu_seconds, self._at = cpu_seconds, now
        _forget_peak()
        return used


def _uses_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _forget_peak() -> None:
    if _uses_gpu():
        torch.cuda.reset_peak_memory_stats()


def _children() -> list[int]:
    """Processes that threads of this one have started and that continue, such as those that load data."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(child) for path in lists for child in _read(path).split()]


def _cpu_seconds(children: list[int]) -> float:
    """Of this process with its ended children, and of those that continue."""
    return sum(os.times()[:4]) + sum(map(_cpu_seconds_of, children))


def _cpu_seconds_of(process: int) -> float:
    fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else 0.0


def _resident_bytes(process: int) -> int:
    fields = _read(Path(f"/proc/{process}/statm")).split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def _read(path: Path) -> str:
    """Empty if the process or thread has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
