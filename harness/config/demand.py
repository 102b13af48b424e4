"""What a training occupies, on one process or several, and how many fit on the nodes of a cluster. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ndcl.errors import UserError

Placement = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
"""Where the workers go, as Ray names it: on few nodes, over many, on one, each on its own node."""
COLLECTIVE_TIMEOUT_SECONDS = 1800
"""Ray Train's own."""
WHERE = {"STRICT_PACK": " on one node", "STRICT_SPREAD": " on its own node each"}


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The processes of one trial: as many as there is room for, between `least` and `most`."""

    least: int
    most: int
    cpus: float = 1.0
    """CPU cores that each occupies."""
    gpus: int = 0
    """GPUs that each occupies."""
    placement: Placement = "PACK"
    timeout_seconds: int = COLLECTIVE_TIMEOUT_SECONDS
    """How long one waits for the others in a collective."""

    @property
    def needed(self) -> dict[str, float]:
        """What each worker occupies, by Ray's names."""
        return {"CPU": self.cpus, "GPU": float(self.gpus)}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one training occupies, and how many run at once."""

    cpus: float
    """CPU cores, with the most workers that it may have."""
    gpus: float
    workers: Workers | None = None
    """Those of a training that has several; None: it is one process, with all that it occupies."""
    max_concurrent: int | None = None
    """At most so many at once; None: as many as fit."""
    key: str = field(default="resources", compare=False)
    """Where a sweep's file says it."""

    @property
    def needed(self) -> dict[str, float]:
        """By Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus}

    @property
    def cpus_per_process(self) -> float:
        """Of one process."""
        return self.workers.cpus if self.workers else self.cpus

    @property
    def num_threads(self) -> int:
        """Of one process: one for each whole core that it occupies, and at least one."""
        return max(1, int(self.cpus_per_process))


def num_at_once(occupied: Demand, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many such trainings run at once on nodes with these resources. Raises UserError if none fits."""
    if occupied.workers is not None:
        fitting = _trials_of_workers(occupied.workers, nodes, occupied.key)
    else:
        fitting = sum(room_on(node, occupied.needed) for node in nodes)
        if not fitting:
            raise UserError(_does_not_fit(occupied.needed, nodes, occupied.key))
    return min(fitting, occupied.max_concurrent) if occupied.max_concurrent else fitting


def _does_not_fit(needed: Mapping[str, float], nodes: Sequence[Mapping[str, float]], key: str) -> str:
    """Why a process that needs this fits on none of the nodes, in one line."""
    for kind, number in needed.items():
        most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if number > most:
            there = f"but there are {most:g}" if len(nodes) == 1 else f"but no node has more than {most:g}"
            return f"{key}: a trial needs {number:g} {kind}, {there}; lower {key}.{kind.lower()}s_per_trial"
    all_of_them = " and ".join(f"{number:g} {kind}" for kind, number in needed.items() if number > 0)
    return f"{key}: a trial needs {all_of_them}, and no node has both; lower {key}.cpus_per_trial or gpus_per_trial"


def _trials_of_workers(workers: Workers, nodes: Sequence[Mapping[str, float]], key: str) -> int:
    """How many trials of several workers run at once on nodes with these resources, so that none waits for another.

    Where not even one with the most workers fits, but one with the least does, it is one.
    Raises UserError if none fits.
    """
    rooms = [room_on(node, workers.needed) for node in nodes]
    fitting = _fitting(rooms, workers.most, workers.placement) or min(
        1, _fitting(rooms, workers.least, workers.placement)
    )
    if not fitting:
        raise UserError(
            f"{key}: a trial needs {workers.least} workers of {workers.cpus:g} CPU and {workers.gpus} GPU"
            f"{WHERE.get(workers.placement, '')}, but there is room for {sum(rooms)} on {len(rooms)} "
            f"node{'s' if len(rooms) > 1 else ''}; lower {key}.workers_per_trial or what each worker occupies"
        )
    return fitting


def room_on(node: Mapping[str, float], needed: Mapping[str, float]) -> int:
    """How many processes that need this fit on a node with these resources. None has parts of two GPUs."""
    return min(_shares(node.get(kind, 0.0), number, kind) for kind, number in needed.items() if number > 0)


def _shares(available: float, number: float, kind: str) -> int:
    if kind == "GPU" and number < 1:
        return int(available) * int(1 / number + 1e-9)
    return int(available / number + 1e-9)


def _fitting(rooms: Sequence[int], size: int, placement: Placement) -> int:
    """How many trials of `size` workers fit on nodes that have room for so many workers each."""
    if placement == "STRICT_PACK":
        return sum(room // size for room in rooms)
    if placement == "STRICT_SPREAD":
        return max(n for n in range(sum(rooms) // size + 1) if sum(min(room, n) for room in rooms) >= n * size)
    return sum(rooms) // size
