"""What a study took: trainings, steps and time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config import Demand
from harness.records import ENDED, Stage, TrialRecord
from harness.records.record import phase_of
from harness.report.analysis.cells import Pair
from harness.report.analysis.search_course import training_seconds

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent, the trainings that failed, were pruned or still run included."""

    num_search: Mapping[str, int]
    """Search trials by state."""
    num_review: Mapping[str, int]
    """Second looks by state."""
    num_final: Mapping[str, int]
    """Final runs by state."""
    num_steps: int
    """Optimiser steps up to the newest checkpoints."""
    seconds: float
    """Training time, added up over trainings that ran side by side; evaluations and start-up not counted."""
    cpu_hours: float | None
    """Training time by the CPUs that a training occupies; None if the sweep's file doesn't tell."""
    gpu_hours: float | None

    @property
    def num_ended(self) -> int:
        """Search trials that will not continue."""
        return sum(self.num_search.get(state, 0) for state in ENDED)

    @property
    def pruned_share(self) -> float | None:
        """Of the search trials that ended; None if none has."""
        return self.num_search.get("pruned", 0) / self.num_ended if self.num_ended else None


def spent_on(records: Sequence[TrialRecord], occupied: Mapping[Stage, Demand] | None) -> Spent:
    """What these trainings took, of one study or of several; `occupied` is what one of each stage occupies."""
    records = [record for record in records if record.is_training]
    hours = [(phase_of(record.stage), training_seconds(record) / SECONDS_AN_HOUR) for record in records]
    return Spent(
        num_search=_by_state(records, "search"),
        num_review=_by_state(records, "review"),
        num_final=_by_state(records, "final"),
        num_steps=sum(record.step for record in records),
        seconds=sum(map(training_seconds, records)),
        cpu_hours=None if occupied is None else sum(own * occupied[stage].cpus for stage, own in hours),
        gpu_hours=None if occupied is None else sum(own * occupied[stage].gpus for stage, own in hours),
    )


def spent_by_all(costs: Sequence[Spent]) -> Spent:
    """The sum of several studies."""
    return Spent(
        num_search=dict(sum((Counter(cost.num_search) for cost in costs), Counter())),
        num_review=dict(sum((Counter(cost.num_review) for cost in costs), Counter())),
        num_final=dict(sum((Counter(cost.num_final) for cost in costs), Counter())),
        num_steps=sum(cost.num_steps for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        cpu_hours=_sum([cost.cpu_hours for cost in costs]),
        gpu_hours=_sum([cost.gpu_hours for cost in costs]),
    )


def _sum(hours: Sequence[float | None]) -> float | None:
    known = [value for value in hours if value is not None]
    return sum(known) if len(known) == len(hours) else None


def _by_state(records: Sequence[TrialRecord], stage: str) -> dict[str, int]:
    return dict(Counter(record.state for record in records if record.stage == stage))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was spent on one study."""

    num_trials: int = 0
    """Search trials that ended, those that were pruned or failed included."""
    num_steps: tuple[int, ...] = ()
    """Optimiser steps of a search trial that runs to its end; more than one value if trials differ."""
    seeds: tuple[int, ...] = ()
    """Of the final runs that count."""

    def __str__(self) -> str:
        trials = f"{self.num_trials} trial{'' if self.num_trials == 1 else 's'}"
        steps = f" of {' or '.join(map(str, self.num_steps))} steps" if self.num_steps else ""
        seeds = f"seeds {' '.join(map(str, self.seeds))}" if self.seeds else "no final run"
        return f"{trials}{steps}, {seeds}"


def budget_of(study: Sequence[TrialRecord], shown: Sequence[TrialRecord]) -> Budget:
    """The budget of one study, of whose records `shown` count."""
    return Budget(
        num_trials=sum(record.stage == "search" and record.state in ENDED for record in study),
        num_steps=tuple(sorted({int(record.config["num_steps"]) for record in study if record.stage == "search"})),
        seeds=tuple(sorted(int(record.config["seed"]) for record in shown if record.stage == "final")),
    )


def unequal(
    budgets: Mapping[Pair, Budget], algorithms: Sequence[str], targets: Sequence[str]
) -> dict[tuple[str, ...], dict[str, Budget]]:
    """What each algorithm had on the target domains where not all had the same; targets with equal numbers together."""
    found: dict[tuple[Budget, ...], list[str]] = {}
    for target in targets:
        own = tuple(budgets.get((algorithm, target), Budget()) for algorithm in algorithms)
        if len(set(own)) > 1:
            found.setdefault(own, []).append(target)
    return {tuple(names): dict(zip(algorithms, own, strict=True)) for own, names in found.items()}
