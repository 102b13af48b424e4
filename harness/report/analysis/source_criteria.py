"""What source domains tell of the accuracy on an unseen one: each criterion beside it, over the trials of each study.

Target values are looked at here, when all is over; nothing is proposed, stopped or selected by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.records import StudyKey, TrialRecord, best_checkpoint
from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.paired_statistics import Interval, bootstrap_interval
from harness.report.analysis.rank_correlation import FEWEST_TRIALS, spearman

CRITERIA: dict[str, tuple[tuple[str, ...], int]] = {
    "validation accuracy": (("validation_accuracy",), 1),
    "worst domain": (("worst_domain_accuracy",), 1),
    "few-shot accuracy": (("few_shot_accuracy",), 1),
    "negative log-likelihood": (("calibration", "source", "nll"), -1),
    "mean margin": (("diagnostics", "source", "margins", "all", "mean"), 1),
    "lowest 5 % of margins": (("diagnostics", "source", "margins", "all", "q05"), 1),
    "few-shot margin": (("diagnostics", "source", "margins", "few", "mean"), 1),
    "posterior discrepancy": (("diagnostics", "source", "posterior_discrepancy"), -1),
}
"""Where an evaluation has each of them, all on validation images of source domains, and whether more is better."""
ANY_TRIAL = "any trial"
"""The row to compare with: what a trial taken by chance loses."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How far one criterion could be trusted in the studies of one algorithm."""

    num_studies: int
    """Those of at least FEWEST_TRIALS finished search trials that have the criterion."""
    num_trials: int
    """Of all of them."""
    rho: float | None
    """Spearman's coefficient with the accuracy on the unseen domain, mean over the studies where it is defined; above 0
    where trials that the criterion calls better are better there."""
    interval: Interval | None
    """95 % of that mean, by a bootstrap of studies; None of a single one."""
    regret: float
    """By how much the study's best trial on the unseen domain beats the one that the criterion calls best, as a
    fraction; mean over studies."""


@dataclass(frozen=True, kw_only=True)
class SourceCriteria:
    """All criteria on one data set."""

    dataset: str
    judged: Mapping[str, Mapping[str, Judged]]
    """By criterion, then by algorithm; absent where no study has it."""


Trials = list[tuple[dict[str, Any], float]]
"""Of one study: each trial's evaluation at its selected checkpoint, and its accuracy on the unseen domain."""


def source_criteria_of(records: Sequence[TrialRecord]) -> tuple[SourceCriteria, ...]:
    """One for each data set that has a study with enough finished search trials, in order of first appearance.

    A trial of a cross-validation over domains has no accuracy on the target, so it can't be judged and doesn't count.
    """
    studies: dict[StudyKey, Trials] = {}
    for record in records:
        checkpoint = best_checkpoint(record) if record.stage == "search" and record.state == "finished" else None
        accuracy = (checkpoint or {}).get("target", {}).get(HEADLINE_METRIC)
        if checkpoint and accuracy is not None:
            studies.setdefault(record.study, []).append((checkpoint, float(accuracy)))
    large = {key: trials for key, trials in studies.items() if len(trials) >= FEWEST_TRIALS}
    return tuple(_of(dataset, large) for dataset in dict.fromkeys(key.dataset for key in large))


def _of(dataset: str, studies: Mapping[StudyKey, Trials]) -> SourceCriteria:
    own: dict[str, list[Trials]] = {}
    for key, trials in studies.items():
        if key.dataset == dataset:
            own.setdefault(key.algorithm, []).append(trials)
    judged = {
        name: {algorithm: found for algorithm, parts in own.items() if (found := _judged(parts, path, sign))}
        for name, (path, sign) in CRITERIA.items()
    }
    judged[ANY_TRIAL] = {algorithm: _any_trial(parts) for algorithm, parts in own.items()}
    return SourceCriteria(dataset=dataset, judged={name: row for name, row in judged.items() if row})


def _judged(studies: Sequence[Trials], path: Sequence[str], sign: int) -> Judged | None:
    points = [
        [(sign * value, accuracy) for point, accuracy in trials if (value := _at(point, path)) is not None]
        for trials in studies
    ]
    known = [own for own in points if len(own) >= FEWEST_TRIALS]
    if not known:
        return None
    coefficients = [rho for own in known if (rho := spearman(*zip(*own, strict=True))) is not None]
    return Judged(
        num_studies=len(known),
        num_trials=sum(map(len, known)),
        rho=fmean(coefficients) if coefficients else None,
        interval=bootstrap_interval([coefficients]) if coefficients else None,
        regret=fmean(_regret(own) for own in known),
    )


def _any_trial(studies: Sequence[Trials]) -> Judged:
    accuracies = [[accuracy for _, accuracy in trials] for trials in studies]
    return Judged(
        num_studies=len(accuracies),
        num_trials=sum(map(len, accuracies)),
        rho=None,
        interval=None,
        regret=fmean(max(own) - fmean(own) for own in accuracies),
    )


def _regret(points: Sequence[tuple[float, float]]) -> float:
    """Of trials that the criterion calls equally good, the mean counts."""
    best = max(value for value, _ in points)
    return max(accuracy for _, accuracy in points) - fmean(accuracy for value, accuracy in points if value == best)


def _at(values: Any, path: Sequence[str]) -> float | None:
    """What stands at the end of a path of keys; None where the path ends early, as in records of early versions."""
    for key in path:
        values = values.get(key) if values else None
    return None if values is None else float(values)
