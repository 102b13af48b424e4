"""All figures of a report for papers, as PDF and PNG in the folder `figures` of a sweep."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness.report.analysis.comparison import Comparison, oracle_line
from harness.report.analysis.details import Details
from harness.report.analysis.setting_table import SettingTable
from harness.report.figures.forest import draw_forest
from harness.report.figures.heat_maps import draw_confusions, draw_importances
from harness.report.figures.ratio import draw_curves
from harness.report.figures.searches import draw_searches
from harness.report.figures.theory import draw_diagnosis, draw_margins
from harness.report.text.markdown import FIGURE

FOLDER = "figures"
SUFFIXES = ("png", "pdf")
Draw = Callable[[str, Sequence[Path]], None]
"""Given a title and the files to write."""


def write_figures(folder: Path, comparison: Comparison, details: Details) -> list[Path]:
    """Draw whatever there are numbers for into `folder`; returns the files."""
    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    for name, title, draw in _figures(comparison, details):
        paths = [folder / f"{name.replace('/', '~')}.{suffix}" for suffix in SUFFIXES]
        draw(f"{title}{oracle_line(comparison)}", paths)
        written += paths
    return written


def _figures(comparison: Comparison, details: Details) -> Iterator[tuple[str, str, Draw]]:
    """File name, title and how to draw it, of each figure."""
    names = comparison.algorithms
    for table in comparison.tables:
        for kind, title, draw in _of_setting(table, details, names):
            yield f"{kind}-{table.dataset}-{table.setting}", f"{table.dataset}, {table.setting}: {title}", draw
    for diagnosis in details.diagnoses:
        draw = partial(draw_diagnosis, diagnosis, names)
        yield f"theory-{diagnosis.dataset}", f"{diagnosis.dataset}: the bound's quantities and accuracy", draw
    if comparison.curves:
        yield FIGURE, "Accuracy over the imbalance ratio", partial(draw_curves, comparison.curves)


def _of_setting(table: SettingTable, details: Details, names: Sequence[str]) -> Iterator[tuple[str, str, Draw]]:
    studies = details.of(table.dataset, table.setting)
    if any(study.search for study in studies):
        yield "search", "course of the searches", partial(draw_searches, table, studies, names)
    if any(contrast.result for section in table.sections for contrast in section.contrasts):
        yield "forest", "mean differences", partial(draw_forest, table)
    if any(study.importance for study in studies):
        yield "importance", "importance of the searched values in %", partial(draw_importances, table, studies)
    if any(study.confusion for study in studies):
        yield "confusion", "confusions", partial(draw_confusions, table, studies)
    margins = details.margins(table.dataset, table.setting, table.algorithms)
    if margins:
        yield "margins", "decision margins", partial(draw_margins, margins, names)
