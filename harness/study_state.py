"""What can be said of a study while a sweep runs and after it: counts, the best trial, what it came to. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.records import ENDED, StudyKey, TrialRecord
from harness.selection import best_checkpoint, chosen_finals, criteria, ranking, shown_value, value_of

if TYPE_CHECKING:
    from harness.agenda import Agenda
    from harness.plan import StudyPlan

SETTLED = ("final", "done")
"""Stages in which the best trial is final."""


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
    """The best finished search trial so far; once the search is over, the selected one, and once the final runs are,
    the one that these settle on."""
    selected: tuple[str, ...] = ()
    """Names of the final runs that repeat `best`, and its own, once it is selected."""
    ratio: float | None = None
    """Of the imbalance, where the setting has one."""
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
        return self.best is not None and self.stage in SETTLED


def study_state(agenda: "Agenda", study: "StudyPlan") -> StudyState:
    """The state of one of the agenda's studies."""
    search, final = agenda.search_records(study), agenda.final_records(study)
    finished = ranking(record for record in search if record.state == "finished")
    repeated = chosen_finals([*search, *final], study.top_k)
    settled = [record for record in finished if repeated and record.recipe == repeated[0].recipe]
    best = next(iter([*settled, *agenda.selected(study), *finished]), None)
    stage = agenda.stage_of(study)
    return StudyState(
        key=study.key,
        stage=stage,
        reason=agenda.stop_reason(study),
        counts=dict(Counter(record.state for record in (*search, *final))),
        num_planned=study.num_trials + study.num_final,
        best=best,
        selected=_selected(best, final) if best and stage in SETTLED else (),
        ratio=study.base["imbalance"]["ratio"],
        metrics=_metrics(best, repeated),
        updated=max((record.ended or 0.0 for record in (*search, *final)), default=0.0),
    )


def _selected(best: TrialRecord, final: list[TrialRecord]) -> tuple[str, ...]:
    return (best.name, *(record.name for record in final if record.recipe == best.recipe))


def _metrics(best: TrialRecord | None, repeated: list[TrialRecord]) -> dict[str, float]:
    """The best trial's objectives, and the final runs' means at their selected checkpoints."""
    metrics: dict[str, float] = {}
    chosen = best_checkpoint(best) if best else None
    if best and chosen:
        metrics |= {name: value_of(chosen, name) for name in criteria(best)}
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
