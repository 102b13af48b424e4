"""A sweep's report in its folder: what it is made from, and the files that it is written to."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from harness.config import SweepConfig
from harness.plan_studies import StudyPlan, studies_of
from harness.records import TrialRecord
from harness.report import FIGURE, to_markdown
from harness.report_comparison import ORACLE_WARNING, Comparison, compare
from harness.report_figure import draw_curves
from harness.report_json import to_json
from harness.sweep_folder import SWEEP_FILE


def compare_sweep(folder: Path, records: Sequence[TrialRecord], reference: str | None = None) -> Comparison:
    """The comparison of a sweep's records in the order of its plan. Raises UserError for an unknown `reference`."""
    plan = planned_studies(folder)
    top_k = max((study.top_k for study in plan), default=1)
    return compare(records, reference=reference, studies=[study.key for study in plan], top_k=top_k)


def planned_studies(folder: Path) -> tuple[StudyPlan, ...]:
    """The studies of the sweep in `folder` in the order of its YAML, or none if that can't be known."""
    path = folder / SWEEP_FILE
    if not path.exists():
        return ()
    try:
        return studies_of(SweepConfig.model_validate(yaml.safe_load(path.read_text())))
    except ValueError:  # written by an earlier version, with other keys
        return ()


def write_report(folder: Path, comparison: Comparison) -> None:
    """Write report.md, report.json and, where there are several imbalance ratios, the picture of their curves."""
    (folder / "report.md").write_text(to_markdown(comparison))
    (folder / "report.json").write_text(json.dumps(to_json(comparison), allow_nan=False))
    if comparison.curves:
        warning = "\n" + ORACLE_WARNING.replace("; ", ";\n") if comparison.oracle else ""
        paths = [folder / f"{FIGURE}.{suffix}" for suffix in ("png", "pdf")]
        draw_curves(comparison.curves, f"Accuracy over the imbalance ratio{warning}", paths)
