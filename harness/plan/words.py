"""A plan in words: totals, cost, durations, warnings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.plan.cost import (
    NOTHING,
    Cost,
    Kind,
    Overhead,
    Range,
    Speed,
    cost_of,
    stages_left,
    steps_by_stage,
    steps_left,
)
from harness.plan.fit import Fit
from harness.plan.plan import Plan
from harness.plan.studies import StudyPlan
from harness.records import ENDED, STAGES, Stage, TrialRecord
from harness.terminal.numbers import duration, size
from harness.terminal.table import Table
from ndcl.criteria import CROSS_VALIDATED
from ndcl.timm_models import known_architecture
from ndcl.unreached import unreached


@dataclass(frozen=True, kw_only=True)
class Prices:
    """In US dollars; 0 where none is given."""

    per_cpu_hour: float = 0.0
    per_gpu_hour: float = 0.0


def plan_table(plan: Plan, records: Iterable[TrialRecord]) -> Table:
    """One row a study."""
    table = Table(title=f"sweep {plan.name}")
    table.add_column("study", "name")
    has_reviews = plan.num_trainings("review") > 0
    for name in ("searched", "trials", *(("second looks",) if has_reviews else ()), "final", "steps", "done"):
        table.add_column(name)
    done = _num_done(records)
    for study in plan.studies:
        reviews = (study.num_reviews,) if has_reviews else ()
        sizes = (len(study.space), study.num_trials, *reviews, study.num_final, study.num_steps)
        table.add_row(study.key.name, *map(str, (*sizes, done.get(study.key.name, 0))))
    return table


def plan_totals(plan: Plan, records: Sequence[TrialRecord]) -> str:
    """`2 studies, 10 trainings of which 3 are done, at most 3000 optimiser steps ...`, and what is left of them."""
    trainings = sum(study.num_trainings for study in plan.studies)
    steps = sum(study.num_trainings * study.num_steps for study in plan.studies)
    ended = _num_done(records)  # of a plan that was shortened, more than it has
    done = sum(min(ended.get(study.key.name, 0), study.num_trainings) for study in plan.studies)
    left = sum((steps_left(study, records) for study in plan.studies), NOTHING)
    return (
        f"{len(plan.studies)} studies, {trainings} trainings of which {done} are done, at most {steps} optimiser "
        f"steps; {_occupied(plan)}\n"
        f"left: {_steps(plan, records, left)}{_folds(plan)}"
    )


def _folds(plan: Plan) -> str:
    """That some trainings are several, which the numbers count once, and costs do not."""
    searched = any(set(CROSS_VALIDATED) & set(study.objectives) for study in plan.studies)
    looks = [study.second_look for study in plan.studies if study.second_look and study.num_reviews]
    looked = any(look.by in CROSS_VALIDATED for look in looks)
    names = [name for name, is_so in (("search trial", searched), ("second look", looked)) if is_so]
    if not names:
        return ""
    each = " and each ".join(names)
    return f"\nleave-one-domain-out: each {each} trains once for each source domain, and is counted once here"


def _steps(plan: Plan, records: Sequence[TrialRecord], left: Range) -> str:
    if not left.most:
        return "nothing"
    steps = f"{_between(f'{left.least:.0f}', f'{left.most:.0f}')} steps"
    if left.least == left.most:
        return steps
    return f"{steps}, depending on {' and on '.join(_reasons(plan, records))}"


def _reasons(plan: Plan, records: Sequence[TrialRecord]) -> Iterator[str]:
    """Why it is not known how many steps are left."""
    parts = [steps_by_stage(study, records) for study in plan.studies]
    if any(part[stage].least < part[stage].most for part in parts for stage in ("search", "review")):
        yield "how many trials are stopped early"
    if any(part["final"].least < part["final"].most for part in parts):
        yield "how many steps are best without each source domain, which final runs then take"


def cost_lines(
    plan: Plan,
    records: Sequence[TrialRecord],
    speeds: Mapping[Kind, Speed],
    fit: Fit,
    prices: Prices,
    overhead: Overhead | None = None,
) -> Iterator[str]:
    """What is left in time, CPU- and GPU-hours, price and disk, as far as the speeds of trainings are known."""
    if fit.problem:
        yield f"warning: on this machine ndcl sweep would refuse it, on a cluster (--address) it may run: {fit.problem}"
    if not speeds:
        yield "time: not known before a trial was evaluated; `ndcl plan --measure` times a few steps of each kind here"
        return
    if plan.takes_gpus and any(speed.device == "cpu" for speed in speeds.values()):
        yield "warning: each training takes a GPU but was measured on the CPU; what follows is for the CPU's speed"
    kinds = {kind for study in plan.studies for kind in stages_left(study, records).values()}
    unknown = "; ".join(sorted(str(kind) for kind in kinds if kind not in speeds))
    if kinds and speeds.keys().isdisjoint(kinds):
        yield (
            f"time, compute and disk left: not known, since none of this has been evaluated yet: {unknown}; "
            "`ndcl plan --measure` times a few steps of each kind here"
        )
        return
    least = "at least " if unknown else ""
    cost = cost_of(plan, records, speeds, fit.at_once, overhead)
    if cost.wall_seconds and fit.at_once:
        time = durations(cost.wall_seconds)
        yield f"time left: {least}{time} with {by_phase(plan, fit.at_once)} at once on this machine"
    yield f"compute left: {least}{_numbers(cost.cpu_hours)} CPU-hours, {_numbers(cost.gpu_hours)} GPU-hours"
    yield from _price_line(cost, prices, least)
    if cost.checkpoint_bytes:
        yield f"disk: {least}{_sizes(cost.checkpoint_bytes)} of checkpoints when it has ended"
    if unknown:
        yield f"not counted, since none of it has been evaluated yet: {unknown}"


def model_warnings(plan: Plan) -> Iterator[str]:
    """What is allowed, but keeps a network from learning, or all of it."""
    stuck = [study for study in plan.studies if _is_stuck(study)]
    if stuck:
        yield (
            f"warning: {_named(stuck)}: model.freeze_batchnorm: true with model.weights: none keeps BatchNorm "
            "as it is before training, at which a deep network stays at chance; remove it, or give weights"
        )
    found: dict[tuple[str, str], list[StudyPlan]] = {}
    for study in plan.studies:
        for key, what in unreached(study.train_config({})).items():
            if key not in study.space:
                found.setdefault((key, what), []).append(study)
    yield from (f"warning: {_named(studies)}: {key}: {what}" for (key, what), studies in found.items())


def _named(studies: Sequence[StudyPlan]) -> str:
    return f"study {studies[0].key.name}" + (f" and {len(studies) - 1} more" if len(studies) > 1 else "")


def _is_stuck(study: StudyPlan) -> bool:
    model = study.base["model"]
    backbones = study.space["model.backbone"].probes() if "model.backbone" in study.space else (model["backbone"],)
    has_batchnorm = any(
        known is not None and known.has_batchnorm for known in map(known_architecture, map(str, backbones))
    )
    return bool(
        has_batchnorm and model["norm"] == "batch" and model["freeze_batchnorm"] is True and model["weights"] == "none"
    )


def by_phase(plan: Plan, at_once: Mapping[Stage, int]) -> str:
    """`8`, or where final runs occupy something else `8, then 1`."""
    return ", then ".join(str(at_once[stages[0]]) for stages in plan.phases)


def speed_line(kind: Kind, speed: Speed) -> str:
    """`erm with small_cnn on digits: 0.021 s a step, 0.2 s an evaluation (...)`."""
    beside = f"{speed.num_beside + 1} at once" if speed.num_beside else "one alone"
    return (
        f"{kind}: {speed.seconds_per_step:.3g} s a step, {speed.seconds_per_evaluation:.3g} s an evaluation "
        f"(measured on this machine's {'GPU' if speed.device == 'cuda' else 'CPU'}, {beside})"
    )


def overhead_line(overhead: Overhead) -> str:
    """`beside the trainings: 21 s to start and end, 0.77 s a training and 4.2 s a study of one core`."""
    return (
        f"beside the trainings: {duration(overhead.startup_seconds)} to start and end, "
        f"{overhead.core_seconds_per_trial:.2g} s a training and {overhead.core_seconds_per_study:.2g} s a study of "
        "one core (by the time of one start of a process on this machine)"
    )


def _occupied(plan: Plan) -> str:
    search, final = (f"{each.cpus:g} CPUs and {each.gpus:g} GPUs" for each in map(plan.occupied.__getitem__, STAGES))
    return (
        f"each training takes {search}"
        if len(plan.phases) == 1
        else f"a search trial takes {search}, a final run {final}"
    )


def _price_line(cost: Cost, prices: Prices, least: str) -> Iterator[str]:
    if prices != Prices():
        price = cost.price(prices.per_cpu_hour, prices.per_gpu_hour)
        yield f"price left: {least}{price.least:.2f} to {price.most:.2f} USD"


def durations(seconds: Range) -> str:
    """`3 min to 8 min`."""
    return _between(duration(seconds.least), duration(seconds.most))


def _numbers(values: Range) -> str:
    return _between(*(f"{value:.0f}" if value >= 100 else f"{value:.2g}" for value in (values.least, values.most)))


def _between(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _sizes(num_bytes: Range) -> str:
    return _between(size(num_bytes.least), size(num_bytes.most))


def _num_done(records: Iterable[TrialRecord]) -> dict[str, int]:
    """Ended trials of each study, by its name."""
    counts: dict[str, int] = {}
    for record in records:
        if record.state in ENDED and record.is_training:
            counts[record.study.name] = counts.get(record.study.name, 0) + 1
    return counts
