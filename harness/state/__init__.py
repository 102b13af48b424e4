"""Where a sweep stands: what is due next, how each study stands, by plan and records alone. Pure."""

from harness.state.status import SweepStatus, read_status
from harness.state.study_summary import StudySummary
from harness.state.sweep_state import SweepState

__all__ = ["StudySummary", "SweepState", "SweepStatus", "read_status"]
