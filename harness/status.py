"""What a sweep does or has come to, read from its folder alone, by any process and without writing anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from harness.agenda import Agenda
from harness.config import SweepConfig
from harness.plan import Plan, plan_of
from harness.plan_cost import NOTHING, Range, kinds_of, recorded_speeds, seconds_left
from harness.plan_studies import studies_of
from harness.records import Journal, TrialRecord
from harness.selection import select
from harness.study_state import StudyState, study_state
from harness.sweep_folder import SWEEP_FILE, is_locked
from ndcl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """One look at a sweep."""

    plan: Plan
    is_running: bool
    """Whether a process runs it now, on this machine or, if the file system passes locks on, on another."""
    studies: tuple[StudyState, ...]
    records: tuple[TrialRecord, ...]
    changed: dict[str, float]
    """When each trial's record was last written, in seconds since the epoch, by the record's name."""

    @property
    def is_done(self) -> bool:
        """Whether every study has come to its end."""
        return all(study.stage in ("done", "stopped") for study in self.studies)

    @property
    def word(self) -> str:
        """`running`, `done`, or `not running`."""
        return "running" if self.is_running else "done" if self.is_done else "not running"

    @property
    def open_trials(self) -> list[TrialRecord]:
        """Those that run, wait for their population, or were interrupted and will go on."""
        return [record for record in self.records if record.state in ("running", "waiting", "interrupted")]

    def seconds_left(self) -> Range | None:
        """With as many trials at once as run now; None if none runs, or a kind has not been evaluated yet."""
        speeds = recorded_speeds(self.records)
        keys = {state.key for state in self.studies if state.stage in ("search", "final")}
        studies = [study for study in self.plan.studies if study.key in keys]
        num_running = sum(record.state == "running" for record in self.records)
        if not num_running or any(kind not in speeds for study in studies for kind in kinds_of(study)):
            return None
        parts = (part for study in studies for part in seconds_left(study, self.records, speeds).values())
        return sum(parts, NOTHING) * (1 / num_running)


def read_status(results: Path, name: str) -> SweepStatus:
    """Look at the sweep `name` in the results folder. Raises UserError if there is none that can be read."""
    folder = results / name
    try:
        is_running = is_locked(folder)
        plan = _plan(results, yaml.safe_load((folder / SWEEP_FILE).read_text()))
        journal = Journal(folder)
        records = [record if is_running else as_stopped(record) for record in journal.read()]
        changed = {path.stem: path.stat().st_mtime for path in journal.folder.glob("*.json")}
    except FileNotFoundError:
        raise UserError(
            f"there is no sweep '{name}' in {results}; run it first with: ndcl sweep, or give --results"
        ) from None
    return SweepStatus(
        plan=plan,
        is_running=is_running,
        studies=_states(plan, records),
        records=tuple(records),
        changed=changed,
    )


def _plan(results: Path, resolved: dict[str, object]) -> Plan:
    """The plan that the folder's own file tells, without a look at the data."""
    try:
        config = SweepConfig.model_validate(resolved)
        studies = studies_of(config)
    except ValueError:
        raise UserError(
            f"{results / str(resolved['name']) / SWEEP_FILE} was written by another version of ndcl; "
            "ndcl report still reads its trials"
        ) from None
    return plan_of(config, studies, results)


def as_stopped(record: TrialRecord) -> TrialRecord:
    """What a killed process left as running was interrupted."""
    return replace(record, state="interrupted") if record.state == "running" else record


def _states(plan: Plan, records: Sequence[TrialRecord]) -> tuple[StudyState, ...]:
    agenda = Agenda(plan.studies, records, select)
    return tuple(study_state(agenda, study) for study in plan.studies)
