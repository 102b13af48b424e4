"""One table of a comparison: the algorithms on the target domains of one data set under one imbalance setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from harness.records import TrialRecord
from harness.records.ensemble import shown_ensemble
from harness.records.record import WARM_STARTED
from harness.report.analysis.calibration import Calibrated, calibrations_of
from harness.report.analysis.cells import (
    METRICS,
    Cell,
    Pair,
    Values,
    cell_of,
    mean_of,
    shown_records,
    source_cell,
    values_by_seed,
)
from harness.report.analysis.chance import AtChance, studies_at_chance
from harness.report.analysis.contrasts import Contrast, contrasts
from harness.report.analysis.ensembles import (
    Ensemble,
    EnsembleContrast,
    ensemble_contrasts,
    ensemble_means,
    ensemble_of,
)
from harness.report.analysis.spent import Budget, budget_of

MOST_COMPARED = 12
"""Algorithms up to which every two are compared: of 30 that would be 435 contrasts, corrected for each other."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One metric: the accuracies of all algorithms, and how they differ."""

    metric: str
    values: Values
    cells: Mapping[Pair, Cell]
    """By algorithm and target domain; absent where nothing is known."""
    means: Mapping[str, Cell]
    """By algorithm, over `mean_over`."""
    mean_over: tuple[str, ...]
    """Target domains for which every algorithm has a value; only over these is a mean a fair comparison."""
    contrasts: tuple[Contrast, ...]
    """Every other algorithm minus the reference."""
    pairwise: tuple[Contrast, ...]
    """Every two algorithms, the later one minus the earlier; these tests are corrected for all of them. None of more
    than MOST_COMPARED."""
    ensembles: Mapping[Pair, Cell] = field(default_factory=dict)
    """Of the final runs as one model, by algorithm and target domain; the error is over images."""
    ensemble_means: Mapping[str, Cell] = field(default_factory=dict)
    """By algorithm, over `mean_over`, where it has an ensemble on each."""


@dataclass(frozen=True, kw_only=True)
class SettingTable:
    """One data set under one imbalance setting."""

    dataset: str
    setting: str
    imbalance: Mapping[str, Any]
    """The setting's ImbalanceConfig."""
    algorithms: tuple[str, ...]
    """The reference first."""
    targets: tuple[str, ...]
    sections: tuple[Section, ...]
    budgets: Mapping[Pair, Budget]
    failed: Mapping[Pair, int]
    """Trials of either stage that failed, by algorithm and target domain."""
    warm_started: tuple[Pair, ...] = ()
    """Studies that began with values selected with images of their target domain, which was a source domain there."""
    at_chance: tuple[AtChance, ...] = ()
    """Studies whose finished trials have learned nothing that their validation images could show."""
    ensembles: Mapping[Pair, Ensemble] = field(default_factory=dict)
    ensemble_contrasts: tuple[EnsembleContrast, ...] = ()
    """Every other algorithm's ensembles minus the reference's, of overall accuracy."""
    sources: Mapping[Pair, Cell] = field(default_factory=dict)
    """Accuracy on the source domains' validation images, of the same models."""
    calibrations: Mapping[str, Calibrated] = field(default_factory=dict)
    """Of each algorithm's single runs."""
    ensemble_calibrations: Mapping[str, Calibrated] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    """By algorithm, which it works like; empty of few. Those of one family stand together."""

    def ensemble_forms(self, algorithm: str) -> set[str]:
        """What the algorithm's ensembles are the mean of: `probabilities`, `logits` or `weights`."""
        return {each.of for (name, _), each in self.ensembles.items() if name == algorithm}

    @property
    def provisional(self) -> bool:
        """Whether any of its numbers stems from the search."""
        return any(cell.provisional for section in self.sections for cell in section.cells.values())

    def source_row(self, algorithm: str) -> list[Cell | None]:
        """What an algorithm reaches on source domains, by target domain, and the mean; empty where nothing is known."""
        own = [self.sources.get((algorithm, target)) for target in self.targets]
        present = [cell for cell in own if cell is not None]
        return [*own, mean_of(present) if len(present) == len(own) else None] if present else []


def table_of(
    records: Sequence[TrialRecord],
    algorithms: Sequence[str],
    targets: Sequence[str],
    reference: str,
    top_k: int,
    families: Mapping[str, str],
) -> SettingTable:
    """The table of the records of one setting, with its rows and columns in the order given."""
    studies: dict[Pair, list[TrialRecord]] = {}
    for record in records:
        studies.setdefault((record.study.algorithm, record.study.target), []).append(record)
    shown = {pair: shown_records(study, top_k) for pair, study in studies.items()}
    combined = _shown_ensembles(studies, top_k)
    ensembles = {pair: ensemble_of(record) for pair, record in combined.items()}
    sections = tuple(_section(metric, shown, algorithms, targets, reference, ensembles) for metric in METRICS)
    return SettingTable(
        dataset=records[0].study.dataset,
        setting=records[0].study.setting,
        imbalance=records[0].config["imbalance"],
        algorithms=tuple(algorithms),
        targets=tuple(targets),
        sections=sections,
        budgets={pair: budget_of(study, shown[pair]) for pair, study in studies.items()},
        failed={pair: sum(r.state == "failed" for r in study) for pair, study in studies.items()},
        warm_started=tuple(pair for pair, study in studies.items() if any(WARM_STARTED in r.notes for r in study)),
        at_chance=tuple(studies_at_chance(records)),
        ensembles=ensembles,
        families={name: families[name] for name in algorithms if name in families},
        sources={pair: cell for pair, records in shown.items() if (cell := source_cell(records))},
        calibrations=calibrations_of(shown, algorithms, sections[0].mean_over),
        ensemble_calibrations=calibrations_of(
            {pair: [record] for pair, record in combined.items()}, algorithms, sections[0].mean_over
        ),
        ensemble_contrasts=ensemble_contrasts(ensembles, algorithms, sections[0].mean_over, reference),
    )


def _shown_ensembles(studies: Mapping[Pair, Sequence[TrialRecord]], top_k: int) -> dict[Pair, TrialRecord]:
    found = {pair: shown_ensemble(records, top_k) for pair, records in studies.items()}
    return {pair: record for pair, record in found.items() if record is not None}


def _section(
    metric: str,
    shown: Mapping[Pair, Sequence[TrialRecord]],
    algorithms: Sequence[str],
    targets: Sequence[str],
    reference: str,
    ensembles: Mapping[Pair, Ensemble],
) -> Section:
    values = {pair: values_by_seed(study, metric) for pair, study in shown.items()}
    cells = {pair: cell_of(list(by_seed.values()), shown[pair]) for pair, by_seed in values.items() if by_seed}
    common = [target for target in targets if all((algorithm, target) in cells for algorithm in algorithms)]
    with_reference = [(name, reference) for name in algorithms if name != reference and reference in algorithms]
    every_two = [(second, first) for first, second in combinations(algorithms, 2)]
    if len(algorithms) > MOST_COMPARED:
        every_two = []
    return Section(
        metric=metric,
        values=values,
        cells=cells,
        means={a: mean_of([cells[a, target] for target in common]) for a in algorithms if common},
        mean_over=tuple(common),
        contrasts=contrasts(with_reference, values, cells, common),
        pairwise=contrasts(every_two, values, cells, common),
        ensembles={pair: each.cells[metric] for pair, each in ensembles.items() if metric in each.cells},
        ensemble_means=ensemble_means(ensembles, metric, algorithms, common),
    )
