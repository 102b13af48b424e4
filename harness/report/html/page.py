"""The report as one HTML page that needs nothing else: no network, no script, its style and pictures within it."""

from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files

from harness.report.analysis.comparison import ORACLE_WARNING, Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.importance import FEWEST_TRIALS, METHOD
from harness.report.analysis.setting_table import SettingTable
from harness.report.html.charts import ratio_chart
from harness.report.html.confusions import confusions
from harness.report.html.margins import margins
from harness.report.html.parts import Names, folded, grid_table, legend, minus, notes, paragraph, section
from harness.report.html.studies import costs, importances, missing, searches
from harness.report.html.tables import setting_tables
from harness.report.html.theory import theory
from harness.report.text.accuracy_grids import curve_grid, front_grid
from harness.report.text.findings import edge_lines, finding, recommendation
from harness.report.text.grid import Grid, marked, nothing
from harness.report.text.markdown import head_lines
from harness.report.text.second_look_grid import second_look_grids
from harness.report.text.source_criteria_grid import source_criteria_grid

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Has browsers load nothing, whatever a name in the records may hold."""
HEADS = """<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">"""


def to_html(name: str, comparison: Comparison, details: Details) -> str:
    """The page of the sweep `name`."""
    sections = _sections(comparison, details)
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, (title, _) in sections.items())
    body = "".join(section(key, title, content) for key, (title, content) in sections.items())
    return (
        f'<!doctype html>\n<html lang="en"><head>{HEADS}\n<meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}"><title>{escape(name)}: report</title><style>\n{style()}</style></head>\n<body>'
        f'<a class="skip" href="#content">Skip to the results</a><header><h1>{escape(name)}</h1>'
        f'{_head(comparison, details)}<nav aria-label="Sections"><ul>{links}</ul></nav></header>'
        f'\n<main id="content">{body}</main></body></html>\n'
    )


@cache
def style() -> str:
    """The look of the page: one style sheet, light and dark, from a phone's width to a wide screen's."""
    return (files("harness.report.html") / "style.css").read_text(encoding="utf-8")


def _head(comparison: Comparison, details: Details) -> str:
    """What was compared, and what was found."""
    if not comparison.tables:
        return paragraph(nothing(comparison)) + missing(details)
    warning = f'<div class="notice"><p><strong>{escape(ORACLE_WARNING)}</strong></p></div>' if comparison.oracle else ""
    found = "".join(
        f"<dt>{escape(f'{table.dataset}, {table.setting}')}</dt>"
        f"<dd>{minus(escape(_found(table, comparison, details)))}</dd>"
        for table in comparison.tables
    )
    lines = [_compared(comparison, details), *head_lines(comparison)]
    return f'<p class="lead">{escape(" ".join(lines))}</p>{warning}{missing(details)}<dl class="findings">{found}</dl>'


def _found(table: SettingTable, comparison: Comparison, details: Details) -> str:
    """What was found, whether a range was too narrow, and what to deploy."""
    lines = [finding(table), *edge_lines(details, table.dataset, table.setting)]
    return " ".join([*lines, *filter(None, [recommendation(table, oracle=comparison.oracle)])])


def _compared(comparison: Comparison, details: Details) -> str:
    algorithms = comparison.algorithms
    names = ", ".join(algorithms) if not comparison.families else f"{len(algorithms)} algorithms"
    num_targets = len({(table.dataset, target) for table in comparison.tables for target in table.targets})
    num_settings = len(comparison.tables)
    return (
        f"{names} on {num_targets} unseen domain{'s' * (num_targets > 1)} under {num_settings} imbalance "
        f"setting{'s' * (num_settings > 1)}: {details.cost.num_ended} search trials, {_reviews(details)}"
        f"{details.cost.num_final.get('finished', 0)} final runs."
    )


def _reviews(details: Details) -> str:
    number = details.cost.num_review.get("finished", 0)
    return f"{number} second looks, " if number else ""


def _sections(comparison: Comparison, details: Details) -> dict[str, tuple[str, str]]:
    """Title and content by identifier, of what there is."""
    if not comparison.tables:
        return {}
    names, tables, algorithms = Names(), comparison.tables, comparison.algorithms
    sections = {
        f"setting-{position}": (f"{table.dataset}, {table.setting}", setting_tables(names, table, comparison))
        for position, table in enumerate(tables)
    }
    sections["ratio"] = ("Accuracy over the imbalance ratio", _ratios(comparison, algorithms))
    sections["search"] = ("Course of the searches", _searches(names, comparison, details, algorithms))
    sections["importance"] = ("Importance of the searched values", _importances(names, comparison, details))
    sections["confusion"] = ("Confusions", _confusions(names, comparison, details))
    sections["margins"] = ("Decision margins", _margins(names, comparison, details))
    sections["second-look"] = ("Second look", _grids(comparison, second_look_grids(details)))
    sections["criteria"] = ("What can be trusted", _criteria(comparison, details))
    sections["theory"] = ("What the theory predicts", _theory(names, comparison, details))
    sections["fronts"] = ("Pareto fronts", _grids(comparison, map(front_grid, comparison.fronts)))
    sections["cost"] = ("Cost", costs(tables, details) + notes([_COST_NOTE]))
    return {key: (f"{comparison.mark}{title}", content) for key, (title, content) in sections.items() if content}


def _ratios(comparison: Comparison, algorithms: list[str]) -> str:
    if not comparison.curves:
        return ""
    charts = [
        ratio_chart(curve, metric, algorithms)
        for curve in comparison.curves for metric in curve.metrics if metric.cells
    ]  # fmt: skip
    grids = _grids(comparison, map(curve_grid, comparison.curves))
    return (
        paragraph("Means over target domains in %; bars are standard errors over seeds.")
        + legend(algorithms)
        + f'<div class="charts">{"".join(charts)}</div>{folded("The numbers", grids)}'
    )


def _grids(comparison: Comparison, grids: Iterable[Grid]) -> str:
    return "".join(map(grid_table, marked([*grids], comparison)))


def _searches(names: Names, comparison: Comparison, details: Details, algorithms: list[str]) -> str:
    criterion = " and ".join(comparison.criteria)
    about = (
        f"Best {criterion} of a finished trial so far in %, by the time that trials ended. It is what the search sees"
    )
    return paragraph(
        f"{about}{' of the target domain' if comparison.oracle else ' of the source domains'}."
    ) + searches(names, comparison.tables, details, algorithms)


def _importances(names: Names, comparison: Comparison, details: Details) -> str:
    shown = importances(names, comparison, details)
    about = (
        "How much of what tells the best trials of a study from the others lies in each searched value, by "
        f"{METHOD}, on finished trials; a study needs {FEWEST_TRIALS} of them. From a few dozen trials on it can be "
        "trusted; of ten it is a hint."
    )
    return paragraph(about) + shown if shown else ""


def _margins(names: Names, comparison: Comparison, details: Details) -> str:
    shown = margins(names, comparison, details)
    about = (
        "By how much the true class's logit exceeds the highest other one; an image below 0 is misclassified. Final "
        "runs at their selected checkpoints, means over seeds and target domains. Boxes are quartiles, their lines go "
        "from 5 to 95 % of the images."
    )
    return paragraph(about) + shown if shown else ""


def _criteria(comparison: Comparison, details: Details) -> str:
    grids = [source_criteria_grid(found, comparison.algorithms) for found in details.source_criteria]
    about = (
        "Whoever deploys a model has no labels of the new domain and must choose by source domains alone. How well "
        "each criterion there would have chosen among the trials of this sweep:"
    )
    return paragraph(about) + _grids(comparison, grids) if grids else ""


def _theory(names: Names, comparison: Comparison, details: Details) -> str:
    shown = theory(names, comparison, details)
    about = (
        "The paper bounds the error on an unseen domain by decision margins and by how far the posteriors of a class "
        "differ between domains. If so, trials with larger margins and a smaller discrepancy are more accurate there. "
        "What is measured on the target domain is looked at here alone; nothing was proposed, stopped or selected by "
        "it. A point is a trial at its selected checkpoint; final runs are larger."
    )
    return paragraph(about) + shown if shown else ""


def _confusions(names: Names, comparison: Comparison, details: Details) -> str:
    shown = confusions(names, comparison.tables, details)
    about = (
        "Test images of the unseen domain at the selected checkpoints of the final runs, all seeds together. Rows are "
        "true classes from top to bottom, columns what they were taken for, in the same order; numbers are images, and "
        "each row is shaded by its shares."
    )
    return paragraph(about) + shown if shown else ""


_COST_NOTE = (
    "Training time is added up over trainings that ran side by side, up to their newest checkpoint, without "
    "evaluations and start-up; hours are this time by the CPUs and GPUs that a training occupies."
)
