"""One table of a comparison: the algorithms on the target domains of one data set under one imbalance setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.records import WARM_STARTED, TrialRecord
from harness.report_budget import Budget, budget_of
from harness.report_cells import METRICS, Cell, Pair, Values, cell_of, mean_of, shown_records, values_by_seed
from harness.report_contrasts import Contrast, contrasts


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
    """Every two algorithms, the later one minus the earlier; these tests are corrected for all of them."""


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

    @property
    def provisional(self) -> bool:
        """Whether any of its numbers stems from the search."""
        return any(cell.provisional for section in self.sections for cell in section.cells.values())


def table_of(
    records: Sequence[TrialRecord], algorithms: Sequence[str], targets: Sequence[str], reference: str, top_k: int
) -> SettingTable:
    """The table of the records of one setting, with its rows and columns in the order given."""
    studies: dict[Pair, list[TrialRecord]] = {}
    for record in records:
        studies.setdefault((record.study.algorithm, record.study.target), []).append(record)
    shown = {pair: shown_records(study, top_k) for pair, study in studies.items()}
    return SettingTable(
        dataset=records[0].study.dataset,
        setting=records[0].study.setting,
        imbalance=records[0].config["imbalance"],
        algorithms=tuple(algorithms),
        targets=tuple(targets),
        sections=tuple(_section(metric, shown, algorithms, targets, reference) for metric in METRICS),
        budgets={pair: budget_of(study, shown[pair]) for pair, study in studies.items()},
        failed={pair: sum(r.state == "failed" for r in study) for pair, study in studies.items()},
        warm_started=tuple(pair for pair, study in studies.items() if any(WARM_STARTED in r.notes for r in study)),
    )


def _section(
    metric: str,
    shown: Mapping[Pair, Sequence[TrialRecord]],
    algorithms: Sequence[str],
    targets: Sequence[str],
    reference: str,
) -> Section:
    values = {pair: values_by_seed(study, metric) for pair, study in shown.items()}
    cells = {pair: cell_of(list(by_seed.values()), shown[pair]) for pair, by_seed in values.items() if by_seed}
    common = [target for target in targets if all((algorithm, target) in cells for algorithm in algorithms)]
    with_reference = [(name, reference) for name in algorithms if name != reference and reference in algorithms]
    every_two = [(second, first) for first, second in combinations(algorithms, 2)]
    return Section(
        metric=metric,
        values=values,
        cells=cells,
        means={a: mean_of([cells[a, target] for target in common]) for a in algorithms if common},
        mean_over=tuple(common),
        contrasts=contrasts(with_reference, values, cells, common),
        pairwise=contrasts(every_two, values, cells, common),
    )
