"""Bringing MLflow to what a sweep's folder says: all of it at once, while the sweep runs or long after."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.agenda import Agenda
from harness.plan import Plan
from harness.records import Journal
from harness.selection import select
from harness.status import as_stopped, read_status
from harness.study_figures import StudyFigures
from harness.study_selection import StudySelection
from harness.study_state import StudyState, study_state
from harness.sweep_folder import locked, sweep_id
from harness.sweep_state import SweepState
from harness.tracking import Tracker


def sync_sweep(results: Path, name: str, timeout_seconds: float | None = None) -> Tracker:
    """Bring MLflow to what the folder of the sweep `name` says; the tracker that has done so tells what is left to do.

    Raises UserError if there is no such sweep, or a process runs it, which does the same by itself.
    """
    with _tracked(results, name, timeout_seconds) as (tracker, plan, agenda):
        push_all(tracker, plan, agenda)
    return tracker


def sync_report(results: Path, name: str, timeout_seconds: float) -> Tracker:
    """As `sync_sweep`, but the run of the sweep itself alone, which holds the report."""
    with _tracked(results, name, timeout_seconds) as (tracker, plan, agenda):
        tracker.push(_sweep_state(plan, agenda))
    return tracker


@contextlib.contextmanager
def _tracked(results: Path, name: str, timeout_seconds: float | None) -> Iterator[tuple[Tracker, Plan, Agenda]]:
    plan = read_status(results, name).plan
    with locked(plan):
        records = map(as_stopped, Journal(plan.folder).read())
        tracker = Tracker(results, name, sweep_id(plan.folder), uri=plan.tracking_uri)
        tracker.is_running = False
        tracker.start()
        yield tracker, plan, Agenda(plan.studies, records, select)
        tracker.close(timeout_seconds)


def push_all(tracker: Tracker, plan: Plan, agenda: Agenda) -> None:
    """Have everything written that MLflow is to know of a sweep."""
    for record in sorted(agenda.records.values(), key=lambda record: record.name):
        tracker.push(record)
    state = _sweep_state(plan, agenda)
    for study in state.studies:
        push_study(tracker, plan, agenda, study)
    tracker.push(state)


def push_study(tracker: Tracker, plan: Plan, agenda: Agenda, state: StudyState) -> None:
    """Have written what a study has come to: its state, its selection, and in the end the figures that are wanted."""
    tracker.push(state)
    study = next(study for study in plan.studies if study.key == state.key)
    search = agenda.search_records(study)
    if state.is_selected and state.best is not None:
        records = [*search, *agenda.final_records(study)]
        tracker.push(StudySelection(key=state.key, selected=state.best, records=records))
    if state.stage == "done" and plan.draws_figures:
        tracker.push(StudyFigures(plan=study, records=search))


def _sweep_state(plan: Plan, agenda: Agenda) -> SweepState:
    return SweepState(folder=plan.folder, studies=tuple(study_state(agenda, study) for study in plan.studies))
