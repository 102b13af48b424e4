"""The faults of Ray's stock searcher, each as a check that ours passes and the stock one fails.

Both are played the same events, in the order and with the calls of Tune's controller, on a real sqlite store; no Ray is
started. Should a later Ray mend a fault, the second test says so, and what we do about it can be looked at again.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from ray import cloudpickle
from ray.tune.search.optuna import OptunaSearch

from harness.config.search import SchedulerConfig
from harness.records import ENDED
from harness.sweep.tune import SweepCallback, SweepScheduler, SweepSearcher
from tests.harness.sweep.test_controller import Stage
from tests.made.made_records import RATE, evaluation, study

ASHA = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
NAME = "name"
PASSWORD = "correct-horse"


class Side(Protocol):
    """A search by one of the two, as Tune sees it. Trials have 4 steps and are evaluated every 2."""

    def draw(self) -> str:
        """Start a new trial; its name."""

    def report(self, name: str, step: int, value: float) -> None:
        """An evaluation after which the trial continues."""

    def stopped(self, name: str, step: int, value: float) -> None:
        """An evaluation after which the scheduler stops the trial early."""

    def finished(self, name: str, value: float) -> None:
        """The last evaluation, and the end."""

    def rescued(self, name: str) -> str:
        """The trial's process has died, and the trial is started again; what it is called from now on."""

    def snapshot(self) -> None:
        """Tune's timer has run out: it saves what it would restore."""

    def killed(self) -> "Side":
        """The search as it continues after `kill -9`."""

    def unfinished(self) -> list[str]:
        """The trials that are run on with after a kill."""

    def beside(self) -> "Side":
        """Another study in the same storage, of which nothing was said but what it is to do."""

    def saved(self) -> bytes:
        """All that Tune writes to the disk of the search."""

    def trials(self) -> list[FrozenTrial]:
        """What stands in the storage of the study."""

    def of(self, name: str) -> FrozenTrial:
        """What stands there of one trial."""


class Ours:
    """The controller, behind what Tune is given."""

    def __init__(self, folder: Path, algorithm: str = "erm", **changes: Any) -> None:
        self._arguments = folder, algorithm, changes
        self._plan = study(algorithm, **({"num_trials": 20, "scheduler": ASHA, "sampler": "random"} | changes))
        self._stage = Stage(folder, self._plan)
        self._conductor = self._stage.controller
        self._conductor.max_concurrent = 9
        self._scheduler = SweepScheduler(self._conductor)
        self._searcher = SweepSearcher(self._conductor)
        self._callback = SweepCallback(self._conductor, lambda: None)

    def draw(self) -> str:
        config = self._searcher.suggest("any")
        assert isinstance(config, dict)
        return str(config["name"])

    def report(self, name: str, step: int, value: float) -> None:
        self._evaluated(name, step, value)
        self._stage.checkpoint(name, step)

    def stopped(self, name: str, step: int, value: float) -> None:
        assert self._evaluated(name, step, value), "the pruner keeps it"
        self._conductor.on_end(name)

    def finished(self, name: str, value: float) -> None:
        self.report(name, 4, value)
        self._conductor.on_end(name)

    def _evaluated(self, name: str, step: int, value: float) -> bool:
        accuracy = value if math.isfinite(value) else None  # as `trial.to_json` writes it
        return self._conductor.on_evaluation(name, evaluation(step, accuracy))

    def rescued(self, name: str) -> str:
        self._conductor.on_restart(name)
        return name

    def snapshot(self) -> None:
        self._searcher.save_to_dir(str(self._stage.folder))

    def killed(self) -> "Ours":
        folder, algorithm, changes = self._arguments
        return Ours(folder, algorithm, **changes)

    def unfinished(self) -> list[str]:
        interrupted = [r for r in self._conductor.sweep_state.records.values() if r.state not in ENDED]
        return [self.draw() for _ in interrupted]

    def beside(self) -> "Ours":
        return Ours(self._arguments[0], "ndcl")

    def saved(self) -> bytes:
        before = set(self._stage.folder.rglob("*"))
        self.snapshot()
        assert set(self._stage.folder.rglob("*")) == before
        return bytes(cloudpickle.dumps([self._conductor, self._callback]))

    def trials(self) -> list[FrozenTrial]:
        folder = self._arguments[0]
        name = f"made/{self._plan.key.name}"
        found = optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'made' / 'optuna.db'}")
        return found.get_trials(states=[state for state in TrialState if state != TrialState.WAITING])

    def of(self, name: str) -> FrozenTrial:
        return next(trial for trial in self.trials() if trial.user_attrs[NAME] == name)


class Stock:
    """Ray's searcher, as its documentation has it used with a storage."""

    def __init__(self, folder: Path, mode: str = "max") -> None:
        self._folder = folder
        self._url = f"sqlite:///file:{folder}/stock.db?uri=true&password={PASSWORD}"
        space = {RATE: optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)}
        self._searcher = OptunaSearch(
            space,
            metric="accuracy",
            mode=mode,
            sampler=optuna.samplers.RandomSampler(seed=0),
            storage=optuna.storages.RDBStorage(self._url),
        )
        self._names: list[str] = []

    def draw(self) -> str:
        self._names.append(f"trial-{len(self.trials())}")
        self._searcher.suggest(self._names[-1])
        return self._names[-1]

    def report(self, name: str, step: int, value: float) -> None:
        self._searcher.on_trial_result(name, {"accuracy": value, "training_iteration": step})

    def stopped(self, name: str, step: int, value: float) -> None:
        # Tune tells a searcher of the result at which a trial ends by on_trial_complete alone, whoever ended it.
        self._searcher.on_trial_complete(name, {"accuracy": value, "training_iteration": step})

    def finished(self, name: str, value: float) -> None:
        self.stopped(name, 4, value)

    def rescued(self, name: str) -> str:
        # A trial that has failed for good is rescued by Tuner.restore(resume_errored=True), under its own name.
        self._searcher.on_trial_complete(name, error=True)
        return name

    def snapshot(self) -> None:
        self._searcher.save(str(self._folder / "searcher.pkl"))

    def killed(self) -> "Stock":
        again = Stock(self._folder)
        again._searcher.restore(str(self._folder / "searcher.pkl"))
        again._names = list(again._searcher._ot_trials)
        return again

    def unfinished(self) -> list[str]:
        return [name for name in self._names if name not in self._searcher._completed_trials]

    def beside(self) -> "Stock":
        return Stock(self._folder, mode="min")

    def saved(self) -> bytes:
        self.snapshot()
        return (self._folder / "searcher.pkl").read_bytes()

    def trials(self) -> list[FrozenTrial]:
        return list(self._searcher._ot_study.get_trials())

    def of(self, name: str) -> FrozenTrial:
        return self.trials()[self._searcher._ot_trials[name].number]


class RestartedStock(Stock):
    """The same, rescued by Tuner.restore(restart_errored=True), which gives a trial a new name."""

    def rescued(self, name: str) -> str:
        super().rescued(name)
        return f"{name}-again"


def a_stopped_trial_is_pruned(side: Side) -> None:
    good, weak = side.draw(), side.draw()
    side.report(good, 2, 0.9)
    side.stopped(weak, 2, 0.1)
    assert side.of(weak).state == TrialState.PRUNED


def the_last_report_is_kept(side: Side) -> None:
    name = side.draw()
    side.report(name, 2, 0.5)
    side.finished(name, 0.6)
    assert side.of(name).intermediate_values == {2: 0.5, 4: 0.6}


def no_number_leaves_no_zombie(side: Side) -> None:
    name = side.draw()
    side.finished(name, math.nan)
    assert side.of(name).state == TrialState.FAIL


def two_studies_do_not_mix(side: Side) -> None:
    other = side.beside()
    side.draw()
    other.draw()
    assert len(side.trials()) == len(other.trials()) == 1


def a_kill_after_an_end_is_survived(side: Side) -> None:
    good, weak = side.draw(), side.draw()
    side.report(good, 2, 0.9)
    side.snapshot()
    side.stopped(weak, 2, 0.1)
    side.finished(good, 0.9)
    again = side.killed()
    for unfinished in again.unfinished():  # resumes from before its end
        again.report(unfinished, 2, 0.9)
        again.finished(unfinished, 0.9)
    assert [trial.state for trial in again.trials()] == [TrialState.COMPLETE, TrialState.PRUNED]


def a_kill_after_a_draw_loses_no_trial(side: Side) -> None:
    side.finished(side.draw(), 0.5)
    side.snapshot()
    side.draw()
    again = side.killed()
    for unfinished in again.unfinished():
        again.finished(unfinished, 0.6)
    assert [trial.state for trial in again.trials()] == [TrialState.COMPLETE] * 2


def a_trial_whose_process_died_ends_as_any_other(side: Side) -> None:
    name = side.rescued(side.draw())
    side.report(name, 2, 0.5)
    side.finished(name, 0.6)
    assert [trial.state for trial in side.trials()] == [TrialState.COMPLETE]


def draws_are_not_repeated_after_a_kill(side: Side) -> None:
    side.snapshot()
    side.draw()
    side.draw()
    again = side.killed()
    again.unfinished()
    again.draw()
    again.draw()
    drawn = [trial.params[RATE] for trial in again.trials()]
    assert len(drawn) == len(set(drawn)) == 4


def no_password_is_written(side: Side) -> None:
    side.draw()
    saved = side.saved()
    assert PASSWORD.encode() not in saved
    assert b"sqlite" not in saved


Check = Callable[[Side], None]
FAULTS: list[tuple[Check, Callable[[Path], Side], type[Exception]]] = [
    (a_stopped_trial_is_pruned, Stock, AssertionError),
    (the_last_report_is_kept, Stock, AssertionError),
    (no_number_leaves_no_zombie, Stock, AssertionError),
    (two_studies_do_not_mix, Stock, AssertionError),
    (a_kill_after_an_end_is_survived, Stock, optuna.exceptions.UpdateFinishedTrialError),
    (a_kill_after_a_draw_loses_no_trial, Stock, AssertionError),
    (a_trial_whose_process_died_ends_as_any_other, RestartedStock, KeyError),
    (a_trial_whose_process_died_ends_as_any_other, Stock, AssertionError),
    (draws_are_not_repeated_after_a_kill, Stock, AssertionError),
    (no_password_is_written, Stock, AssertionError),
]


@pytest.mark.parametrize("check", dict.fromkeys(check for check, *_ in FAULTS), ids=lambda check: check.__name__)
def test_ours_has_none_of_the_faults(tmp_path: Path, check: Check) -> None:
    check(Ours(tmp_path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("check", "stock", "fault"), FAULTS, ids=[f"{c.__name__}-{s.__name__}" for c, s, _ in FAULTS])
def test_the_stock_searcher_still_has_it(
    tmp_path: Path, check: Check, stock: Callable[[Path], Side], fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        check(stock(tmp_path))


def test_the_stock_searcher_joins_a_study_of_the_other_direction(tmp_path: Path) -> None:
    Stock(tmp_path, mode="max")
    assert Stock(tmp_path, mode="min")._searcher._ot_study.direction == optuna.study.StudyDirection.MAXIMIZE
