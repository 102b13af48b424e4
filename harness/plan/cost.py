"""What a sweep costs: steps, time, CPU- and GPU-hours, price, disk. Pure: speeds are measured or recorded elsewhere.

What can be said before a sweep runs is a range. At the least every trial is stopped as soon as the scheduler may stop
it; at the most none is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.plan.rungs import HALVING, least_steps, promotes
from harness.records import ENDED, STAGES, TRAININGS, Stage, TrialRecord
from harness.records.record import PAUSED
from ndcl.criteria import CROSS_VALIDATED

if TYPE_CHECKING:
    from harness.plan.plan import Plan
    from harness.plan.studies import StudyPlan

MEDIAN_STARTUP = 5
"""Optuna's MedianPruner stops none before so many have run to their end."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number of which only bounds are known."""

    least: float
    most: float

    def __add__(self, other: "Range") -> "Range":
        return Range(least=self.least + other.least, most=self.most + other.most)

    def __mul__(self, factor: float) -> "Range":
        return Range(least=self.least * factor, most=self.most * factor)


NOTHING = Range(least=0, most=0)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Trainings that take about as long for each of their steps."""

    dataset: str
    backbone: str
    algorithm: str
    is_cross_validation: bool = False
    """Whether it is one training per source domain, each without that domain."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Kind":
        """Of a TrainConfig as nested values."""
        return cls(
            dataset=config["data"]["name"],
            backbone=config["model"]["backbone"],
            algorithm=config["algorithm"]["name"],
            is_cross_validation=not set(CROSS_VALIDATED).isdisjoint(config.get("select_by", ())),
        )

    def of_stage(self, stage: Stage) -> "Kind":
        """Of the stage's trainings, if this is the kind of the search's.

        A second look is one training per source domain; a final run is always one training, on all of them.
        """
        return self if stage == "search" else replace(self, is_cross_validation=stage == "review")

    def __str__(self) -> str:
        leaving_out = ", leaving out each source domain" if self.is_cross_validation else ""
        return f"{self.algorithm} with {self.backbone} on {self.dataset}{leaving_out}"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How long the trainings of one kind take."""

    seconds_per_step: float
    seconds_per_evaluation: float = 0.0
    """With its checkpoint; 0 where it is part of the seconds of a step."""
    seconds_per_trial: float = 0.0
    """To build the training, and to look at the target once if it does; 0 where it is part of the seconds of a step."""
    checkpoint_bytes: int | None = None
    device: str | None = None
    """`cpu` or `cuda`, where it was measured; None where it is taken from trials."""

    def seconds(self, num_steps: float, evaluate_every: int) -> float:
        """Of a training of `num_steps`."""
        return num_steps * (self.seconds_per_step + self.seconds_per_evaluation / evaluate_every)

    num_beside: int = 0
    """Other trainings that ran on this machine meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """What a sweep takes beside its trials, on one machine."""

    startup_seconds: float
    """Until the first step of the first trial, and after the last one."""
    core_seconds_per_trial: float
    """Of the process that drives the sweep, on a core that trials may want."""
    core_seconds_per_study: float
    """To draw its figures."""
    seconds_per_report: float
    """Of a trial, for each evaluation that it reports with a checkpoint."""
    num_cores: int

    def wall_seconds(self, trial_seconds: Range, busy_cores: float, slots: float, trials: int, studies: int) -> Range:
        """Of trials that take so long one after the other, `slots` at once, each on `busy_cores`.

        Where trials leave no core free, they share theirs with what drives them.
        """
        beside = trials * self.core_seconds_per_trial + studies * self.core_seconds_per_study
        return Range(
            least=self._wall(trial_seconds.least, busy_cores, slots, beside),
            most=self._wall(trial_seconds.most, busy_cores, slots, beside),
        )

    def _wall(self, trial_seconds: float, busy_cores: float, slots: float, beside: float) -> float:
        by_cores = (trial_seconds * busy_cores + beside) / self.num_cores
        return self.startup_seconds + max(trial_seconds / slots, by_cores)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What is left to do of a sweep."""

    trial_seconds: Range
    """Of all trials, one after the other."""
    wall_seconds: Range | None
    """With as many at once as fit, final runs after all search trials, and what the sweep takes beside them where that
    was measured; None if not even one fits."""
    cpu_hours: Range
    gpu_hours: Range
    checkpoint_bytes: Range | None
    """What the finished sweep holds, and what it may hold while it runs; None if no network was measured."""

    def price(self, per_cpu_hour: float, per_gpu_hour: float) -> Range:
        """In the currency of the prices."""
        return self.cpu_hours * per_cpu_hour + self.gpu_hours * per_gpu_hour


def kinds_of(study: "StudyPlan") -> dict[Stage, Kind]:
    """Of the study's trainings by their stage: search trials, second looks if there are any, and final runs."""
    kind = Kind.of(study.base)
    return {stage: kind.of_stage(stage) for stage in TRAININGS if stage != "review" or study.num_reviews}


def steps_left(study: "StudyPlan", records: Iterable[TrialRecord] = ()) -> Range:
    """Optimiser steps that the study has yet to take, its final runs included; `records` are the sweep's.

    Those of a second look count once, though as many trainings take them as there are source domains.
    """
    return sum(steps_by_stage(study, records).values(), NOTHING)


def steps_by_stage(study: "StudyPlan", records: Iterable[TrialRecord] = ()) -> dict[Stage, Range]:
    """As `steps_left`, of each stage."""
    own = [record for record in records if record.study == study.key]
    return {
        "search": _search_steps_left(study, own),
        "review": _review_steps_left(study, own),
        "final": _final_steps_left(study, own),
    }


def _search_steps_left(study: "StudyPlan", own: Sequence[TrialRecord]) -> Range:
    """If as many trials as the scheduler allows are stopped, they are those that are least far."""
    steps_done = open_trials(own, "search", study.num_trials)
    finished = sum(record.stage == "search" and record.state == "finished" for record in own)
    return Range(
        least=sum(least_left(study, finished, steps_done)),
        most=sum(study.num_steps - done for done in steps_done),
    )


def least_left(study: "StudyPlan", num_finished: int, steps_done: Sequence[int]) -> list[int]:
    """What the open search trials, which have done so many steps, have before them at the least.

    If as many as the scheduler allows are stopped, they are those that are least far.
    """
    left = _least_steps(study)[num_finished:]
    whole = [steps for steps in left if steps == study.num_steps]
    steps = whole + left[len(whole) + max(0, len(left) - len(steps_done)) :]
    done = sorted(steps_done, reverse=True)
    return [max(0, least - so_far) for least, so_far in zip(steps, done, strict=False)]


def _review_steps_left(study: "StudyPlan", own: Sequence[TrialRecord]) -> Range:
    """Nothing stops a second look, but there is none at a search trial that was stopped."""
    steps = sorted(study.num_steps - done for done in open_trials(own, "review", study.num_reviews_of(own)))
    num_spared = max(0, study.num_reviews - _never_stopped(study)) if _is_searching(study, own) else 0
    return Range(least=sum(steps[: len(steps) - num_spared]), most=sum(steps))


def _is_searching(study: "StudyPlan", own: Sequence[TrialRecord]) -> bool:
    return bool(open_trials(own, "search", study.num_trials))


def _final_steps_left(study: "StudyPlan", own: Sequence[TrialRecord]) -> Range:
    """Final runs have all steps, but after leave-one-domain-out only as many as were best without a domain."""
    open_runs = open_trials(own, "final", study.num_final)
    fewest = _evaluate_every(study) if set(CROSS_VALIDATED) & set(study.objectives) else study.num_steps
    return Range(
        least=sum(max(0, fewest - done) for done in open_runs), most=sum(study.num_steps - done for done in open_runs)
    )


def _never_stopped(study: "StudyPlan") -> int:
    """Search trials that run to their end at the least."""
    return _least_steps(study).count(study.num_steps)


def _least_steps(study: "StudyPlan") -> list[int]:
    """The steps that search trials take at the least, the longest first. With several objectives none is stopped."""
    name, whole = study.scheduler.name, study.num_steps
    if name in HALVING and len(study.objectives) == 1:
        return least_steps(study)
    never_stopped = MEDIAN_STARTUP if name == "median" else study.num_trials
    granted = min(whole, study.scheduler.min_resource * _evaluate_every(study))
    return [whole if number < never_stopped else granted for number in range(study.num_trials)]


def _evaluate_every(study: "StudyPlan") -> int:
    return int(study.base["evaluate_every"])


def open_trials(own: Sequence[TrialRecord], stage: str, planned: int) -> list[int]:
    """The steps done of each of the stage's trials that have not ended: 0 for those that have not been started."""
    started = [record for record in own if record.stage == stage]
    ended = sum(record.state in ENDED for record in started)
    done = [record.step for record in started if record.state not in ENDED]
    return done + [0] * max(0, planned - ended - len(done))


def num_of(study: "StudyPlan", stage: Stage, own: Sequence[TrialRecord]) -> int:
    """Trainings of a stage, as far as the study's `own` records tell."""
    return study.num_reviews_of(own) if stage == "review" else study.num_planned(stage)


def recorded_speeds(records: Iterable[TrialRecord]) -> dict[Kind, Speed]:
    """Median seconds per step of each kind.

    All else is included by trials that ran from their start to their end in one go; where there is none, it is the time
    of the training alone.
    """
    whole: dict[Kind, list[float]] = {}
    training: dict[Kind, list[float]] = {}
    for record in records:
        if not record.evaluations or not record.is_training:
            continue
        kind = Kind.of(record.config)
        training.setdefault(kind, []).append(record.evaluations[-1]["seconds"] / record.step)
        if (ended := ended_in_one_go(record)) is not None:
            whole.setdefault(kind, []).append((ended - record.started) / record.step)
    return {kind: Speed(seconds_per_step=median(values)) for kind, values in (training | whole).items()}


def ended_in_one_go(record: TrialRecord) -> float | None:
    """When a trial ended that was neither interrupted nor paused; None of another."""
    is_whole = record.state in ("finished", "pruned") and record.attempts == 1 and PAUSED not in record.notes
    return record.ended if is_whole else None


def cost_of(
    plan: "Plan",
    records: Sequence[TrialRecord],
    speeds: Mapping[Kind, Speed],
    at_once: Mapping[Stage, int] | None,
    overhead: Overhead | None = None,
) -> Cost:
    """What is left of the trainings whose kind has a speed; `at_once` is None if no trial fits.

    `overhead` is what a sweep takes beside its trials, where that was measured.
    """
    parts = [seconds_left(study, records, speeds) for study in plan.studies]
    seconds = {stage: sum((part[stage] for part in parts), NOTHING) for stage in STAGES}
    num_open = {stage: sum(_num_open(study, records, stage, speeds) for study in plan.studies) for stage in STAGES}

    def total(factors: Mapping[Stage, float]) -> Range:
        return sum((seconds[stage] * factor for stage, factor in factors.items()), NOTHING)

    walls = {stage: 1 / min(number, max(num_open[stage], 1)) for stage, number in (at_once or {}).items()}
    wall = total(walls) if at_once else None
    if wall is not None and overhead is not None and any(num_open.values()):
        trials = total(dict.fromkeys(STAGES, 1))
        slots = trials.most / wall.most if wall.most else 1.0
        num_studies = sum(any(_num_open(study, records, stage, speeds) for stage in STAGES) for study in plan.studies)
        busy_cores = min(plan.occupied["search"].cpus, overhead.num_cores / slots)
        wall = overhead.wall_seconds(trials, busy_cores, slots, sum(num_open.values()), num_studies)
    return Cost(
        trial_seconds=total(dict.fromkeys(STAGES, 1)),
        wall_seconds=wall,
        cpu_hours=total({stage: plan.occupied[stage].cpus / 3600 for stage in STAGES}),
        gpu_hours=total({stage: plan.occupied[stage].gpus / 3600 for stage in STAGES}),
        checkpoint_bytes=_checkpoint_bytes(plan, speeds, max(at_once.values()) if at_once else 1),
    )


def seconds_left(
    study: "StudyPlan", records: Sequence[TrialRecord], speeds: Mapping[Kind, Speed]
) -> dict[Stage, Range]:
    """Of the study's trials of each stage, one after the other; second looks count with the search.

    A stage whose kind has no speed counts as nothing.
    """
    own = [record for record in records if record.study == study.key]
    steps = steps_by_stage(study, own)
    parts: dict[Stage, Range] = {
        stage: steps[stage] * speeds[kind].seconds(1, _evaluate_every(study))
        + _building(study, own, stage, speeds[kind])
        for stage, kind in kinds_of(study).items()
        if kind in speeds
    }
    search, review, final = (parts.get(stage, NOTHING) for stage in TRAININGS)
    return {"search": search + review, "final": final}


def stages_left(study: "StudyPlan", records: Iterable[TrialRecord]) -> dict[Stage, Kind]:
    """The kinds of the study's trainings of which steps are left, by their stage."""
    steps = steps_by_stage(study, records)
    return {stage: kind for stage, kind in kinds_of(study).items() if steps[stage].most}


def _building(study: "StudyPlan", own: Sequence[TrialRecord], stage: Stage, speed: Speed) -> Range:
    seconds = len(open_trials(own, stage, num_of(study, stage, own))) * speed.seconds_per_trial
    return Range(least=seconds, most=seconds)


def _num_open(study: "StudyPlan", records: Sequence[TrialRecord], stage: Stage, speeds: Mapping[Kind, Speed]) -> int:
    own, kinds = [record for record in records if record.study == study.key], kinds_of(study)
    together: tuple[Stage, ...] = ("search", "review") if stage == "search" else (stage,)
    return sum(len(open_trials(own, each, num_of(study, each, own))) for each in together if kinds.get(each) in speeds)


def _checkpoint_bytes(plan: "Plan", speeds: Mapping[Kind, Speed], max_concurrent: int) -> Range | None:
    """A finished trial keeps one checkpoint, a stopped one none; a running one has a second while it writes.

    One that waits for its promotion keeps its own, whatever is kept at the end.
    """
    held, largest = NOTHING, 0
    for study in plan.studies:
        if not all(kind in speeds for kind in kinds_of(study).values()):
            continue
        sizes = {stage: speeds[kind].checkpoint_bytes for stage, kind in kinds_of(study).items()}
        known = {stage: size for stage, size in sizes.items() if size is not None}
        if len(known) < len(sizes):
            return None
        keeps_all = plan.keep_checkpoints == "all"
        rest = known["final"] * study.num_final + known.get("review", 0) * study.num_reviews * keeps_all
        kept = study.num_trials if keeps_all else study.num_kept
        search = known["search"]
        most_held = study.num_trials if promotes(study) else kept
        held += Range(least=search * min(kept, _never_stopped(study)) + rest, most=search * most_held + rest)
        largest = max(largest, *known.values())
    return held + Range(least=0, most=largest * max_concurrent) if largest else None
