"""Rows of the HTML report's tables of accuracies: algorithms, ensembles, source domains, differences."""

from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.html.parts import accuracy, difference, row_head
from harness.report.text.accuracy_grids import SOURCE, ensemble_name
from harness.report.text.grid import highest, second_highest


def accuracy_cells(shown: SettingTable, part: Section) -> dict[str, list[str]]:
    """By algorithm its cells: target domains, and their mean; best bold, second underlined."""
    columns = [[part.cells.get((name, target)) for name in shown.algorithms] for target in shown.targets]
    columns.append([part.means.get(name) for name in shown.algorithms])
    best, second = ([list(judge(column)) for column in columns] for judge in (highest, second_highest))
    return {
        name: [
            accuracy(column[position], _kind(best[c][position], second[c][position], c == len(shown.targets)))
            for c, column in enumerate(columns)
        ]
        for position, name in enumerate(shown.algorithms)
    }


def ensemble_row(shown: SettingTable, part: Section, name: str) -> list[str]:
    """An algorithm's final runs as one model, if there are such ensembles."""
    position = shown.algorithms.index(name)
    if not any((name, target) in part.ensembles for target in shown.targets):
        return []
    columns = [[part.ensembles.get((a, target)) for a in shown.algorithms] for target in shown.targets]
    columns.append([part.ensemble_means.get(a) for a in shown.algorithms])
    cells = [
        accuracy(column[position], _kind(highest(column)[position], False, c == len(shown.targets)))
        for c, column in enumerate(columns)
    ]
    return [row_head(ensemble_name(shown, name)) + "".join(cells)]


def source_rows(shown: SettingTable) -> list[str]:
    """What the same models reach on the domains that they know."""
    found = {name: row for name in shown.algorithms if (row := shown.source_row(name))}
    return [
        row_head(f"{name} {SOURCE}") + "".join(map(accuracy, own)) + accuracy(mean, "mean")
        for name, (*own, mean) in found.items()
    ]


def _kind(best: bool, second: bool, is_mean: bool) -> str:
    return " ".join(name for name, holds in (("best", best), ("second", second), ("mean", is_mean)) if holds)


def difference_rows(shown: SettingTable, part: Section) -> list[str]:
    """Differences from the reference on each target domain."""
    return [
        row_head(contrast.name)
        + "".join(difference(contrast.by_target.get(target)) for target in shown.targets)
        + difference(contrast.mean, "mean")
        for contrast in part.contrasts
        if contrast.by_target
    ]
