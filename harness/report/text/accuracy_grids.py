"""Accuracies as grids of cells: of a setting, of curves, of fronts."""

from harness.report.analysis.cells import Cell
from harness.report.analysis.curves import Curve, CurveMetric
from harness.report.analysis.fronts import Front
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.analysis.spent import Budget, unequal
from harness.report.text.grid import (
    Block,
    Grid,
    NamedRow,
    Row,
    family_blocks,
    highest,
    label_rows,
    percent,
    points,
    rounded,
)

SOURCE = "(source)"
"""Label of the rows that are of the domains trained on."""


def curve_grid(curve: Curve) -> Grid:
    """Accuracy of each algorithm at each imbalance ratio."""
    settings = ", ".join(curve.ratios)
    return Grid(
        title=f"{curve.dataset}, {curve.kind}: accuracy over the imbalance ratio in %",
        header=("metric", "algorithm", *(f"{ratio:g}" for ratio in curve.ratios.values())),
        blocks=tuple(_curve_rows(curve, metric) for metric in curve.metrics if metric.cells),
        notes=(
            f"Columns are the ratios of {settings}; numbers are means over target domains, ± their standard error.",
            *(
                f"{metric.metric}: the mean is over {', '.join(metric.mean_over)} only, where every algorithm has a "
                "value at every ratio."
                for metric in curve.metrics
                if metric.mean_over and len(metric.mean_over) < len(curve.targets)
            ),
        ),
    )


def front_grid(front: Front) -> Grid:
    """The trials on one study's Pareto front."""
    rows = tuple(
        Row(
            labels=(str(trial.number),),
            cells=(*(rounded(value) for value in trial.values.values()), "selected" if trial.selected else ""),
            bold=(False,) * len(front.objectives) + (trial.selected,),
        )
        for trial in front.trials
    )
    notes = [f"{len(front.trials)} of {front.num_finished} finished search trials; each at its best checkpoint, in %."]
    if not any(trial.selected for trial in front.trials):
        notes.append("The selected values are those of a trial that is not on the front.")
    study = front.study
    return Grid(
        title=f"{study.algorithm} on {study.dataset}, {study.setting}, {study.target} unseen: Pareto front",
        header=("trial", *front.objectives, ""),
        blocks=(rows,),
        notes=tuple(notes),
    )


def _curve_rows(curve: Curve, metric: CurveMetric) -> tuple[Row, ...]:
    grid = [[metric.cells.get((name, setting)) for setting in curve.ratios] for name in curve.algorithms]
    bold = zip(*map(highest, zip(*grid, strict=True)), strict=True)
    rows = [
        (name, [*map(percent, cells)], best) for name, cells, best in zip(curve.algorithms, grid, bold, strict=True)
    ]
    return label_rows(metric.metric, rows)


def accuracy_grid(table: SettingTable) -> Grid:
    """All metrics of all algorithms on each target domain, the differences from the reference, and the seeds."""
    overall, *others = (_metric_blocks(table, section) for section in table.sections)
    blocks = [*overall, ("", _source_rows(table)), *(each for other in others for each in other)]
    blocks = [(heading, rows) for heading, rows in [*blocks, ("", _seed_rows(table))] if rows]
    return Grid(
        title=f"{table.dataset}, {table.setting}: accuracy on the unseen domain in %",
        header=("metric", "algorithm", *table.targets, "mean"),
        blocks=tuple(rows for _, rows in blocks),
        headings=tuple(heading for heading, _ in blocks),
        notes=(*_legend_notes(table), *warning_notes(table)),
    )


def warning_notes(table: SettingTable) -> list[str]:
    """What is not as it should be: previews, and `condition_notes`."""
    preview = "* rests on one search trial, the one that was selected; no final run has finished."
    return [*([preview] if table.provisional else []), *condition_notes(table)]


def condition_notes(table: SettingTable) -> list[str]:
    """Under which conditions the numbers were made, where these are not equal and good: means over fewer domains,
    failures, chance, budgets, warm starts.
    """
    lines = [
        f"{section.metric}: the mean is over {', '.join(section.mean_over)} only, where every algorithm has a value."
        for section in table.sections
        if section.mean_over and len(section.mean_over) < len(table.targets)
    ]
    failed = [f"{number} of {algorithm} on {target}" for (algorithm, target), number in table.failed.items() if number]
    if failed:
        lines.append(f"Failed trials, which are not counted: {', '.join(failed)}.")
    return lines + _refusal_notes(table) + _chance_notes(table) + _budget_notes(table) + _warm_start_notes(table)


def _metric_blocks(table: SettingTable, section: Section) -> list[Block]:
    """Algorithms and their ensembles, family by family, and the differences."""
    grid = [[*(section.cells.get((a, t)) for t in table.targets), section.means.get(a)] for a in table.algorithms]
    bold = zip(*map(highest, zip(*grid, strict=True)), strict=True)
    rows: list[tuple[str, NamedRow]] = []
    for name, cells, best in zip(table.algorithms, grid, bold, strict=True):
        rows.append((name, (name, [*map(percent, cells)], best)))
        rows += [(name, row) for row in _ensemble_row(table, section, name)]
    differences = _difference_rows(table, section)
    if table.families:
        blocks = family_blocks(section.metric, rows, table.families)
        return [*blocks, (f"differences from {table.algorithms[0]}", label_rows(section.metric, differences))]
    return [("", label_rows(section.metric, [*(row for _, row in rows), *differences]))]


def _difference_rows(table: SettingTable, section: Section) -> list[NamedRow]:
    rows: list[NamedRow] = []
    for contrast in section.contrasts:
        cells = [*(contrast.by_target.get(target) for target in table.targets), contrast.mean]
        if contrast.by_target:
            rows.append((contrast.name, [*map(points, cells)], (False,) * len(cells)))
    return rows


def _ensemble_row(table: SettingTable, section: Section, name: str) -> list[NamedRow]:
    """The algorithm's final runs as one model, if there are such ensembles."""
    columns = [[section.ensembles.get((a, t)) for a in table.algorithms] for t in table.targets]
    columns.append([section.ensemble_means.get(a) for a in table.algorithms])
    position = table.algorithms.index(name)
    if not any((name, target) in section.ensembles for target in table.targets):
        return []
    cells = [percent(column[position]) for column in columns]
    return [(ensemble_name(table, name), cells, tuple(highest(column)[position] for column in columns))]


def ensemble_name(table: SettingTable, algorithm: str) -> str:
    """Of the row of an algorithm's ensembles; weights that are averaged make one network, and are called so."""
    forms = table.ensemble_forms(algorithm)
    if "weights" not in forms:
        return f"{algorithm} ensemble"
    return f"{algorithm} averaged weights{' / ensemble' if len(forms) > 1 else ''}"


def _source_rows(table: SettingTable) -> tuple[Row, ...]:
    """What the same models reach on the domains that they know, so that the gap can't be missed."""
    rows = [(name, list(map(percent, row)), (False,) * len(row)) for name, row in _known_sources(table)]
    return label_rows(SOURCE, rows)


def _known_sources(table: SettingTable) -> list[tuple[str, list[Cell | None]]]:
    return [(name, row) for name in table.algorithms if (row := table.source_row(name))]


def _seed_rows(table: SettingTable) -> tuple[Row, ...]:
    rows = []
    for algorithm in table.algorithms:
        numbers = [len(table.budgets.get((algorithm, target), Budget()).seeds) for target in table.targets]
        low, high = min(numbers), max(numbers)
        cells = [*map(str, numbers), str(low) if low == high else f"{low} to {high}"]
        rows.append((algorithm, cells, (False,) * len(cells)))
    return label_rows("seeds", rows)


def _legend_notes(table: SettingTable) -> list[str]:
    lines = ["± is the standard error over seeds; the highest value of a column is bold."]
    if table.sources:
        lines.append(
            f"{SOURCE}: overall accuracy of the same models on validation images of the domains that they were trained "
            "on, by the domain that was left out."
        )
    if table.ensembles:
        lines.append(
            "An ensemble is a study's final runs as one model; it has no seeds: its ± is the standard error over the "
            "images of the domain. Bold is the highest of the ensembles."
        )
    if any(each.of == "weights" for each in table.ensembles.values()):
        lines.append(
            "Averaged weights: the mean of the final runs' weights as one network, as fast as a single run; their ± is "
            "that of an ensemble."
        )
    if any(section.contrasts for section in table.sections):
        lines.append("Differences are in percentage points; their error is that of the differences at equal seed.")
    return lines


def _refusal_notes(table: SettingTable) -> list[str]:
    """Of each study whose averaged weights were refused."""
    refused = {pair: each.refused for pair, each in table.ensembles.items() if each.refused}
    return [
        f"WEIGHTS NOT AVERAGED, {algorithm} on {target}: the mean of the final runs' weights has "
        f"{rounded(facts['value'])} % {' and '.join(facts['criteria'])}, the runs {rounded(facts['members'])} % on "
        "average; their ensemble is the model."
        for (algorithm, target), facts in refused.items()
    ]


def _chance_notes(table: SettingTable) -> list[str]:
    if not table.at_chance:
        return []
    studies = ", ".join(
        f"{found.study.algorithm} on {found.study.target} ({100 * found.best:.1f} % on validation images at most; "
        f"guesses have up to {100 * found.limit:.1f} %)"
        for found in table.at_chance
    )
    return [f"AT CHANCE, no finished trial is distinguishable from guessing: {studies}."]


def _warm_start_notes(table: SettingTable) -> list[str]:
    if not table.warm_started:
        return []
    studies = ", ".join(f"{algorithm} on {target}" for algorithm, target in table.warm_started)
    return [f"WARM START: the search began with values selected with images of the target domain: {studies}."]


def _budget_notes(table: SettingTable) -> list[str]:
    """Where the algorithms did not have the same number of trials, steps and seeds, what each of them had."""
    return [
        f"UNEQUAL BUDGET on {', '.join(targets)}: "
        + "; ".join(f"{algorithm} {budget}" for algorithm, budget in budgets.items())
        + "."
        for targets, budgets in unequal(table.budgets, table.algorithms, table.targets).items()
    ]
