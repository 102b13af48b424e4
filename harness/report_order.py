"""The order of a data set's domains, where the sweep's plan doesn't tell it: from the records themselves."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from itertools import pairwise

from harness.records import StudyKey, TrialRecord


def domain_places(records: Sequence[TrialRecord]) -> dict[StudyKey, int]:
    """The place of each study's target domain among the domains of its data set.

    An evaluation has the source domains in the data set's order, and what is a target in one study is a source in
    another. Domains of which no evaluation tells come first.
    """
    orders: dict[str, TopologicalSorter[str]] = {}
    for dataset, sources in _source_domains(records):
        sorter = orders.setdefault(dataset, TopologicalSorter())
        for before, after in pairwise(sources):
            sorter.add(after, before)
    places = {
        (dataset, domain): place + 1
        for dataset, sorter in orders.items()
        for place, domain in enumerate(sorter.static_order())
    }
    return {record.study: places.get((record.study.dataset, record.study.target), 0) for record in records}


def _source_domains(records: Sequence[TrialRecord]) -> dict[tuple[str, tuple[str, ...]], None]:
    """Data sets with the source domains of each study, each once."""
    first = ((record.study.dataset, record.evaluations[0]) for record in records if record.evaluations)
    return dict.fromkeys((dataset, tuple(evaluation.get("validation", ()))) for dataset, evaluation in first)
