"""Ensembles of final runs: what each is worth on its unseen domain, and how two of them differ image by image.

An ensemble has no seeds, so that its errors are those of the images: a bootstrap within each target domain. They say
how sure the numbers of these very models are, and nothing of models trained anew.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import TrialRecord, best_checkpoint
from harness.records.ensemble import refused_weights
from harness.report.analysis.cells import METRICS, Cell, Pair, mean_of
from harness.report.analysis.paired_statistics import LEVEL, NUM_RESAMPLES, Interval, Verdict, holm

SHOTS = ("many", "median", "few")


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The final runs of one study as one model."""

    num_members: int
    of: str
    """What is averaged: `probabilities`, `logits` or `weights`."""
    cells: Mapping[str, Cell]
    """By metric; the error is over the target's test images."""
    disagreement: float | None
    """Mean over the target's test images, in [0, 1]."""
    hits: NDArray[np.bool_]
    """[n] which of the target's test images are right, in the order of all ensembles of this target."""
    refused: Mapping[str, Any] | None = None
    """What `refused_weights` tells."""


@dataclass(frozen=True, kw_only=True)
class EnsembleContrast:
    """One ensemble minus another, of overall accuracy, over target domains x images."""

    algorithm: str
    reference: str
    mean: float
    """Mean over target domains of the difference, as a fraction."""
    interval: Interval
    """95 %: images are resampled within each target domain."""
    num_images: int
    p: float
    """Two-sided, of McNemar's exact test over the images of all target domains."""
    p_corrected: float
    """After Holm's correction for the contrasts of the table."""
    verdict: Verdict


def ensemble_means(
    ensembles: Mapping[Pair, Ensemble], metric: str, algorithms: Sequence[str], targets: Sequence[str]
) -> dict[str, Cell]:
    """Mean over `targets` of the algorithms whose ensembles have a value on each."""
    means = {}
    for algorithm in algorithms:
        own = [ensembles.get((algorithm, target)) for target in targets]
        cells = [each.cells[metric] for each in own if each is not None and metric in each.cells]
        if cells and len(cells) == len(targets):
            means[algorithm] = mean_of(cells)
    return means


def ensemble_contrasts(
    ensembles: Mapping[Pair, Ensemble], algorithms: Sequence[str], targets: Sequence[str], reference: str
) -> tuple[EnsembleContrast, ...]:
    """Every other algorithm's ensembles minus the reference's, where both have one on all `targets`."""
    paired = {
        name: pairs
        for name in algorithms
        if name != reference and (pairs := _pairs(ensembles, name, reference, targets)) is not None
    }
    values = {name: mcnemar_p(pairs) for name, pairs in paired.items()}
    corrected = holm(values)
    return tuple(_contrast(name, reference, pairs, values[name], corrected[name]) for name, pairs in paired.items())


def mcnemar_p(pairs: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> float:
    """Two-sided p of McNemar's exact test (1947): of the images that one of two is right on, half would be each one's.

    `pairs` are the hits [n] of both, for each target domain.
    """
    from scipy.stats import binomtest  # slow to import

    first = sum(int((a & ~b).sum()) for a, b in pairs)
    second = sum(int((b & ~a).sum()) for a, b in pairs)
    return 1.0 if first + second == 0 else float(binomtest(first, first + second).pvalue)


def ensemble_of(record: TrialRecord) -> Ensemble:
    """What a finished record of an ensemble tells."""
    checkpoint = best_checkpoint(record)
    assert checkpoint is not None, record.name
    target, about = checkpoint["target"], checkpoint["ensemble"]
    errors = _errors(target, about)
    size = len(record.members)
    cells = {
        metric: Cell(mean=float(target[metric]), error=errors.get(metric), num_seeds=size)
        for metric in METRICS
        if target[metric] is not None
    }
    return Ensemble(
        num_members=size,
        of=about["of"],
        cells=cells,
        disagreement=about["disagreement"]["target"],
        hits=hits_of(about["target_hits"], target["num_images"]),
        refused=refused_weights(record),
    )


def _errors(target: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, float]:
    """Standard errors over images: what the deviation of a bootstrap within the domain, or each class, tends to."""
    counts = np.asarray(about["target_counts"], np.float64)
    shares = np.array([math.nan if value is None else value for value in target["per_class"]])
    variances = np.divide(shares * (1 - shares), counts, out=np.full(len(counts), math.nan), where=counts > 0)
    errors = {"overall": math.sqrt(target["overall"] * (1 - target["overall"]) / target["num_images"])}
    names = {"balanced": counts > 0}
    shots = np.asarray(about["shots"])
    names |= {name: (counts > 0) & (shots == name) for name in SHOTS}
    for name, chosen in names.items():
        if chosen.any():
            errors[name] = math.sqrt(float(variances[chosen].sum())) / int(chosen.sum())
    return errors


def hits_of(text: str, num_images: int) -> NDArray[np.bool_]:
    """[n] which of `num_images` are right, of what an ensemble's evaluation has as `target_hits`."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=num_images).astype(bool)


def _pairs(
    ensembles: Mapping[Pair, Ensemble], name: str, reference: str, targets: Sequence[str]
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] | None:
    """The hits of both on each target; None unless both have them, of the same images."""
    pairs = []
    for target in targets:
        first, second = (ensembles.get((each, target)) for each in (name, reference))
        if first is None or second is None:
            return None
        if len(first.hits) != len(second.hits) or len(first.hits) == 0:
            return None
        pairs.append((first.hits, second.hits))
    return pairs or None


def _contrast(
    name: str,
    reference: str,
    pairs: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    p: float,
    p_corrected: float,
) -> EnsembleContrast:
    rng = np.random.default_rng(0)
    means = np.zeros(NUM_RESAMPLES)
    differences = []
    for first, second in pairs:
        n = len(first)
        shares = np.array([(first & ~second).sum(), (second & ~first).sum()]) / n
        drawn = rng.multinomial(n, [*shares, 1 - shares.sum()], NUM_RESAMPLES)
        means += (drawn[:, 0] - drawn[:, 1]) / n / len(pairs)
        differences.append(float(shares[0] - shares[1]))
    low, high = (float(end) for end in np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2]))
    verdict: Verdict = "within noise"
    if p_corrected < LEVEL and not low <= 0 <= high:
        verdict = "higher" if low > 0 else "lower"
    return EnsembleContrast(
        algorithm=name,
        reference=reference,
        mean=float(np.mean(differences)),
        interval=(low, high),
        num_images=sum(len(first) for first, _ in pairs),
        p=p,
        p_corrected=p_corrected,
        verdict=verdict,
    )
