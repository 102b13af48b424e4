"""Calibration of what a table shows: of its single runs and of its ensembles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.records import TrialRecord, best_checkpoint
from harness.report.analysis.cells import Pair

MEASURES = (
    "source_ece", "target_ece", "calibrated_target_ece", "source_nll", "target_nll", "calibrated_target_nll",
    "temperature",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Means over trainings and target domains; None where nothing is known."""

    source_ece: float | None
    target_ece: float | None
    calibrated_target_ece: float | None
    source_nll: float | None
    target_nll: float | None
    calibrated_target_nll: float | None
    temperature: float | None


def calibrations_of(
    shown: Mapping[Pair, Sequence[TrialRecord]], algorithms: Sequence[str], targets: Sequence[str]
) -> dict[str, Calibrated]:
    """Of each algorithm that has records on each of `targets`: the mean over targets of the mean over records."""
    found = {}
    for algorithm in algorithms:
        parts = [[_values(record) for record in shown.get((algorithm, target), ())] for target in targets]
        known = [[values for values in part if values] for part in parts]
        if known and all(known):
            found[algorithm] = Calibrated(
                **{name: _mean([[v[name] for v in part] for part in known]) for name in MEASURES}
            )
    return found


def _values(record: TrialRecord) -> dict[str, float | None]:
    checkpoint = best_checkpoint(record) or {}
    about = checkpoint.get("calibration")
    if not about:
        return {}
    source, target = about["source"], about["target"]
    return {
        "source_ece": source["ece"],
        "target_ece": target["ece"],
        "calibrated_target_ece": target["calibrated_ece"],
        "source_nll": source["nll"],
        "target_nll": target["nll"],
        "calibrated_target_nll": target["calibrated_nll"],
        "temperature": about["temperature"],
    }


def _mean(parts: Sequence[Sequence[float | None]]) -> float | None:
    means = [fmean(own) for part in parts if (own := [value for value in part if value is not None])]
    return fmean(means) if len(means) == len(parts) else None
