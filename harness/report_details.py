"""What a sweep's records tell beyond the accuracies: each study's search, importances, cost and confusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.plan_studies import StudyPlan
from harness.records import Stage, StudyKey, TrialRecord
from harness.report_cells import shown_records
from harness.report_confusion import Confusion, confusion_of
from harness.report_cost import Cost, cost_of
from harness.report_diagnostics import Diagnosis, diagnoses_of
from harness.report_importance import importance_of
from harness.report_margins import Margins, margins_of, mean_margins
from harness.report_search import SearchPoint, search_points
from harness.workers import Occupied


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A training that failed."""

    name: str
    reason: str
    log: str
    """The last lines of what it left; empty if nothing is known."""


@dataclass(frozen=True, kw_only=True)
class StudyDetails:
    """One study."""

    key: StudyKey
    search: tuple[SearchPoint, ...]
    importance: Mapping[str, float] | None
    """By dotted key; None if too little is known."""
    cost: Cost
    confusion: Confusion | None
    margins: Margins | None
    missing: str | None
    """What has yet to be run, in a few words; None if nothing has."""
    failures: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True)
class Details:
    """All studies, and what they took together."""

    studies: tuple[StudyDetails, ...]
    """In the order of the sweep's plan."""
    diagnoses: tuple[Diagnosis, ...]
    """By data set, what the theory is about beside the accuracies."""
    cost: Cost

    @property
    def failures(self) -> list[Failure]:
        """Of all studies."""
        return [failure for study in self.studies for failure in study.failures]

    def of(self, dataset: str, setting: str) -> list[StudyDetails]:
        """The studies of one table."""
        return [s for s in self.studies if (s.key.dataset, s.key.setting) == (dataset, setting)]

    def margins(self, dataset: str, setting: str, algorithms: Sequence[str]) -> dict[str, Margins]:
        """The mean over target domains of one table, of each algorithm that has final runs with diagnostics."""
        own: dict[str, list[Margins]] = {name: [] for name in algorithms}
        for study in self.of(dataset, setting):
            if study.margins:
                own[study.key.algorithm].append(study.margins)
        return {name: mean_margins(found) for name, found in own.items() if found}


def details_of(
    records: Sequence[TrialRecord], plan: Sequence[StudyPlan], occupied: Mapping[Stage, Occupied] | None
) -> Details:
    """Details of the studies of the `plan`; where it is not known (empty), of those that have records."""
    plans = {study.key: study for study in plan}
    found: dict[StudyKey, list[TrialRecord]] = {key: [] for key in plans}
    for record in records:
        found.setdefault(record.study, []).append(record)
    return Details(
        studies=tuple(_study(key, study, plans.get(key), occupied) for key, study in found.items()),
        diagnoses=diagnoses_of(records),
        cost=cost_of(records, occupied),
    )


NO_DETAILS = details_of((), (), None)
"""Of a comparison of which nothing else is told."""


def _study(
    key: StudyKey, records: Sequence[TrialRecord], plan: StudyPlan | None, occupied: Mapping[Stage, Occupied] | None
) -> StudyDetails:
    cost = cost_of(records, occupied)
    shown = shown_records(records, plan.top_k if plan else 1)
    failed = [record for record in records if record.state == "failed"]
    return StudyDetails(
        key=key,
        search=search_points(records),
        importance=importance_of(plan, records) if plan else None,
        cost=cost,
        confusion=confusion_of(shown),
        margins=margins_of(shown),
        missing=_missing(cost, plan) if plan else None,
        failures=tuple(Failure(name=r.name, reason=r.reason or "", log=r.log) for r in failed),
    )


def _missing(cost: Cost, plan: StudyPlan) -> str | None:
    """`search 5 of 8, final runs 0 of 3`."""
    num_final = cost.num_final.get("finished", 0)
    parts = []
    if cost.num_ended < plan.num_trials:
        parts.append(f"search {cost.num_ended} of {plan.num_trials}")
    if num_final < plan.num_final:
        parts.append(f"final runs {num_final} of {plan.num_final}")
    return ", ".join(parts) or None
