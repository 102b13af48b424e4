"""A sweep's report in its folder: what it is made from, and the files that it is written to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from harness.config import SweepConfig
from harness.plan_studies import StudyPlan, studies_of
from harness.records import Stage, TrialRecord
from harness.report import FIGURE, to_markdown
from harness.report_comparison import Comparison, compare, oracle_line
from harness.report_details import Details, details_of
from harness.report_figure import draw_curves
from harness.report_html import to_html
from harness.report_json import to_json
from harness.report_latex import to_latex
from harness.sweep_folder import SWEEP_FILE
from harness.workers import Occupied


def compare_sweep(folder: Path, records: Sequence[TrialRecord], reference: str | None = None) -> Comparison:
    """The comparison of a sweep's records in the order of its plan. Raises UserError for an unknown `reference`."""
    plan = planned_studies(folder)
    top_k = max((study.top_k for study in plan), default=1)
    return compare(records, reference=reference, studies=[study.key for study in plan], top_k=top_k)


def planned_studies(folder: Path) -> tuple[StudyPlan, ...]:
    """The studies of the sweep in `folder` in the order of its YAML, or none if that can't be known."""
    return _planned(folder)[0]


def _planned(folder: Path) -> tuple[tuple[StudyPlan, ...], Mapping[Stage, Occupied] | None]:
    """The studies of the sweep in `folder` in its YAML's order, and what trainings occupy, as far as is known."""
    path = folder / SWEEP_FILE
    if not path.exists():
        return (), None
    try:
        config = SweepConfig.model_validate(yaml.safe_load(path.read_text()))
        return studies_of(config), config.occupied
    except ValueError:  # written by an earlier version, with other keys
        return (), None


def write_report(folder: Path, comparison: Comparison, records: Sequence[TrialRecord]) -> Details:
    """Write the comparison of `records` in every form, and what else these tell, which is returned.

    report.md, report.json, report.html, report.tex, and the picture of the curves where there are several ratios.
    """
    details = details_of(records, *_planned(folder))
    (folder / "report.md").write_text(to_markdown(comparison, details))
    (folder / "report.json").write_text(json.dumps(to_json(comparison, details), allow_nan=False))
    (folder / "report.html").write_text(to_html(folder.name, comparison, details))
    (folder / "report.tex").write_text(to_latex(comparison, details))
    if comparison.curves:
        title = f"Accuracy over the imbalance ratio{oracle_line(comparison)}"
        draw_curves(comparison.curves, title, [folder / f"{FIGURE}.{suffix}" for suffix in ("png", "pdf")])
    return details
