"""A plan for people: its studies, their sizes, what of them is done, and what the rest costs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from harness.machine import Fit
from harness.plan import Plan, StudyPlan
from harness.plan_cost import NOTHING, Cost, Kind, Range, Speed, cost_of, kinds_of, steps_left
from harness.progress import duration
from harness.records import ENDED, STAGES, Stage, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Prices:
    """In US dollars; 0 where none is given."""

    per_cpu_hour: float = 0.0
    per_gpu_hour: float = 0.0


def plan_table(plan: Plan, records: Iterable[TrialRecord]) -> Table:
    """One row a study."""
    table = Table(title=f"sweep {plan.name}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("study", overflow="fold")
    for name in ("searched", "trials", "final", "steps", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    done = _done(records)
    for study in plan.studies:
        sizes = (len(study.space), study.num_trials, study.num_final, study.num_steps, done.get(study.key.name, 0))
        table.add_row(study.key.name, *map(str, sizes))
    return table


def plan_totals(plan: Plan, records: Sequence[TrialRecord]) -> str:
    """`2 studies, 10 trainings of which 3 are done, at most 3000 optimiser steps ...`, and what is left of them."""
    trainings = sum(map(_trainings, plan.studies))
    steps = sum(_trainings(study) * study.num_steps for study in plan.studies)
    done = sum(_done(records).get(study.key.name, 0) for study in plan.studies)
    left = sum((steps_left(study, records) for study in plan.studies), NOTHING)
    return (
        f"{len(plan.studies)} studies, {trainings} trainings of which {done} are done, at most {steps} optimiser "
        f"steps; {_occupied(plan)}\n"
        f"left: {_between(f'{left.least:.0f}', f'{left.most:.0f}')} steps, the fewer the more trials are stopped early"
    )


def cost_lines(
    plan: Plan, records: Sequence[TrialRecord], speeds: Mapping[Kind, Speed], fit: Fit, prices: Prices
) -> Iterator[str]:
    """What is left in time, CPU- and GPU-hours, price and disk, as far as the speeds of trainings are known."""
    if fit.problem:
        yield f"warning: on this machine the sweep can't run: {fit.problem}"
    if not speeds:
        yield "time: not known before a trial was evaluated; `ndcl plan --measure` times a few steps of each kind here"
        return
    if plan.takes_gpus and any(speed.device == "cpu" for speed in speeds.values()):
        yield "warning: each training takes a GPU but was measured on the CPU; what follows is for the CPU's speed"
    cost = cost_of(plan, records, speeds, fit.at_once)
    if cost.wall_seconds and fit.at_once:
        yield f"time left: {durations(cost.wall_seconds)} with {by_phase(plan, fit.at_once)} at once on this machine"
    yield f"compute left: {_numbers(cost.cpu_hours)} CPU-hours, {_numbers(cost.gpu_hours)} GPU-hours"
    yield from _price_line(cost, prices)
    if cost.checkpoint_bytes:
        yield f"disk: {_gigabytes(cost.checkpoint_bytes)} of checkpoints when it has ended"
    unknown = sorted({str(kind) for study in plan.studies for kind in kinds_of(study) if kind not in speeds})
    if unknown:
        yield f"not counted, since none of it has been evaluated yet: {'; '.join(unknown)}"


def by_phase(plan: Plan, at_once: Mapping[Stage, int]) -> str:
    """`8`, or where final runs occupy something else `8, then 1`."""
    return ", then ".join(str(at_once[stages[0]]) for stages in plan.phases)


def speed_line(kind: Kind, speed: Speed) -> str:
    """`erm with small_cnn on digits: 0.021 s a step, 0.2 s an evaluation (...)`."""
    return (
        f"{kind}: {speed.seconds_per_step:.3g} s a step, {speed.seconds_per_evaluation:.3g} s an evaluation "
        f"(measured on this machine's {'GPU' if speed.device == 'cuda' else 'CPU'}, one alone)"
    )


def _occupied(plan: Plan) -> str:
    search, final = (f"{each.cpus:g} CPUs and {each.gpus:g} GPUs" for each in map(plan.occupied.__getitem__, STAGES))
    return (
        f"each training takes {search}"
        if len(plan.phases) == 1
        else f"a search trial takes {search}, a final run {final}"
    )


def _price_line(cost: Cost, prices: Prices) -> Iterator[str]:
    if prices != Prices():
        price = cost.price(prices.per_cpu_hour, prices.per_gpu_hour)
        yield f"price left: {price.least:.2f} to {price.most:.2f} USD"


def durations(seconds: Range) -> str:
    """`3 min to 8 min`."""
    return _between(duration(seconds.least), duration(seconds.most))


def _numbers(values: Range) -> str:
    return _between(*(f"{value:.0f}" if value >= 100 else f"{value:.2g}" for value in (values.least, values.most)))


def _between(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _gigabytes(sizes: Range) -> str:
    return f"{_numbers(sizes * 1e-9)} GB"


def _trainings(study: StudyPlan) -> int:
    return study.num_trials + study.num_final


def _done(records: Iterable[TrialRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        if record.state in ENDED:
            counts[record.study.name] = counts.get(record.study.name, 0) + 1
    return counts
