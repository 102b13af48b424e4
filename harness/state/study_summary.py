"""What can be said of a study while a sweep runs and after it: counts, the best trial, its result. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.records import ENDED, StudyKey, TrialRecord, best_checkpoint, chosen_finals
from harness.records.selection import criteria, ranking, review_of, shown_value, value_of

if TYPE_CHECKING:
    from harness.plan import StudyPlan
    from harness.state.sweep_state import SweepState

OPEN = ("search", "review", "final")
"""Stages in which a study still trains."""
SETTLED = ("final", "done")
"""Stages in which the best trial is final."""


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """One study, as its MLflow run and the progress view show it."""

    key: StudyKey
    stage: str
    """`search`, `review`, `final`, `done` or `stopped`."""
    reason: str | None = None
    """Why it was stopped."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of trials by the state of their records."""
    num_planned: int = 0
    """Search trials, second looks and final runs, when all is done."""
    best: TrialRecord | None = None
    """The best finished search trial so far; once the search is over, the selected one, and once the final runs are,
    the one that these settle on."""
    selected: tuple[str, ...] = ()
    """Names of the final runs that repeat `best`, and its own, once it is selected."""
    ratio: float | None = None
    """Of the imbalance, where the setting has one."""
    metrics: dict[str, float] = field(default_factory=dict)
    started: float = 0.0
    """When its first trial began, in seconds since the epoch; 0 before."""
    updated: float = 0.0
    """When its newest trial ended, in seconds since the epoch."""

    @property
    def num_ended(self) -> int:
        """Trials that will not continue."""
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def is_selected(self) -> bool:
        """Whether `best` is final."""
        return self.best is not None and self.stage in SETTLED


def summary_of(sweep_state: "SweepState", study: "StudyPlan") -> StudySummary:
    """How one of the sweep's studies stands."""
    search, final = sweep_state.search_records(study), sweep_state.final_records(study)
    finished = ranking(record for record in search if record.state == "finished")
    judged = sweep_state.judged_records(study)
    trained = [*judged, *final]
    repeated = chosen_finals(trained, study.top_k)
    settled = [record for record in finished if repeated and record.recipe == repeated[0].recipe]
    best = next(iter([*settled, *sweep_state.selected(study), *finished]), None)
    review = review_of(best, judged) if best else None
    stage = sweep_state.stage_of(study)
    return StudySummary(
        key=study.key,
        stage=stage,
        reason=sweep_state.stop_reason(study),
        counts=dict(Counter(record.state for record in trained)),
        num_planned=study.num_trials + study.num_reviews_of(search) + study.num_final,
        best=best,
        selected=_selected(best, final) if best and stage in SETTLED else (),
        ratio=study.base["imbalance"]["ratio"],
        metrics=_metrics(best, review, repeated),
        started=min((record.started for record in trained), default=0.0),
        updated=max((record.ended or 0.0 for record in trained), default=0.0),
    )


def _selected(best: TrialRecord, final: list[TrialRecord]) -> tuple[str, ...]:
    return (best.name, *(record.name for record in final if record.recipe == best.recipe))


def _metrics(best: TrialRecord | None, review: TrialRecord | None, repeated: list[TrialRecord]) -> dict[str, float]:
    """The best trial's objectives, what the second look found, and the final runs' means at their best."""
    metrics: dict[str, float] = {}
    for record in filter(None, (best, review)):
        chosen = best_checkpoint(record)
        metrics |= {name: value_of(chosen, name) for name in criteria(record)} if chosen else {}
    checkpoints = [checkpoint for checkpoint in map(best_checkpoint, repeated) if checkpoint]
    if checkpoints:
        metrics["final/num_seeds"] = len(checkpoints)
        metrics["final/objective"] = fmean(value for record in repeated if (value := shown_value(record)) is not None)
        for name in ("overall", "balanced", "few"):
            metrics |= _mean_of_target(name, checkpoints)
    return metrics


def _mean_of_target(name: str, checkpoints: list[dict[str, Any]]) -> dict[str, float]:
    values = [checkpoint["target"][name] for checkpoint in checkpoints if checkpoint["target"][name] is not None]
    return {f"final/target/{name}": fmean(values)} if values else {}
