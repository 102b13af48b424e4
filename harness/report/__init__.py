"""The comparison of a sweep: analysis (numbers), text (tables), html (the page), figures (for papers)."""

from harness.report.analysis.comparison import compare
from harness.report.files import write_report

__all__ = ["compare", "write_report"]
