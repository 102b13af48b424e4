"""Bringing MLflow to what a sweep's folder says: all of it at once, while the sweep runs or long after."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.plan import Plan
from harness.records import Journal, select
from harness.search.figures import StudyFigures
from harness.state import StudySummary, SweepState, read_status
from harness.state.status import as_stopped
from harness.state.study_summary import summary_of
from harness.storage import locked
from harness.storage.folder import sweep_id
from harness.tracking.items import StudySelection, SweepSummary
from harness.tracking.tracker import Tracker


def sync_sweep(
    results: Path, name: str, timeout_seconds: float | None = None, say: Callable[[str], None] = lambda line: None
) -> Tracker:
    """Bring MLflow to what the folder of the sweep `name` says; the tracker that has done so knows what is left to do.

    `say` is called if the store was damaged and is made anew. Raises UserError if there is no such sweep, or a process
    runs it, which does the same.
    """
    with _tracked(results, name, timeout_seconds, say) as (tracker, plan, sweep_state):
        push_all(tracker, plan, sweep_state)
    return tracker


def sync_report(results: Path, name: str, timeout_seconds: float) -> Tracker:
    """As `sync_sweep`, but the run of the sweep itself alone, which holds the report."""
    with _tracked(results, name, timeout_seconds) as (tracker, plan, sweep_state):
        tracker.push(_sweep_state(plan, sweep_state))
    return tracker


@contextlib.contextmanager
def _tracked(
    results: Path, name: str, timeout_seconds: float | None, say: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[Tracker, Plan, SweepState]]:
    plan = read_status(results, name).plan
    with locked(plan.folder):
        records = map(as_stopped, Journal(plan.folder).read())
        studies = [study.key for study in plan.studies]
        tracker = Tracker(results, name, sweep_id(plan.folder), studies=studies, uri=plan.tracking_uri, say=say)
        tracker.is_running = False
        tracker.start()
        yield tracker, plan, SweepState(plan.studies, records, select)
        tracker.close(timeout_seconds)


def push_all(tracker: Tracker, plan: Plan, sweep_state: SweepState) -> None:
    """Have everything written that MLflow is to know of a sweep."""
    for record in sorted(sweep_state.records.values(), key=lambda record: record.name):
        tracker.push(record)
    state = _sweep_state(plan, sweep_state)
    for study in state.studies:
        push_study(tracker, plan, sweep_state, study)
    tracker.push(state)


def push_study(tracker: Tracker, plan: Plan, sweep_state: SweepState, state: StudySummary) -> None:
    """Have the state of a study written: its stage, its selection, and in the end the figures that are wanted."""
    tracker.push(state)
    study = next(study for study in plan.studies if study.key == state.key)
    search = sweep_state.search_records(study)
    if state.is_selected and state.best is not None:
        records = [*sweep_state.judged_records(study), *sweep_state.final_records(study)]
        tracker.push(StudySelection(key=state.key, selected=state.best, records=records))
    if state.stage == "done" and plan.draws_figures:
        tracker.push(StudyFigures(plan=study, records=search))


def _sweep_state(plan: Plan, sweep_state: SweepState) -> SweepSummary:
    return SweepSummary(folder=plan.folder, studies=tuple(summary_of(sweep_state, study) for study in plan.studies))
