"""The search of one study: Optuna's samplers and pruners by ask-and-tell, kept in step with the journal.

The journal is the truth. Optuna's storage is brought to what the records say whenever a sweep starts, even if the
storage was lost, so that after any kill every trial stands in the study exactly once.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from harness.config.space import defaults, suggest
from harness.records import ENDED, TrialRecord
from harness.search.frozen_trials import NAME, frozen_trial, outcome, reported, reports
from harness.search.optuna_internals import has_report, judged, note_judged, opened
from harness.search.samplers import no_repeat_sampler, pruner_of
from harness.search.space_filling import design_values
from ndcl.files import make_whole, sqlite_uri

if TYPE_CHECKING:
    from harness.plan import StudyPlan

LOCK_TIMEOUT_SECONDS = 60


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """The sqlite file of a sweep's Optuna studies, readable by optuna-dashboard."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    make_whole(path, lambda partial: _storage(partial).engine.dispose())
    return _storage(path)


def _storage(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        sqlite_uri(path), engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}}
    )


class StudySearch:
    """The Optuna study of one study, by the names of the journal's records."""

    def __init__(
        self,
        plan: "StudyPlan",
        sweep: str,
        storage: optuna.storages.BaseStorage,
        first_values: Sequence[dict[str, Any]] = (),
    ) -> None:
        """`first_values` are tried after the space's defaults, before the sampler draws any."""
        self.plan = plan
        self._first_values = first_values
        self.study = optuna.create_study(
            study_name=f"{sweep}/{plan.key.name}",
            storage=storage,
            directions=["maximize"] * len(plan.objectives),
            pruner=pruner_of(plan),
            load_if_exists=True,
        )
        self._trials: dict[str, optuna.Trial] = {}
        self._orphans: list[optuna.Trial] = []

    def reconcile(self, records: Iterable[TrialRecord]) -> None:
        """Bring the study to what its search records say. Call it once, before the first `ask`.

        A trial that Optuna holds open without a record was drawn just before a kill: the next `ask` takes it, so
        its values are neither lost nor doubled.
        """
        records = list(records)
        known = {trial.user_attrs.get(NAME): trial for trial in self._all()}
        for record in records:
            if record.name not in known:
                self._add(record)
            elif not known[record.name].state.is_finished():
                self._catch_up(known[record.name], record)
        self.study.sampler = no_repeat_sampler(self.plan, drawn=len(self._all()))
        self._take_up({record.name for record in records})

    def _enqueue(self, sets: Iterable[dict[str, Any]]) -> bool:
        """Have the first of these values tried next that the study has not had; whether there are any."""
        had = [each for trial in self._all() for each in (trial.params, trial.system_attrs.get("fixed_params", {}))]
        for values in filter(None, sets):
            if not any(values.items() <= each.items() for each in had):
                self.study.enqueue_trial(values)
                return True
        return False

    def _take_up(self, names: set[str]) -> None:
        """Hold on to the open trials: those of records, and those drawn for none."""
        for trial in self._all():
            if trial.state == TrialState.RUNNING:
                open_trial, name = opened(self.study, trial), trial.user_attrs.get(NAME)
                if name in names:
                    self._trials[name] = open_trial
                else:
                    self._orphans.append(open_trial)

    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def ask(self, name: str, number: int) -> dict[str, Any]:
        """Draw the values of the new trial `name`, the study's `number`, by dotted key. The defaults are the first."""
        trial = self._orphans.pop(0) if self._orphans else self._new(number)
        trial.set_user_attr(NAME, name)
        self._trials[name] = trial
        return suggest(trial, self.plan.space, self.plan.fixed)

    def _new(self, number: int) -> optuna.Trial:
        """The defaults, then the first values, then what a design plans, then what the sampler draws."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            is_first = number <= len(self._first_values) and self.plan.sampler != "grid"
            first, planned = [defaults(self.plan.space), *self._first_values], design_values(self.plan, number)
            if not (is_first and self._enqueue(first)) and planned is not None:
                self._enqueue([planned])
        return self.study.ask()

    def report(self, name: str, evaluation: dict[str, Any]) -> bool:
        """Take note of a running trial's evaluation; whether the trial is to be stopped early.

        An evaluation that is replayed after a fault is noted once, and judged once: as it was when there were fewer to
        compare the trial with.
        """
        trial = self._trials[name]
        if len(self.plan.objectives) > 1:  # Optuna takes reports and prunes for one objective only
            return False
        value = reported(evaluation, self.plan)
        if not has_report(trial, evaluation["step"]):
            trial.report(value, evaluation["step"])
        return self._is_weak(trial, evaluation["step"])

    def _is_weak(self, trial: optuna.Trial, step: int) -> bool:
        if isinstance(self.study.pruner, optuna.pruners.NopPruner):
            return False
        before = judged(trial)
        if before is not None and step <= before[0]:
            return before == (step, True)
        is_to_stop = bool(trial.should_prune())
        note_judged(trial, step, is_to_stop)
        return is_to_stop

    def tell(self, record: TrialRecord) -> None:
        """Close the trial of an ended record."""
        trial = self._trials.pop(record.name, None)
        if trial is not None:
            self._tell(trial.number, record)

    def _catch_up(self, found: optuna.trial.FrozenTrial, record: TrialRecord) -> None:
        """Make the reports that a kill has cut off, which a trial that waits would not make, and tell an end."""
        missing = [each for each in reports(self.plan, record) if each["step"] not in found.intermediate_values]
        for evaluation in missing:
            opened(self.study, found).report(reported(evaluation, self.plan), evaluation["step"])
        if record.state in ENDED:
            self._tell(found.number, record)

    def _tell(self, number: int, record: TrialRecord) -> None:
        state, values = outcome(record, self.plan)
        self.study.tell(number, values, state, skip_if_finished=True)

    def _add(self, record: TrialRecord) -> None:
        """Enter a record that the storage has lost."""
        self.study.add_trial(frozen_trial(self.plan, record))
