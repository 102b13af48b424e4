"""Values to try first, taken from the best trials of an earlier sweep. Pure.

A study of another target domain of the same data set was selected with images of *this* study's target domain, which
was one of its source domains. Its values come in only where `from_other_targets` allows it, and tables then say so.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.search import WarmStart
from harness.records import Journal, StudyKey, TrialRecord, select
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan.studies import StudyPlan


def warm_values(study: "StudyPlan", results: Path) -> list[dict[str, Any]]:
    """Values for the study's first trials, best first, by dotted key; none if it has no warm start.

    A value that the study does not search, or that lies outside its range, is left out, to be drawn.
    Raises UserError if there is no such sweep, or none of its studies matches and has finished a trial, unless the warm
    start is optional.
    """
    spec = study.warm_start
    if spec is None:
        return []
    records = Journal(results / spec.sweep).read()
    if not records and not spec.optional:
        raise UserError(
            f"search.warm_start.sweep: there is no sweep '{spec.sweep}' in {results}; run it first, or leave it out"
        )
    best = _best_of_each([record for record in records if matches(spec, study.key, record.study)], spec.num_trials)
    if not best and not spec.optional:
        raise UserError(
            f"search.warm_start: no study of sweep '{spec.sweep}' that has finished a trial suits {study.key.name}; it "
            "must be of the same algorithm and target domain, or another data set (docs/search_space.md)"
        )
    return _distinct([_usable(study, record) for record in best])[: spec.num_trials]


def matches(spec: WarmStart, wanted: StudyKey, found: StudyKey) -> bool:
    """Whether values of the study `found` may come into the study `wanted`."""
    if found.algorithm != (spec.algorithm or wanted.algorithm):
        return False
    return found.dataset != wanted.dataset or found.target == wanted.target or spec.from_other_targets


def _best_of_each(records: Sequence[TrialRecord], k: int) -> list[TrialRecord]:
    """The best trial of every study, then the second of every study, and so on."""
    studies = dict.fromkeys(record.study for record in records)
    ranked = [select([record for record in records if record.study == key], k) for key in studies]
    return [record for record in chain.from_iterable(zip_longest(*ranked)) if record is not None]


def _usable(study: "StudyPlan", record: TrialRecord) -> dict[str, Any]:
    return {
        key: value for key, value in record.values.items() if key in study.space and study.space[key].accepts(value)
    }


def _distinct(sets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for values in sets:
        if values and values not in result:
            result.append(values)
    return result
