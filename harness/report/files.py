"""A sweep's report in its folder: what it is made from, and the files that it is written to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.config import Demand
from harness.plan import StudyPlan
from harness.plan.recorded import planned_by
from harness.plan.sweep_file import recorded_values
from harness.records import Stage, TrialRecord
from harness.report.analysis.comparison import Comparison, compare, oracle_line
from harness.report.analysis.details import Details, details_of
from harness.report.figures.ratio import draw_curves
from harness.report.html.page import to_html
from harness.report.origin import MADE, Say, keep_what_differs, made_from
from harness.report.text.json_file import to_json
from harness.report.text.latex import to_latex
from harness.report.text.markdown import FIGURE, to_markdown
from harness.report.text.paper.files import FOLDER as PAPER_FOLDER
from harness.report.text.paper.files import paper_files
from harness.terminal.legible import as_text
from ndcl.errors import UserError


def compare_sweep(folder: Path, records: Sequence[TrialRecord], reference: str | None = None) -> Comparison:
    """The comparison of a sweep's records in the order of its plan.

    Raises UserError for an unknown `reference`, and if the sweep's file is damaged.
    """
    plan = planned_studies(folder)
    top_k = max((study.top_k for study in plan), default=1)
    return compare(records, reference=reference, studies=[study.key for study in plan], top_k=top_k)


def planned_studies(folder: Path, say: Say = lambda line: None) -> tuple[StudyPlan, ...]:
    """The studies of the sweep in `folder` in the order of its YAML, or none if this code can't tell; `say` says why.

    Raises UserError if the sweep's file is damaged.
    """
    return _planned(folder, say)[0]


def _planned(folder: Path, say: Say) -> tuple[tuple[StudyPlan, ...], Mapping[Stage, Demand] | None]:
    """The studies of the sweep in `folder` in its YAML's order, and what trainings occupy, as far as is known."""
    resolved = recorded_values(folder)
    try:
        plan = None if resolved is None else planned_by(resolved, folder)
    except UserError as error:
        say(f"only what the trials' records tell is shown, in their order: {error}")
        plan = None
    return ((), None) if plan is None else (plan.studies, plan.occupied)


def write_paper(
    folder: Path, comparison: Comparison, details: Details, records: Sequence[TrialRecord], say: Say = lambda line: None
) -> Path:
    """Write the tables of a paper into the folder `paper` of the sweep, which is returned; `say` as `write_report`."""
    own = [record for record in records if record.has_target]
    place = folder / PAPER_FOLDER
    place.mkdir(exist_ok=True)
    for name, text in paper_files(comparison, details, own, planned_studies(folder, say)).items():
        (place / name).write_text(as_text(text), encoding="utf-8")
    return place


def write_report(
    folder: Path, comparison: Comparison, records: Sequence[TrialRecord], say: Say = lambda line: None
) -> Details:
    """Write the comparison of `records` in every form, and what else these tell, which is returned.

    report.md, report.json, report.html, report.tex, and the picture of the curves where there are several ratios. Files
    that other code has made otherwise of the same records are kept elsewhere; `say` is called.
    """
    details = details_of([record for record in records if record.has_target], *_planned(folder, say))
    made = made_from(folder, comparison, records)
    files = {
        "report.md": as_text(to_markdown(comparison, details)),
        "report.json": json.dumps({**to_json(comparison, details), MADE: made}, allow_nan=False),
        "report.html": as_text(to_html(folder.name, comparison, details)),
        "report.tex": as_text(to_latex(comparison, details)),
    }
    keep_what_differs(folder, files, made, say)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if comparison.curves:
        title = f"Accuracy over the imbalance ratio{oracle_line(comparison)}"
        draw_curves(comparison.curves, title, [folder / f"{FIGURE}.{suffix}" for suffix in ("png", "pdf")])
    return details
