"""What follows from a sweep's config: its studies, their trials, what these cost. Pure."""

from harness.plan.plan import Plan, make_plan
from harness.plan.studies import StudyPlan

__all__ = ["Plan", "StudyPlan", "make_plan"]
