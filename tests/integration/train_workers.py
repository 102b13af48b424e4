"""The processes of Ray Train's workers, found by the name that Ray gives them."""

import subprocess


def train_workers(above: int) -> list[int]:
    """Process ids of the workers somewhere below the process `above`."""
    return [
        pid for pid, (parent, name) in _processes().items() if "RayTrainWorker" in name and _is_below(parent, above)
    ]


def parent_of(pid: int) -> int:
    """The process that started `pid`: for a worker, its node's raylet."""
    return _processes()[pid][0]


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of all processes."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in lines.splitlines())
    return {int(row[0]): (int(row[1]), row[-1]) for row in rows}


def _is_below(pid: int, above: int) -> bool:
    parents = {child: parent for child, (parent, _) in _processes().items()}
    while pid > 1 and pid != above:
        pid = parents.get(pid, 0)
    return pid == above
