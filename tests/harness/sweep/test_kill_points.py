"""A sweep that is killed before any single one of its writes, tried for every one of them; neither Ray nor training.

A kill shows on the disk as writes that were made and those that were not. So a whole study is played to the controller
once to count the writes of the journal, of Optuna's store and of the checkpoint folders, and then again and again, each
time cut off before another one of them and resumed by a new start.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from harness.config.search import SchedulerConfig
from harness.plan import Plan, StudyPlan
from harness.storage.checkpoints import EVALUATION_FILE
from harness.sweep.controller import SweepController
from harness.sweep.run import View, _Sweep
from harness.tracking.tracker import Tracker
from tests.harness.sweep.test_controller import Stage
from tests.made.made_records import base, evaluation, study

OPTUNA_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
ASHA = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
PBT = SchedulerConfig(name="pbt", perturbation_interval=1)
PROMOTE = SchedulerConfig(name="asha", mode="promote", reduction_factor=2)
ACCURACIES = (0.9, 0.1)
"""Of the trials by number: the second is pruned, or learns from the first."""


class KilledError(BaseException):
    """Stands for SIGKILL: nothing that the code catches."""


class Writes:
    """Counts the writes to the disk, and kills before the one numbered `fatal`."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal, self.count = fatal, 0

    def before(self, *_: Any) -> None:
        self.count += 1
        if self.count - 1 == self.fatal:
            raise KilledError

    def before_commit(self, connection: sqlalchemy.Connection) -> None:
        """A transaction that changes the database is one write; one that only reads is none."""
        raw = connection.connection.dbapi_connection
        if raw.in_transaction:
            try:
                self.before()
            except KilledError:
                raw.rollback()  # as sqlite does with what a killed process has left
                raise

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            self.before()
            return function(*arguments, **options)

        return write


@contextmanager
def watched(fatal: int | None = None) -> Iterator[Writes]:
    """Count what is written from here on, or be killed by it."""
    writes = Writes(fatal)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "replace"), (shutil, "rmtree"), (shutil, "copytree")):
            patch.setattr(owner, name, writes.counted(getattr(owner, name)))
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", writes.before_commit)
        try:
            yield writes
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "commit", writes.before_commit)


class Watched(Stage):
    """A stage whose controller is a whole sweep's, which shows and tracks what happens, but for Ray."""

    def started(self, plan: Plan) -> SweepController:
        self.shown = Mock(View)
        self.sweep = _Sweep(plan, Mock(Tracker), self.shown, None, None)
        return self.sweep.controller


def played(folder: Path, plan: StudyPlan, *, outliving: bool = False) -> Stage:
    """Start or continue the study, and play it to its end.

    With trials `outliving` the sweep, one whose evaluation is not taken note of leaves its checkpoint nevertheless.
    """
    stage = Watched(folder, plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.sweep, "_fit", lambda: fit(stage, outliving))
        stage.sweep.run()
    announced = [call.args[0].name for call in stage.shown.ended.mock_calls]
    assert len(announced) == len(set(announced)), "each end is told once"
    return stage


def fit(stage: Stage, outliving: bool) -> None:
    """What Ray does: one trial after the other."""
    while (config := stage.controller.next_trial()) is not None:
        record, done, is_stopped = stage.record(config["name"]), 0, False
        accuracy = ACCURACIES[record.number] if record.stage == "search" else 0.5
        if config["resume_from"]:  # a trial first reports what it resumes from
            resumed = json.loads((Path(config["resume_from"]) / EVALUATION_FILE).read_text())
            done, is_stopped = resumed["step"], stage.controller.on_evaluation(record.name, resumed)
        while not is_stopped and done < 6:
            done += 2
            try:
                is_stopped = stage.controller.on_evaluation(record.name, evaluation(done, accuracy))
            except KilledError:
                if outliving:
                    stage.left(record.name, done, accuracy)
                raise
            stage.checkpoint(record.name, done, accuracy)
        stage.controller.on_end(record.name)


def essence(stage: Stage) -> list[Any]:
    """What must not depend on kills; values may, since a sampler that continues is seeded anew."""
    records = sorted(stage.controller.sweep_state.records.values(), key=lambda record: record.name)
    return [
        (
            r.name,
            r.state,
            r.reason,
            r.until,
            r.notes,
            [e["step"] for e in r.evaluations],
            [c["step"] for c in r.schedule],
        )
        for r in records
    ]


def check_story(stage: Stage, plan: StudyPlan) -> None:
    """Journal, Optuna and the folders agree."""
    records = {r.name: r for r in stage.controller.sweep_state.records.values()}
    assert records == {name: stage.record(name) for name in records}
    storage = f"sqlite:///{stage.folder / 'made' / 'optuna.db'}"
    trials = optuna.load_study(study_name=f"made/{plan.key.name}", storage=storage).trials
    search = [record for record in records.values() if record.stage == "search"]
    assert sorted(trial.user_attrs["name"] for trial in trials) == sorted(record.name for record in search)
    for trial in trials:
        record = records[trial.user_attrs["name"]]
        assert (trial.state, trial.params) == (OPTUNA_STATES[record.state], record.values)
        assert list(trial.intermediate_values) == [e["step"] for e in record.evaluations], record.name
    assert len({str(trial.params) for trial in trials}) == len(trials)
    assert stage.kept() == {record.checkpoint for record in records.values() if record.state == "finished"}


CASES = [
    pytest.param(scheduler, outliving, id=name + "-outliving" * outliving)
    for name, scheduler in (("asha", ASHA), ("pbt", PBT), ("promote", PROMOTE))
    for outliving in (False, True)
]


@pytest.mark.parametrize(
    ("scheduler", "outliving"),
    [CASES[0], *(pytest.param(*case.values, id=case.id, marks=pytest.mark.soak) for case in CASES[1:])],
)
def test_a_kill_before_any_write_changes_nothing(tmp_path: Path, scheduler: SchedulerConfig, outliving: bool) -> None:
    plan = study(scheduler=scheduler, num_trials=2, final_seeds=(1,), base=base(num_steps=6))
    fresh = tmp_path / "fresh"
    Stage(fresh, plan)  # the store's own set-up is Optuna's matter, and slow
    shutil.copytree(fresh, tmp_path / "undisturbed")
    with watched() as writes:
        undisturbed = played(tmp_path / "undisturbed", plan)
    check_story(undisturbed, plan)
    expected = essence(undisturbed)
    assert {state for _, state, *_ in expected} == ({"finished"} if scheduler == PBT else {"finished", "pruned"})
    for fatal in range(writes.count):
        folder = tmp_path / str(fatal)
        shutil.copytree(fresh, folder)
        with watched(fatal), pytest.raises(KilledError):
            played(folder, plan, outliving=outliving)
        stage = played(folder, plan)
        check_story(stage, plan)
        assert essence(stage) == expected, f"killed before write {fatal} of {writes.count}"
        shutil.rmtree(folder)


def test_a_trial_whose_end_a_kill_kept_from_being_told_is_told_at_the_next_start(tmp_path: Path) -> None:
    plan = study(num_trials=1, final_seeds=())
    killed = Stage(tmp_path, plan)
    name = killed.start()
    killed.play(name, 2, 4)
    for told in ([name], []):
        stage = Watched(tmp_path, plan)
        stage.sweep.run()
        assert [call.args[0].name for call in stage.shown.ended.mock_calls] == told
