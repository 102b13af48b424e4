"""What the paper's bound on the target error is made of, beside the accuracy on the unseen domain, trial by trial.

Every trial counts once, at the checkpoint that the sweep's own criterion selected. Values on the target domain are
looked at here, when all is over; nothing is proposed, stopped or selected by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records import STAGES, Stage, StudyKey, TrialRecord, best_checkpoint
from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.margins import SIDES
from harness.report.analysis.rank_correlation import RankCorrelation, rank_correlation

TRAINED = ("finished", "pruned")
"""States of trials that count: each of their checkpoints is a network that the bound speaks of."""
_KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "mean margin": (("margins", "all", "mean"), "rises"),
    "lowest 5 % of margins": (("margins", "all", "q05"), "rises"),
    "few-shot margin": (("margins", "few", "mean"), "rises"),
    "posterior discrepancy": (("posterior_discrepancy",), "falls"),
}
"""Where an evaluation's diagnostics have each quantity, and what by the theory accuracy does where it is larger."""
MEASURES = {f"{side}, {kind}": (side, *path) for side in SIDES for kind, (path, _) in _KINDS.items()}
THEORY = {f"{side}, {kind}": effect for side in SIDES for kind, (_, effect) in _KINDS.items()}


@dataclass(frozen=True, kw_only=True)
class DiagnosedTrial:
    """One trial at its selected checkpoint."""

    study: StudyKey
    stage: Stage
    number: int
    accuracy: float
    """Overall, on the target domain's test images."""
    measures: Mapping[str, float | None]
    """By name in MEASURES; None where there is none, such as a discrepancy between the domains of a single source."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All trials of one data set, and how each quantity goes with the accuracy on the unseen domain."""

    dataset: str
    trials: tuple[DiagnosedTrial, ...]
    num_without: int
    """Trained trials that have no diagnostics, such as those of a cross-validation over domains."""
    correlations: Mapping[str, Mapping[str, RankCorrelation]]
    """By name in MEASURES, then by algorithm, of those that have a trial."""

    def present(self, algorithms: Sequence[str]) -> list[str]:
        """Those of the `algorithms` that have a trial."""
        own = {trial.study.algorithm for trial in self.trials}
        return [name for name in algorithms if name in own]


def diagnoses_of(records: Sequence[TrialRecord]) -> tuple[Diagnosis, ...]:
    """One for each data set of which any trial has diagnostics, in order of first appearance."""
    trained: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.state in TRAINED and record.stage in STAGES:
            trained.setdefault(record.study.dataset, []).append(record)
    found = (_diagnosis(dataset, own) for dataset, own in trained.items())
    return tuple(diagnosis for diagnosis in found if diagnosis.trials)


def _diagnosis(dataset: str, records: Sequence[TrialRecord]) -> Diagnosis:
    trials = [trial for record in records if (trial := _diagnosed(record))]
    algorithms = dict.fromkeys(trial.study.algorithm for trial in trials)
    return Diagnosis(
        dataset=dataset,
        trials=tuple(trials),
        num_without=len(records) - len(trials),
        correlations={
            measure: {
                name: _correlation(measure, [t for t in trials if t.study.algorithm == name]) for name in algorithms
            }
            for measure in MEASURES
        },
    )


def _diagnosed(record: TrialRecord) -> DiagnosedTrial | None:
    checkpoint = best_checkpoint(record) or {}
    diagnostics, accuracy = checkpoint.get("diagnostics"), checkpoint.get("target", {}).get(HEADLINE_METRIC)
    if not diagnostics or accuracy is None:
        return None
    return DiagnosedTrial(
        study=record.study,
        stage=record.stage,
        number=record.number,
        accuracy=accuracy,
        measures={name: _at(diagnostics, path) for name, path in MEASURES.items()},
    )


def _at(values: Any, path: Sequence[str]) -> float | None:
    """What stands at the end of a path of keys; None where the path ends early."""
    for key in path:
        values = values and values[key]
    return None if values is None else float(values)


def _correlation(measure: str, trials: Sequence[DiagnosedTrial]) -> RankCorrelation:
    studies: dict[StudyKey, int] = {}
    points = [
        (value, trial.accuracy, studies.setdefault(trial.study, len(studies)))
        for trial in trials
        if (value := trial.measures[measure]) is not None
    ]
    x, y, numbers = zip(*points, strict=True) if points else ((), (), ())
    return rank_correlation(x, y, numbers)
