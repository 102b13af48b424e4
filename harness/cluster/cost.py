"""What a sweep costs on a cluster that starts nodes for it: time, price, and the most that an hour can cost. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from harness.cluster.disk_room import disk_warnings
from harness.cluster.files import ClusterFile
from harness.cluster.idle_guard import PAID, idle_hours
from harness.cluster.market import Market, market_of
from harness.cluster.prices import Machine, PriceList, parse_prices
from harness.config import Demand
from harness.config.demand import num_at_once
from harness.plan.cost import Kind, Range, Speed, cost_of, kinds_of
from harness.plan.words import by_phase, durations
from harness.records import Stage, TrialRecord
from ndcl.errors import UserError, unknown_name

if TYPE_CHECKING:
    from harness.plan import Plan

START_SECONDS = Range(least=300, most=900)
"""From `up` to a first step: head and first worker start and install. An assumption: no real cloud was measured."""
DEFAULT_DISK_GIB = 8.0
"""Of an image, where the YAML gives no disk."""
HOURS_A_MONTH = 730


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a cluster."""

    type_name: str
    machine_name: str
    machine: Machine
    resources: Mapping[str, float]
    disk_gib: float
    market: Market

    def hour(self, prices: PriceList) -> Range:
        """What an hour of it costs, its disk included. Spot may cost as much as on demand."""
        disk = self.disk_gib * prices.disk_gib_month / HOURS_A_MONTH
        least = self.machine.hour
        if self.market == "spot":
            least = self.machine.hour * prices.spot[0] if self.machine.spot_hour is None else self.machine.spot_hour
        return Range(least=least + disk, most=self.machine.hour + disk)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The machines that a cluster may have at once."""

    head: Node
    workers: tuple[Node, ...]
    """In the order in which they are asked for, as many of each type as there may be."""
    ceiling: int
    """Workers at once, of all types."""
    idle_seconds: float
    """That a worker stays after its last trial."""
    idle_hours: float
    """After which a cluster that nobody uses ends by itself; 0: never."""

    def asked_for(self, occupied: Demand, num_trials: int) -> tuple[int, list[Node]]:
        """How many trainings run at once, and on which workers. Raises UserError if none fits."""
        most = self.workers[: self.ceiling]
        number = min(num_at_once(occupied, [node.resources for node in most]), max(num_trials, 1))
        for count in range(1, len(most)):
            try:
                if num_at_once(occupied, [node.resources for node in most[:count]]) >= number:
                    return number, list(most[:count])
            except UserError:  # not even one fits on so few
                continue
        return number, list(most)

    def worst_hour(self, prices: PriceList) -> float:
        """With the dearest workers, spot at the price of on demand."""
        dearest = sorted((node.hour(prices).most for node in self.workers), reverse=True)
        return self.head.hour(prices).most + sum(dearest[: self.ceiling])


@dataclass(frozen=True, kw_only=True)
class ClusterCost:
    """What a sweep costs on a cluster."""

    at_once: Mapping[Stage, int]
    """Trainings of each stage."""
    workers: Sequence[Node]
    """Of the stage that wants the most; the price has them for all the time."""
    wall_seconds: Range
    price: Range
    """In US dollars, from `up` to `down` right after the end."""


def given_prices(file: ClusterFile, texts: Sequence[str]) -> dict[str, float]:
    """Prices of the user's own, as `g5.xlarge=1.01`. Raises UserError for a type that no node has."""
    _require_rented(file)
    prices, machines = parse_prices(texts), {file.machine(config) for _, _, config in file.node_configs()}
    for name in prices:
        if name not in machines:
            raise UserError(f"{file.path}: --price: no node is of it: {unknown_name('machine type', name, machines)}")
    return prices


def fleet_of(file: ClusterFile, prices: PriceList) -> Fleet:
    """Raises UserError where machines have no price here."""
    _require_rented(file)
    ceiling = int(file.values.get("max_workers", 0))
    types = dict(file.node_types)
    head = _node(file, file.head, types.pop(file.head), prices)
    by_priority = sorted(types.items(), key=lambda item: -int(item[1].get("priority", 0)))
    workers = tuple(
        _node(file, name, node_type, prices)
        for name, node_type in by_priority
        for _ in range(min(int(node_type.get("max_workers", ceiling)), ceiling))
    )
    if not workers:
        raise UserError(f"{file.path}: max_workers: no worker is allowed, so that no trial runs; raise it")
    idle_seconds = 60 * float(file.values.get("idle_timeout_minutes", 5))
    return Fleet(
        head=head, workers=workers, ceiling=ceiling, idle_seconds=idle_seconds, idle_hours=idle_hours(file.metadata)
    )


def cluster_cost(
    plan: "Plan", records: Sequence[TrialRecord], speeds: Mapping[Kind, Speed], fleet: Fleet, prices: PriceList
) -> ClusterCost:
    """Of what is left of the sweep. Raises UserError if not even one trial fits on the workers."""
    fitting: dict[Stage, int] = {}
    workers: list[Node] = []
    for stages in plan.phases:
        number, asked = fleet.asked_for(plan.occupied[stages[0]], sum(map(plan.num_trainings, stages)))
        fitting |= dict.fromkeys(stages, number)
        workers = max(workers, asked, key=len)
    training = cost_of(plan, records, speeds, fitting).wall_seconds
    assert training is not None
    wall = training + START_SECONDS
    hours, busy = wall * (1 / 3600), (wall + Range(least=fleet.idle_seconds, most=fleet.idle_seconds)) * (1 / 3600)
    hour = sum((node.hour(prices) for node in workers), Range(least=0, most=0))
    head = fleet.head.hour(prices)
    price = Range(
        least=busy.least * hour.least + hours.least * head.least, most=busy.most * hour.most + hours.most * head.most
    )
    return ClusterCost(at_once=fitting, workers=workers, wall_seconds=wall, price=price)


def cost_lines(
    plan: "Plan",
    records: Sequence[TrialRecord],
    speeds: Mapping[Kind, Speed],
    fleet: Fleet,
    prices: PriceList,
    today: date,
) -> Iterator[str]:
    """For people: what the cluster is, what the sweep takes on it, what it can cost at the worst."""
    stale = prices.warning(today)
    yield f"prices in US dollars, of {prices.as_of}"
    if stale:
        yield f"warning: {stale}"
    if any(node.market == "capacity-block" for node in fleet.workers):
        yield "a capacity block is paid in advance, for all of its time; below are only the hours that are used"
    yield f"head: {_counted([fleet.head])}; workers: at most {fleet.ceiling} of {_counted(fleet.workers)}"
    yield from disk_warnings(plan, {node.type_name: node.disk_gib for node in (fleet.head, *fleet.workers)})
    unknown = sorted({str(kind) for study in plan.studies for kind in kinds_of(study).values() if kind not in speeds})
    if unknown:
        yield f"time and price: not known for {'; '.join(unknown)}; give --measure or --seconds-per-step"
    else:
        cost = cluster_cost(plan, records, speeds, fleet, prices)
        yield f"at once: {by_phase(plan, cost.at_once)} trials on {_counted(cost.workers)}"
        if plan.takes_gpus and any(speed.device == "cpu" for speed in speeds.values()):
            yield "warning: each training takes a GPU but was measured on a CPU; what follows is for the CPU's speed"
        yield f"time: {durations(cost.wall_seconds)}, with {durations(START_SECONDS)} until the first step assumed"
        yield f"price: {cost.price.least:.2f} to {cost.price.most:.2f}, if it is taken down right after the end"
    idle = fleet.head.hour(prices).most
    yield f"at the worst: {fleet.worst_hour(prices):.2f} an hour; {idle:.2f} an hour when nothing runs, until `down`"
    if fleet.idle_hours:
        most = idle * fleet.idle_hours
        yield f"unused it ends by itself after {fleet.idle_hours:g} hours, {most:.2f} (metadata.idle_hours)"
    else:
        yield "it never ends by itself (metadata.idle_hours: 0)"


def _require_rented(file: ClusterFile) -> None:
    if file.kind not in PAID:
        raise UserError(
            f"{file.path}: machines of {file.kind} have no list price; give yours to: "
            "ndcl plan SWEEP.yaml --price-per-gpu-hour USD"
        )


def _node(file: ClusterFile, name: str, node_type: Mapping[str, Any], prices: PriceList) -> Node:
    config, machine = node_type["node_config"], file.machine(node_type["node_config"])
    match file.kind:
        case "gcp":
            disks = [disk.get("initializeParams", {}).get("diskSizeGb", 0) for disk in config.get("disks", ())]
        case "azure":
            disks = [config["azure_arm_parameters"].get("osDiskSize", 0)]
        case _:
            disks = [disk.get("Ebs", {}).get("VolumeSize", 0) for disk in config.get("BlockDeviceMappings", ())]
    return Node(
        type_name=name,
        machine_name=machine,
        machine=prices.machine(machine),
        resources=node_type["resources"],
        disk_gib=float(sum(disks)) or DEFAULT_DISK_GIB,
        market=market_of(node_type),
    )


def _counted(nodes: Sequence[Node]) -> str:
    """`8 g5.xlarge (spot), 2 g5.xlarge`."""
    counts: dict[str, int] = {}
    for node in nodes:
        text = f"{node.machine_name}{'' if node.market == 'on-demand' else f' ({node.market})'}"
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{count} {text}" for text, count in counts.items())
