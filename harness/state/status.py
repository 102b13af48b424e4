"""How a sweep stands, read from its folder alone, by any process and without writing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.config.commands import ndcl_command, no_sweep
from harness.plan import Plan
from harness.plan.recorded import recorded_plan
from harness.records import Journal, TrialRecord, select
from harness.records.places import SWEEP_FILE
from harness.state.bound_data import Bound, Source, bound_data, digests_here, sources_of
from harness.state.study_summary import OPEN, StudySummary, summary_of
from harness.state.sweep_state import SweepState
from harness.state.time_left import seconds_left
from harness.storage import is_locked
from ndcl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """One look at a sweep."""

    plan: Plan
    is_running: bool
    """Whether a process runs it now, on this machine or, if the file system passes locks on, on another."""
    studies: tuple[StudySummary, ...]
    records: tuple[TrialRecord, ...]
    changed: dict[str, float]
    """When each trial's record was last written, in seconds since the epoch, by the record's name."""
    damaged: tuple[str, ...] = ()
    """Of each record that can't be read the file, why, and the remedy."""
    bound: tuple[Bound, ...] = ()
    """What the sweep is bound to of its data."""
    data_now: Mapping[Source, str] = field(default_factory=dict)
    """The digests of what lies under their names now, as far as it lies on this machine."""

    @property
    def is_done(self) -> bool:
        """Whether every study has ended."""
        return all(study.stage in ("done", "stopped") for study in self.studies)

    @property
    def replaced(self) -> list[Bound]:
        """The data sets that are others by now."""
        now = self.data_now
        return [each for each in self.bound if each.source in now and not each.is_same(now[each.source])]

    @property
    def word(self) -> str:
        """`running`, `done`, or `not running`."""
        return "running" if self.is_running else "done" if self.is_done else "not running"

    @property
    def open_trials(self) -> list[TrialRecord]:
        """Those that run, wait for their population, or were interrupted and will continue."""
        return [record for record in self.records if record.state in ("running", "waiting", "interrupted")]

    def seconds_left(self) -> float | None:
        """With as many trials at once as run now; None if none runs, or none has been evaluated yet."""
        keys = {state.key for state in self.studies if state.stage in OPEN}
        studies = [study for study in self.plan.studies if study.key in keys]
        num_running = sum(record.state == "running" for record in self.records)
        return seconds_left(studies, self.records, num_running) if num_running else None


def read_status(results: Path, name: str) -> SweepStatus:
    """Look at the sweep `name` in the results folder. Raises UserError if there is none that can be read."""
    folder = results / name
    try:
        is_running = is_locked(folder)
        plan = recorded_plan(folder)
        if plan is None and Journal(folder).read():
            again = ndcl_command("sweep", "SWEEP.yaml", results=results)
            raise UserError(
                f"{folder / SWEEP_FILE} is missing; the command that started the sweep writes it again: {again}"
            )
        if plan is None:
            raise FileNotFoundError
        journal = Journal(folder)
        damaged: list[UserError] = []
        files = journal.files(damaged.append)
        records = [record if is_running else as_stopped(record) for record in files.values()]
        changed = {record.name: path.stat().st_mtime for path, record in files.items()}
    except (FileNotFoundError, NotADirectoryError):
        raise no_sweep(name, results) from None
    return SweepStatus(
        plan=plan,
        bound=tuple(bound_data(folder, sources_of(plan), records)),
        data_now=digests_here(sources_of(plan)),
        is_running=is_running,
        damaged=tuple(map(str, damaged)),
        studies=_states(plan, records),
        records=tuple(records),
        changed=changed,
    )


def as_stopped(record: TrialRecord) -> TrialRecord:
    """What a killed process left as running was interrupted."""
    return replace(record, state="interrupted") if record.state == "running" else record


def _states(plan: Plan, records: Sequence[TrialRecord]) -> tuple[StudySummary, ...]:
    sweep_state = SweepState(plan.studies, records, select)
    return tuple(summary_of(sweep_state, study) for study in plan.studies)
