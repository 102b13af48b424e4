"""The comparison of algorithms: accuracies on the unseen target domains, from the records of a sweep."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.records import TrialRecord
from harness.selection import best_checkpoint, chosen_finals, select

T = TypeVar("T")

METRICS = ("overall", "balanced", "many", "median", "few")
"""Fields of `ndcl.evaluation.Accuracies` that are compared."""

CONTRAST = ("ndcl", "erm")
"""The difference shown: the first minus the second."""

Pair = tuple[str, str]
"""Algorithm and target domain."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, as a fraction."""

    mean: float
    error: float | None = None
    """Standard error over the seeds; None with fewer than two."""
    num_seeds: int = 0
    """0: it stems from the search, since no final run has finished yet."""

    @property
    def provisional(self) -> bool:
        """Whether it stems from the search trial that was selected, not from final runs."""
        return self.num_seeds == 0


@dataclass(frozen=True, kw_only=True)
class Section:
    """One metric: a row of cells per algorithm, then the mean over target domains, then the difference."""

    metric: str
    cells: Mapping[Pair, Cell]
    """By algorithm and target domain; absent where nothing is known."""
    means: Mapping[str, Cell]
    """By algorithm, over `mean_over`."""
    mean_over: tuple[str, ...]
    """Target domains for which every algorithm has a value; only over these is a mean a fair comparison."""
    differences: Mapping[str | None, Cell]
    """CONTRAST by target domain, and for the mean under None; paired by seed."""


@dataclass(frozen=True, kw_only=True)
class SettingTable:
    """One data set under one imbalance setting."""

    dataset: str
    setting: str
    algorithms: tuple[str, ...]
    targets: tuple[str, ...]
    sections: tuple[Section, ...]
    num_seeds: Mapping[Pair, int]
    """Final runs counted, by algorithm and target domain."""
    failed: Mapping[Pair, int]
    """Trials of either stage that failed, by algorithm and target domain."""

    @property
    def provisional(self) -> bool:
        """Whether any of its numbers stems from the search."""
        return any(cell.provisional for section in self.sections for cell in section.cells.values())


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a sweep found: one table per data set and setting."""

    tables: tuple[SettingTable, ...]


def compare(records: Sequence[TrialRecord]) -> Comparison:
    """The tables of all settings among `records`, in order of first appearance; numbers are on the target's test set.

    Every number comes from the checkpoint that source-domain validation chose. A study without a finished final run
    is shown by its selected search trial, as provisional.
    """
    settings = _unique((record.study.dataset, record.study.setting) for record in records)
    return Comparison(
        tables=tuple(
            _table(*setting, [r for r in records if (r.study.dataset, r.study.setting) == setting])
            for setting in settings
        )
    )


def _table(dataset: str, setting: str, records: Sequence[TrialRecord]) -> SettingTable:
    studies: dict[Pair, list[TrialRecord]] = {}
    for record in records:
        studies.setdefault((record.study.algorithm, record.study.target), []).append(record)
    algorithms = _unique(algorithm for algorithm, _ in studies)
    targets = _unique(target for _, target in studies)
    shown = {pair: _shown(study) for pair, study in studies.items()}
    final = {pair: [r for r in study if r.stage == "final"] for pair, study in shown.items()}
    return SettingTable(
        dataset=dataset,
        setting=setting,
        algorithms=tuple(sorted(algorithms, key=_baseline_first)),
        targets=tuple(targets),
        sections=tuple(_section(metric, shown, algorithms, targets) for metric in METRICS),
        num_seeds={pair: len(study) for pair, study in final.items()},
        failed={pair: sum(r.state == "failed" for r in study) for pair, study in studies.items()},
    )


def _baseline_first(algorithm: str) -> tuple[int, str]:
    """What is compared against comes first, the method last."""
    return {CONTRAST[1]: 0, CONTRAST[0]: 2}.get(algorithm, 1), algorithm


def _shown(study: Sequence[TrialRecord], top_k: int = 1) -> list[TrialRecord]:
    """The finished final runs of a study's selected values; else the selected search trial itself; else nothing.

    A sweep that was extended can have final runs of values that have since been surpassed; they do not count.
    """
    return chosen_finals(study, top_k) or select(study)


def _section(
    metric: str, shown: Mapping[Pair, Sequence[TrialRecord]], algorithms: Sequence[str], targets: Sequence[str]
) -> Section:
    values = {pair: _values(study, metric) for pair, study in shown.items()}
    cells = {pair: _cell(list(by_seed.values()), shown[pair]) for pair, by_seed in values.items() if by_seed}
    common = [target for target in targets if all((algorithm, target) in cells for algorithm in algorithms)]
    differences: dict[str | None, Cell] = {
        target: _difference(values, cells, target) for target in targets if all((a, target) in cells for a in CONTRAST)
    }
    if common and set(CONTRAST) <= set(algorithms):
        differences[None] = _mean([differences[target] for target in common])
    return Section(
        metric=metric,
        cells=cells,
        means={a: _mean([cells[a, target] for target in common]) for a in algorithms if common},
        mean_over=tuple(common),
        differences=differences,
    )


def _values(study: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """Accuracy on the target's test set by training seed, at each record's chosen checkpoint."""
    result = {}
    for record in study:
        checkpoint = best_checkpoint(record)
        value = checkpoint["target"][metric] if checkpoint else None
        if value is not None:
            result[int(record.config["seed"])] = float(value)
    return result


def _cell(values: Sequence[float], study: Sequence[TrialRecord]) -> Cell:
    final = all(record.stage == "final" for record in study)
    return Cell(mean=statistics.fmean(values), error=_standard_error(values), num_seeds=len(values) if final else 0)


def _difference(values: Mapping[Pair, Mapping[int, float]], cells: Mapping[Pair, Cell], target: str) -> Cell:
    """CONTRAST on one target: of the means shown, with the error of the differences at equal seed."""
    first, second = ((algorithm, target) for algorithm in CONTRAST)
    paired = [values[first][seed] - values[second][seed] for seed in values[first] if seed in values[second]]
    return Cell(
        mean=cells[first].mean - cells[second].mean,
        error=_standard_error(paired),
        num_seeds=min(cells[first].num_seeds, cells[second].num_seeds),
    )


def _mean(cells: Sequence[Cell]) -> Cell:
    """Mean over target domains; the error is that of a mean of independent numbers."""
    errors = [cell.error for cell in cells if cell.error is not None]
    return Cell(
        mean=statistics.fmean(cell.mean for cell in cells),
        error=math.hypot(*errors) / len(cells) if len(errors) == len(cells) else None,
        num_seeds=min(cell.num_seeds for cell in cells),
    )


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
