"""Model selection, by the release's rule: which checkpoint of a trial, which trials of a study, which of these at last.

A record's own config says by which criteria its checkpoints are judged (`select_by`); all of them but the oracle, which
has to be asked for by name, look at source domains only. A value that is missing or not a number is worse than any
other, wherever it stands. Pure.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from harness.records.record import CHECKPOINT_BY, CONFUSION, TrialRecord
from ndcl.criteria import DEFAULT_OBJECTIVE, LAST_STEP, LEAVE_ONE_DOMAIN_OUT, LEAVE_ONE_DOMAIN_OUT_LIKELIHOOD


def criteria(record: TrialRecord) -> tuple[str, ...]:
    """What the record's checkpoints are judged by; of several, their mean."""
    names: tuple[str, ...] = tuple(record.config.get("select_by") or (DEFAULT_OBJECTIVE,))
    return names


def checkpoint_criteria(objectives: Sequence[str]) -> tuple[str, ...]:
    """By what a new trial's checkpoint is chosen: the objectives, each likelihood replaced by the accuracy beside it.

    A network that has learned nothing is never sure of a wrong class, so that a likelihood would often choose the
    checkpoint before anything is learned; the trial is still judged by the likelihood, there.
    """
    accuracy = {LEAVE_ONE_DOMAIN_OUT_LIKELIHOOD: LEAVE_ONE_DOMAIN_OUT}
    return tuple(dict.fromkeys(accuracy.get(name, name) for name in objectives))


def value_of(evaluation: dict[str, Any], objective: str) -> float:
    """The value of one criterion at a checkpoint; NaN where there is none."""
    value = evaluation["step"] if objective == LAST_STEP else evaluation.get(objective)
    return math.nan if value is None else float(value)


def merit(evaluation: dict[str, Any], objectives: Sequence[str]) -> float:
    """Mean of the values of several criteria; minus infinity if any of them has none."""
    values = [value_of(evaluation, name) for name in objectives]
    return -math.inf if any(map(math.isnan, values)) else fmean(values)


def best_checkpoint(record: TrialRecord, objective: str | None = None) -> dict[str, Any] | None:
    """The evaluation with the highest merit, the first of equals; None if no evaluation has a value.

    Judged by the record's own criteria, or by `objective` if one is given. Where its note says so, others choose it: of
    a second look those of the search, so that it is the checkpoint that a final run would have.
    """
    names = (objective,) if objective else tuple(record.notes.get(CHECKPOINT_BY, criteria(record)))
    valued = [e for e in record.evaluations if merit(e, names) > -math.inf]
    return max(valued, key=lambda e: merit(e, names), default=None)


def with_one_confusion(record: TrialRecord) -> TrialRecord:
    """The record with the confusion matrix of its best checkpoint alone: of all they would be most of a journal."""
    best = best_checkpoint(record)
    kept = (e if e is best else {k: v for k, v in e.items() if k != CONFUSION} for e in record.evaluations)
    return replace(record, evaluations=tuple(kept))


def best_merit(record: TrialRecord) -> float:
    """The merit of the best checkpoint; minus infinity if there is none."""
    best = best_checkpoint(record)
    return -math.inf if best is None else merit(best, criteria(record))


def shown_value(record: TrialRecord) -> float | None:
    """The best checkpoint's merit as people are shown it, in [0, 1]; None if there is none.

    Where the last checkpoint counts, whatever its worth, that is its validation accuracy.
    """
    best = best_checkpoint(record)
    names = (DEFAULT_OBJECTIVE,) if criteria(record) == (LAST_STEP,) else criteria(record)
    value = -math.inf if best is None else merit(best, names)
    return value if math.isfinite(value) else None


def ranking(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The records by their best checkpoints, best first; of equals the one with the higher number comes first."""
    return sorted(records, key=lambda record: (best_merit(record), record.number), reverse=True)


def select(records: Iterable[TrialRecord], k: int = 1) -> list[TrialRecord]:
    """The best `k` of one study's search trials that ran to their end, best first, none with the values of another.

    Those that `records` hold a finished second look of come first, in the order of that. A pruned trial is not
    eligible: it was stopped because others at the same step were better, and its values were never tried at the full
    budget.
    """
    records = list(records)
    ended = [record for record in records if record.stage == "search" and record.state == "finished"]
    chosen: list[TrialRecord] = []
    for record in ranking(ended):
        if best_checkpoint(record) is not None and all(record.recipe != other.recipe for other in chosen):
            chosen.append(record)
    reviews = [(record, review_of(record, records)) for record in chosen]
    seen = sorted((each for each in reviews if each[1]), key=lambda each: best_merit(each[1] or each[0]), reverse=True)
    return [record for record, _ in [*seen, *(each for each in reviews if not each[1])]][:k]


def review_of(trial: TrialRecord, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The finished second look at a search trial's values, among the `records` of its study; None without one."""
    found = (r for r in records if r.stage == "review" and r.state == "finished" and r.recipe == trial.recipe)
    return next((record for record in found if best_checkpoint(record) is not None), None)


def chosen_finals(records: Sequence[TrialRecord], top_k: int = 1) -> list[TrialRecord]:
    """The finished final runs, by seed, of the values that one study settles on; empty before any has finished.

    `records` are all of the study. Of the best `top_k` search trials it is the one whose final runs have the highest
    mean merit, over the seeds that most of them have finished; the search's own order decides between equals. Final
    runs of values that a longer search has since surpassed count no more.
    """
    finals = [r for r in records if r.stage == "final" and r.state == "finished" and best_checkpoint(r) is not None]
    recipes = [best.recipe for best in select(records, top_k)] or [final.recipe for final in finals[:1]]
    groups = [[r for r in finals if r.recipe == recipe] for recipe in recipes]
    complete = max(map(len, groups), default=0)
    contenders = [group for group in groups if group and len(group) == complete]
    if not contenders:
        return []
    best = max(contenders, key=lambda group: fmean(map(best_merit, group)))
    return sorted(best, key=lambda record: int(record.config["seed"]))


def pareto_front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The finished search trials that no other equals or betters in every criterion and betters in one."""
    points = [
        (record, tuple(value_of(best, name) for name in criteria(record)))
        for record in records
        if record.stage == "search" and record.state == "finished" and (best := best_checkpoint(record))
    ]
    return [record for record, own in points if not any(_dominates(other, own) for _, other in points)]


def _dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))
