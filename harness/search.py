"""The search of one study: Optuna's samplers and pruners by ask-and-tell, kept in step with the journal.

The journal is the truth. Optuna's storage is brought to what the records say whenever a sweep starts, even if the
storage was lost, so that after any kill every trial stands in the study exactly once.
"""

import logging
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from harness.database_files import make_whole
from harness.designs import design_values, num_startup
from harness.distinct import DistinctSampler
from harness.halving import HalvingPruner
from harness.records import ENDED, TrialRecord
from harness.selection import best_checkpoint, merit, value_of
from harness.space import defaults, suggest

if TYPE_CHECKING:
    from harness.config import SchedulerConfig
    from harness.plan import StudyPlan

NAME = "name"
"""The user attribute of an Optuna trial that holds its record's name."""
LOCK_TIMEOUT_SECONDS = 60
TRIALS_PER_JOINT_VALUE = 5
"""With fewer trials for each value that is searched, TPE models each by itself: the joint density of the good would
be that of two or three points."""


def open_storage(path: Path) -> optuna.storages.RDBStorage:
    """The sqlite file of a sweep's Optuna studies, readable by optuna-dashboard."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    make_whole(path, lambda partial: _storage(partial).engine.dispose())
    return _storage(path)


def _storage(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_SECONDS}}
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
            pruner=_pruner(plan.scheduler, int(plan.base["evaluate_every"])),
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
            elif record.state in ENDED and not known[record.name].state.is_finished():
                self._close(known[record.name], record)
        self.study.sampler = _distinct_sampler(self.plan, drawn=len(self._all()))
        self._take_up({record.name for record in records})
        if not records and self.plan.sampler != "grid":
            self._enqueue([defaults(self.plan.space), *self._first_values])

    def _enqueue(self, sets: Iterable[dict[str, Any]]) -> None:
        """Have these values tried next, but for those that the study has, perhaps from before a kill."""
        had = [values for trial in self._all() for values in (trial.params, trial.system_attrs.get("fixed_params"))]
        for values in sets:
            if values and values not in had:
                self.study.enqueue_trial(values)
                had.append(values)

    def _take_up(self, names: set[str]) -> None:
        """Hold on to the open trials: those of records, and those drawn for none."""
        for trial in self._all():
            if trial.state == TrialState.RUNNING:
                opened, name = optuna.Trial(self.study, trial._trial_id), trial.user_attrs.get(NAME)
                if name in names:
                    self._trials[name] = opened
                else:
                    self._orphans.append(opened)

    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def ask(self, name: str, number: int) -> dict[str, Any]:
        """Draw the values of the new trial `name`, the study's `number`, by dotted key. The defaults are the first."""
        trial = self._orphans.pop(0) if self._orphans else self._new(number)
        trial.set_user_attr(NAME, name)
        self._trials[name] = trial
        return suggest(trial, self.plan.space, self.plan.fixed)

    def _new(self, number: int) -> optuna.Trial:
        planned = design_values(self.plan, number)
        if planned is not None and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._enqueue([planned])
        return self.study.ask()

    def report(self, name: str, evaluation: dict[str, Any]) -> bool:
        """Take note of a running trial's evaluation; whether the trial is to be stopped early.

        An evaluation that is replayed after a fault is noted once.
        """
        trial = self._trials[name]
        if len(self.plan.objectives) > 1:  # Optuna takes reports and prunes for one objective only
            return False
        value = _reported(evaluation, self.plan)
        if evaluation["step"] not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(value, evaluation["step"])
        return bool(trial.should_prune())

    def tell(self, record: TrialRecord) -> None:
        """Close the trial of an ended record."""
        trial = self._trials.pop(record.name, None)
        if trial is not None:
            self._tell(trial.number, record)

    def _close(self, found: optuna.trial.FrozenTrial, record: TrialRecord) -> None:
        """Tell an end, and before it the reports that a kill has cut off."""
        trial = optuna.Trial(self.study, found._trial_id)
        for evaluation in _reports(self.plan, record):
            if evaluation["step"] not in found.intermediate_values:
                trial.report(_reported(evaluation, self.plan), evaluation["step"])
        self._tell(found.number, record)

    def _tell(self, number: int, record: TrialRecord) -> None:
        state = _STATES[record.state]
        values = best_values(record, self.plan) if state == TrialState.COMPLETE else None
        self.study.tell(number, values, state, skip_if_finished=True)

    def _add(self, record: TrialRecord) -> None:
        """Enter a record that the storage has lost."""
        self.study.add_trial(frozen_trial(self.plan, record))


_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def frozen_trial(plan: "StudyPlan", record: TrialRecord) -> optuna.trial.FrozenTrial:
    """Optuna's form of a search record, which may have ended or not."""
    fixed = optuna.trial.FixedTrial(record.values)
    suggest(fixed, plan.space, plan.fixed)
    state = _STATES.get(record.state, TrialState.RUNNING)
    return optuna.trial.create_trial(
        state=state,
        values=best_values(record, plan) if state == TrialState.COMPLETE else None,
        params=fixed.params,
        distributions=fixed.distributions,
        user_attrs={NAME: record.name},
        intermediate_values={e["step"]: _reported(e, plan) for e in _reports(plan, record)},
    )


def _reports(plan: "StudyPlan", record: TrialRecord) -> tuple[dict[str, Any], ...]:
    """What Optuna is told of a trial on its way: it takes reports for one objective only."""
    return record.evaluations if len(plan.objectives) == 1 else ()


def study_in_memory(plan: "StudyPlan", records: Iterable[TrialRecord]) -> optuna.Study:
    """A study of these search records, without any storage, for what Optuna can tell of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * len(plan.objectives))
    study.add_trials([frozen_trial(plan, record) for record in records])
    return study


def _reported(evaluation: dict[str, Any], plan: "StudyPlan") -> float:
    """What is maximised, at one evaluation; NaN, which is the worst, where there is none."""
    value = merit(evaluation, plan.objectives)
    return value if math.isfinite(value) else math.nan


def best_values(record: TrialRecord, plan: "StudyPlan") -> list[float]:
    """The objectives at the record's best checkpoint, which is the one that the selection takes."""
    best = best_checkpoint(record)
    return [math.nan if best is None else value_of(best, name) for name in plan.objectives]


def _distinct_sampler(plan: "StudyPlan", drawn: int) -> optuna.samplers.BaseSampler:
    """The sampler, seeded so that a study that goes on does not repeat the `drawn` draws it has made."""
    seed = int(np.random.SeedSequence((plan.seed, drawn)).generate_state(1)[0]) if drawn else plan.seed
    return DistinctSampler(_sampler(plan, seed), plan.space, plan.fixed, seed)


def _sampler(plan: "StudyPlan", seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler."""
    startup = num_startup(plan)
    is_joint = plan.num_trials >= TRIALS_PER_JOINT_VALUE * len(plan.space)
    with warnings.catch_warnings():  # Optuna calls some of these options experimental, and says so at every start
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # `gamma` goes with Optuna 6
        match plan.sampler:
            case "tpe":
                return optuna.samplers.TPESampler(
                    multivariate=is_joint,
                    group=is_joint,
                    constant_liar=True,
                    n_startup_trials=startup,
                    gamma=_num_good,
                    seed=seed,
                )
            case "gp":
                return optuna.samplers.GPSampler(n_startup_trials=startup, seed=seed, warn_independent_sampling=False)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(
                    n_startup_trials=startup, seed=seed, warn_independent_sampling=False
                )
            case "nsga2":
                # Ten generations in the budget, as far as a generation of four and one of fifty allow it.
                population = max(4, min(50, plan.num_trials // 10))
                return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _num_good(num_trials: int) -> int:
    """How many of the trials TPE takes as good: a quarter, at most 25.

    Optuna's tenth is a single trial of a short study, whose neighbourhood is then all that is searched.
    """
    return min(math.ceil(num_trials / 4), 25)


def _pruner(config: "SchedulerConfig", evaluate_every: int) -> optuna.pruners.BasePruner:
    """The pruner; the config counts evaluations, Optuna is told optimiser steps."""
    min_steps = config.min_resource * evaluate_every
    if config.name == "asha":
        return HalvingPruner(min_steps=min_steps, reduction_factor=config.reduction_factor)
    if config.name == "median":
        return optuna.pruners.MedianPruner(n_warmup_steps=min_steps, interval_steps=evaluate_every)
    return optuna.pruners.NopPruner()  # also for a population, whose trials learn instead of ending
