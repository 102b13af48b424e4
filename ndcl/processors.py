"""How many processors this process may use, which in a container or a job is fewer than the machine has."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def num_processors() -> int:
    """Those of the machine, of the process's affinity, and of its control group's quota: the fewest, at least 1.

    A quota of a part of a processor counts as a whole one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def _quota() -> float | None:
    """Processors' worth of time that the control group has (version 2, else version 1); None without a limit."""
    try:
        limit, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit, period = ((CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        return None if float(limit) <= 0 else float(limit) / float(period)
    except (ValueError, ZeroDivisionError):  # `max`
        return None
