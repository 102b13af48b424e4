"""The processes of a sweep that runs: found by what Ray calls them, killed as the system would."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

ENDED_AFTER_SECONDS = 60
"""So long may Ray take to notice that its driver is gone."""


def children(pid: int) -> list[int]:
    """All processes below `pid`."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in found.splitlines())}
    below = [child for child, parent in parents.items() if parent == pid]
    return below + [deeper for child in below for deeper in children(child)]


def workers(driver: int) -> list[int]:
    """The processes that train."""
    return [pid for pid in children(driver) if "ImplicitFunc" in command(pid)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pids: Iterable[int]) -> None:
    """Wait until none of these is left."""
    deadline = time.monotonic() + ENDED_AFTER_SECONDS
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"left behind: {alive}"
        time.sleep(0.2)


def kill(process: "subprocess.Popen[str]") -> None:
    """End it as a power failure would, and collect it."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def command(pid: int) -> str:
    """How a process was called."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended since it was listed
        return ""
