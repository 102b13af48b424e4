"""Whether a study has learned anything: its finished trials' accuracies beside those of a network that guesses. Pure.

A network that guesses, or says one class of everything, is right for 1 of K classes in the class-balanced accuracy. By
luck it is right more often on few images, and the best of many evaluations is the luckiest one. So an accuracy is above
chance only where the best of as many guesses would not reach it, 95 times in 100.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.records import StudyKey, TrialRecord, best_checkpoint

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class AtChance:
    """A study whose finished trials are indistinguishable from guessing."""

    study: StudyKey
    num_trials: int
    """Finished trials."""
    best: float
    """The highest class-balanced validation accuracy at their best checkpoints, in [0, 1]."""
    level: float
    """The accuracy of guessing on average: 1 / K."""
    limit: float
    """What the best of as many evaluations of guesses doesn't exceed, 95 times in 100."""
    num_images: int
    """Validation images of an evaluation."""


def studies_at_chance(records: Iterable[TrialRecord]) -> list[AtChance]:
    """The studies that have finished trials, none of which is above chance, in the order of the records."""
    own: dict[StudyKey, list[TrialRecord]] = {}
    for record in records:
        if record.state == "finished" and record.is_training:
            own.setdefault(record.study, []).append(record)
    return [found for key, finished in own.items() if (found := _at_chance(key, finished))]


def chance_lines(records: Iterable[TrialRecord]) -> Iterator[str]:
    """A sentence for each study at chance."""
    for found in studies_at_chance(records):
        trials = "finished trial is" if found.num_trials == 1 else f"{found.num_trials} finished trials are"
        yield (
            f"study {found.study.name}: its {trials} at chance: class-balanced validation accuracy of at most "
            f"{_percent(found.best)}, where guessing gives {_percent(found.level)} and, the best of as many "
            f"evaluations on {found.num_images} images, up to {_percent(found.limit)}; train longer, or search "
            "other values"
        )


def _at_chance(key: StudyKey, finished: Sequence[TrialRecord]) -> AtChance | None:
    chosen = [parts for record in finished if (parts := _validation(best_checkpoint(record)))]
    if not chosen:
        return None
    best = max(fmean(part["balanced"] for part in parts) for parts in chosen)
    level = fmean(1 / _num_classes(part) for part in chosen[0])
    num_images = sum(int(part["num_images"]) for part in chosen[0])
    limit = chance_limit(level, num_images, sum(len(record.evaluations) for record in finished))
    if best > limit:
        return None
    return AtChance(study=key, num_trials=len(finished), best=best, level=level, limit=limit, num_images=num_images)


def chance_limit(level: float, num_images: int, num_evaluations: int) -> float:
    """What the best of so many evaluations of guesses, each on `num_images`, doesn't exceed 95 times in 100.

    By the binomial distribution, evaluations taken as independent.
    """
    wanted, below = math.pow(CONFIDENCE, 1 / num_evaluations), 0.0
    for hits in range(num_images + 1):
        below += math.exp(_log_probability(hits, level, num_images))
        if below >= wanted:
            break
    return hits / num_images


def _log_probability(hits: int, level: float, num_images: int) -> float:
    """Of so many hits by guessing, by the binomial distribution."""
    ways = math.lgamma(num_images + 1) - math.lgamma(hits + 1) - math.lgamma(num_images - hits + 1)
    return ways + hits * math.log(level) + (num_images - hits) * math.log1p(-level)


def _validation(evaluation: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of an evaluation by source domain that have a class-balanced accuracy of at least two classes."""
    parts = (evaluation or {}).get("validation", {}).values()
    return [part for part in parts if part.get("balanced") is not None and _num_classes(part) > 1]


def _num_classes(part: dict[str, Any]) -> int:
    """Those that have validation images."""
    return sum(accuracy is not None for accuracy in part["per_class"])


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
