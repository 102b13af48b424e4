"""Differences between two algorithms, paired by target domain and training seed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.analysis.cells import Cell, Pair, Values, mean_of, standard_error
from harness.report.analysis.paired_statistics import LEVEL, PairedResult, paired_results

Names = tuple[str, str]
"""An algorithm, and the one that it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One algorithm minus another, in fractions."""

    algorithm: str
    reference: str
    by_target: Mapping[str, Cell]
    """Mean and standard error of the differences at equal seed; absent where there is none."""
    mean: Cell | None
    """Over the target domains for which every algorithm has a value; None if one has no difference."""
    result: PairedResult | None
    """Of the pairs on these target domains; None unless each has a pair of final runs."""

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.algorithm} - {self.reference}"

    @property
    def why_not_significant(self) -> str | None:
        """Where the interval excludes 0 and the rank test alone fails, what makes it fail; else None."""
        if self.result is None or self.result.verdict != "not significant":
            return None
        if self.result.p < LEVEL:
            return "one of many contrasts"
        signs = {cell.mean > 0 for cell in self.by_target.values() if cell.mean != 0}
        return "domains disagree" if len(signs) > 1 else "seeds disagree"


def contrasts(
    family: Sequence[Names], values: Values, cells: Mapping[Pair, Cell], common: Sequence[str]
) -> tuple[Contrast, ...]:
    """The contrasts of `family`, whose tests are corrected together; their means are over the `common` targets."""
    targets = list(dict.fromkeys(target for _, target in cells))
    paired = {names: {t: _paired(names, values, cells, t) for t in targets} for names in family}
    testable = {
        names: [by_target[target] for target in common]
        for names, by_target in paired.items()
        if common and all(by_target[target] for target in common)
    }
    results = paired_results(testable)
    return tuple(_contrast(names, paired[names], cells, common, results.get(names)) for names in family)


def _contrast(
    names: Names,
    paired: Mapping[str, Sequence[float]],
    cells: Mapping[Pair, Cell],
    common: Sequence[str],
    result: PairedResult | None,
) -> Contrast:
    found = {target: _difference(names, differences, cells, target) for target, differences in paired.items()}
    by_target = {target: cell for target, cell in found.items() if cell is not None}
    complete = common and all(target in by_target for target in common)
    return Contrast(
        algorithm=names[0],
        reference=names[1],
        by_target=by_target,
        mean=mean_of([by_target[target] for target in common]) if complete else None,
        result=result,
    )


def _paired(names: Names, values: Values, cells: Mapping[Pair, Cell], target: str) -> list[float]:
    """Differences of final runs at equal seed."""
    first, second = ((name, target) for name in names)
    if any(pair not in cells or cells[pair].provisional for pair in (first, second)):
        return []
    return [values[first][seed] - values[second][seed] for seed in values[first] if seed in values[second]]


def _difference(names: Names, differences: Sequence[float], cells: Mapping[Pair, Cell], target: str) -> Cell | None:
    """Without pairs, the difference of the means shown if one of them is provisional, as it is then too."""
    if differences:
        return Cell(mean=statistics.fmean(differences), error=standard_error(differences), num_seeds=len(differences))
    first, second = (cells.get((name, target)) for name in names)
    if first is None or second is None or not (first.provisional or second.provisional):
        return None
    return Cell(mean=first.mean - second.mean)
