"""What a sweep's records tell beyond the accuracies: each study's search, importances, cost and confusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import Demand
from harness.plan import StudyPlan
from harness.records import ENDED, Stage, StudyKey, TrialRecord
from harness.report.analysis.cells import shown_records
from harness.report.analysis.confusion import Confusion, confusion_of, sum_of
from harness.report.analysis.diagnostics import Diagnosis, diagnoses_of
from harness.report.analysis.edges import Edge, edges_of
from harness.report.analysis.importance import importance_of
from harness.report.analysis.margins import Margins, margins_of, mean_margins
from harness.report.analysis.per_class import PerClass, mean_per_class, per_class_of
from harness.report.analysis.search_course import SearchPoint, search_points
from harness.report.analysis.second_looks import SecondLook, second_look_of
from harness.report.analysis.setting_table import SettingTable
from harness.report.analysis.source_criteria import SourceCriteria, source_criteria_of
from harness.report.analysis.spent import Spent, spent_on


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
    edges: tuple[Edge, ...]
    """Values of its best trial that lie at the edge of their range."""
    second_look: SecondLook | None
    """None if there was none."""
    cost: Spent
    confusion: Confusion | None
    margins: Margins | None
    per_class: PerClass | None
    """None where no record of what it settled on has accuracies by class."""
    chosen: Mapping[str, Any] | None
    """The searched values, by dotted key, of what it settled on; None before any trial has finished."""
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
    source_criteria: tuple[SourceCriteria, ...]
    """By data set, what source domains tell of the accuracies."""
    cost: Spent

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

    def confusions(self, dataset: str, setting: str, algorithms: Sequence[str]) -> dict[str, Confusion]:
        """The sum over target domains of one table, of each algorithm that has final runs with a matrix."""
        own: dict[str, list[Confusion]] = {name: [] for name in algorithms}
        for study in self.of(dataset, setting):
            if study.confusion:
                own[study.key.algorithm].append(study.confusion)
        return {name: sum_of(found) for name, found in own.items() if found}

    def per_class(self, table: SettingTable) -> dict[str, PerClass]:
        """The mean over the target domains of one table for which every algorithm has a value, by algorithm."""
        targets = table.sections[0].mean_over
        own: dict[str, list[PerClass]] = {name: [] for name in table.algorithms}
        for study in self.of(table.dataset, table.setting):
            if study.per_class and study.key.target in targets:
                own[study.key.algorithm].append(study.per_class)
        return {name: mean_per_class(found) for name, found in own.items() if len(found) == len(targets) > 0}


def details_of(
    records: Sequence[TrialRecord], plan: Sequence[StudyPlan], occupied: Mapping[Stage, Demand] | None
) -> Details:
    """Details of the studies of the `plan`; where it is not known (empty), of those that have records."""
    plans = {study.key: study for study in plan}
    found: dict[StudyKey, list[TrialRecord]] = {key: [] for key in plans}
    for record in records:
        found.setdefault(record.study, []).append(record)
    return Details(
        studies=tuple(_study(key, study, plans.get(key), occupied) for key, study in found.items()),
        diagnoses=diagnoses_of(records),
        source_criteria=source_criteria_of(records),
        cost=spent_on(records, occupied),
    )


NO_DETAILS = details_of((), (), None)
"""Of a comparison without further details."""


def _study(
    key: StudyKey, records: Sequence[TrialRecord], plan: StudyPlan | None, occupied: Mapping[Stage, Demand] | None
) -> StudyDetails:
    cost = spent_on(records, occupied)
    shown = shown_records(records, plan.top_k if plan else 1)
    failed = [record for record in records if record.state == "failed"]
    return StudyDetails(
        key=key,
        search=search_points(records),
        importance=importance_of(plan, records) if plan else None,
        edges=edges_of(plan, records) if plan else (),
        second_look=second_look_of(records),
        cost=cost,
        confusion=confusion_of(shown),
        margins=margins_of(shown),
        per_class=per_class_of(shown),
        chosen=shown[0].recipe[0] if shown else None,
        missing=_missing(cost, plan, records) if plan else None,
        failures=tuple(Failure(name=r.name, reason=r.reason or "", log=r.log) for r in failed),
    )


def _missing(cost: Spent, plan: StudyPlan, records: Sequence[TrialRecord]) -> str | None:
    """`search 5 of 8, final runs 0 of 3`; second looks are at trials that ran to their end."""
    num_final = cost.num_final.get("finished", 0)
    parts = []
    if cost.num_ended < plan.num_trials:
        parts.append(f"search {cost.num_ended} of {plan.num_trials}")
    num_reviews = sum(cost.num_review.get(state, 0) for state in ENDED)
    wanted = plan.num_reviews_of(records)
    if num_reviews < wanted:
        parts.append(f"second looks {num_reviews} of {wanted}")
    if num_final < plan.num_final:
        parts.append(f"final runs {num_final} of {plan.num_final}")
    return ", ".join(parts) or None
