"""What can be said of a study while a sweep runs and after it: counts, the best trial, what it came to. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.records import ENDED, StudyKey, TrialRecord
from harness.selection import DEFAULT_OBJECTIVE, best_checkpoint, ranking

if TYPE_CHECKING:
    from harness.agenda import Agenda
    from harness.plan import StudyPlan


@dataclass(frozen=True, kw_only=True)
class StudyState:
    """One study, as its MLflow run and the progress view show it."""

    key: StudyKey
    stage: str
    """`search`, `final`, `done` or `stopped`."""
    reason: str | None = None
    """Why it was stopped."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of trials by the state of their records."""
    num_planned: int = 0
    """Search trials and final runs, when all is done."""
    best: TrialRecord | None = None
    """The best finished search trial so far; once the search is over, the selected one."""
    metrics: dict[str, float] = field(default_factory=dict)
    updated: float = 0.0
    """When its newest trial ended, in seconds since the epoch."""

    @property
    def num_ended(self) -> int:
        """Trials that will not go on."""
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def is_selected(self) -> bool:
        """Whether `best` is final."""
        return self.best is not None and self.stage in ("final", "done")


def study_state(agenda: "Agenda", study: "StudyPlan") -> StudyState:
    """The state of one of the agenda's studies."""
    search, final = agenda.search_records(study), agenda.final_records(study)
    finished = ranking(record for record in search if record.state == "finished")
    best = agenda.selected(study) or (finished[0] if finished else None)
    repeated = [record for record in final if best and record.values == best.values and record.state == "finished"]
    return StudyState(
        key=study.key,
        stage=agenda.stage_of(study),
        reason=agenda.stop_reason(study),
        counts=dict(Counter(record.state for record in (*search, *final))),
        num_planned=study.num_trials + len(study.final_seeds),
        best=best,
        metrics=_metrics(best, repeated),
        updated=max((record.ended or 0.0 for record in (*search, *final)), default=0.0),
    )


def _metrics(best: TrialRecord | None, repeated: list[TrialRecord]) -> dict[str, float]:
    """The best trial's objective, and the final runs' means at their selected checkpoints."""
    metrics: dict[str, float] = {}
    chosen = best_checkpoint(best) if best else None
    if chosen:
        metrics[DEFAULT_OBJECTIVE] = chosen[DEFAULT_OBJECTIVE]
    checkpoints = [checkpoint for checkpoint in map(best_checkpoint, repeated) if checkpoint]
    if checkpoints:
        metrics["final/num_seeds"] = len(checkpoints)
        metrics[f"final/{DEFAULT_OBJECTIVE}"] = fmean(checkpoint[DEFAULT_OBJECTIVE] for checkpoint in checkpoints)
        for name in ("overall", "balanced", "few"):
            metrics |= _mean_of_target(name, checkpoints)
    return metrics


def _mean_of_target(name: str, checkpoints: list[dict[str, Any]]) -> dict[str, float]:
    values = [checkpoint["target"][name] for checkpoint in checkpoints if checkpoint["target"][name] is not None]
    return {f"final/target/{name}": fmean(values)} if values else {}
