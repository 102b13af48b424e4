"""What a study took: trainings, steps and time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import ENDED, Stage, TrialRecord
from harness.report_search import training_seconds
from harness.workers import Occupied

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was spent, the trainings that failed, were pruned or still run included."""

    num_search: Mapping[str, int]
    """Search trials by state."""
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
        """Search trials that will not go on."""
        return sum(self.num_search.get(state, 0) for state in ENDED)

    @property
    def pruned_share(self) -> float | None:
        """Of the search trials that ended; None if none has."""
        return self.num_search.get("pruned", 0) / self.num_ended if self.num_ended else None


def cost_of(records: Sequence[TrialRecord], occupied: Mapping[Stage, Occupied] | None) -> Cost:
    """What these trainings took, of one study or of several; `occupied` is what one of each stage occupies."""
    hours = [(record.stage, training_seconds(record) / SECONDS_AN_HOUR) for record in records]
    return Cost(
        num_search=_by_state(records, "search"),
        num_final=_by_state(records, "final"),
        num_steps=sum(record.step for record in records),
        seconds=sum(map(training_seconds, records)),
        cpu_hours=None if occupied is None else sum(own * occupied[stage].cpus for stage, own in hours),
        gpu_hours=None if occupied is None else sum(own * occupied[stage].gpus for stage, own in hours),
    )


def cost_of_all(costs: Sequence[Cost]) -> Cost:
    """The sum of several studies."""
    return Cost(
        num_search=dict(sum((Counter(cost.num_search) for cost in costs), Counter())),
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
