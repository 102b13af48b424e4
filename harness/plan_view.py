"""A plan for people: its studies, their sizes, and what of them is done."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from harness.plan import Plan, StudyPlan
from harness.records import ENDED, TrialRecord


def plan_table(plan: Plan, records: Iterable[TrialRecord]) -> Table:
    """One row a study."""
    table = Table(title=f"sweep {plan.name}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("study", no_wrap=True)
    for name in ("searched values", "trials", "final runs", "steps each", "done"):
        table.add_column(name, justify="right")
    done = _done(records)
    for study in plan.studies:
        sizes = (len(study.space), study.num_trials, study.num_final, study.num_steps, done.get(study.key.name, 0))
        table.add_row(study.key.name, *map(str, sizes))
    return table


def plan_totals(plan: Plan, records: Iterable[TrialRecord]) -> str:
    """`2 studies, 10 trainings of which 3 are done, at most 3000 optimiser steps (early stopping saves some)`."""
    trainings = sum(map(_trainings, plan.studies))
    steps = sum(_trainings(study) * study.num_steps for study in plan.studies)
    done = sum(_done(records).get(study.key.name, 0) for study in plan.studies)
    return (
        f"{len(plan.studies)} studies, {trainings} trainings of which {done} are done, at most {steps} optimiser "
        f"steps; each training takes {plan.cpus_per_trial:g} CPUs and {plan.gpus_per_trial:g} GPUs"
    )


def _trainings(study: StudyPlan) -> int:
    return study.num_trials + study.num_final


def _done(records: Iterable[TrialRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        if record.state in ENDED:
            counts[record.study.name] = counts.get(record.study.name, 0) + 1
    return counts
