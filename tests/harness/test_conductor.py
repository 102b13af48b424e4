"""The events of a sweep, played to the conductor by hand: real journal and Optuna store, neither Ray nor training."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from harness import records
from harness.checkpoints import EVALUATION_FILE, TRAINING, CheckpointFolders
from harness.conductor import Conductor
from harness.config import SchedulerConfig
from harness.plan import StudyPlan
from harness.records import CONFUSION, Journal, TrialRecord
from harness.revision import git_revision
from harness.selection import select
from harness.workers import Occupied
from ndcl import checkpoints
from tests.harness.made_records import RATE, base, evaluation, plan, study


class Stage:
    """A conductor with what surrounds it; `again` is the next start after a kill."""

    def __init__(self, folder: Path, *studies: StudyPlan, **changes: Any) -> None:
        self.folder, self.studies = folder, studies or (study(),)
        self.changes: list[TrialRecord] = []
        made = dataclasses.replace(plan(folder, *self.studies), **changes)
        made.folder.mkdir(parents=True, exist_ok=True)
        self.root = made.folder / "ray"
        self.conductor = Conductor(made, CheckpointFolders(self.root), select, self.changes.append)
        self.conductor.max_concurrent = 2
        self.run = CheckpointFolders(self.root).new_run()

    def again(self) -> "Stage":
        return Stage(self.folder, *self.studies)

    def start(self) -> str:
        config = self.conductor.next_trial()
        assert config is not None
        return str(config["name"])

    def checkpoint(self, name: str, step: int, accuracy: float | None = 0.5) -> str:
        """A real checkpoint as a trial leaves it, and the news of it."""
        folder = self.root / self.run / name / f"checkpoint_{step:06d}"
        folder.mkdir(parents=True)
        checkpoints.write(folder / TRAINING, {}, {"step": step})
        (folder / EVALUATION_FILE).write_text(json.dumps(evaluation(step, accuracy)))
        self.conductor.on_checkpoint(name, str(folder))
        return str(folder)

    def play(self, name: str, *steps: int, accuracy: float | None = 0.5) -> None:
        for step in steps:
            self.conductor.on_evaluation(name, evaluation(step, accuracy))
            self.checkpoint(name, step, accuracy)

    def record(self, name: str) -> TrialRecord:
        """As it stands on the disk."""
        return {r.name: r for r in Journal(self.folder / "made").read()}[name]

    def kept(self) -> set[str]:
        return {str(path) for path in self.root.glob("run-*/*/checkpoint_*")}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_trial_from_start_to_end(stage: Stage) -> None:
    config = stage.conductor.next_trial()
    assert config is not None
    name = config["name"]
    assert config["legs"] == [{"from_step": 0, "train": base(optimizer=base()["optimizer"] | {"learning_rate": 1e-3})}]
    assert (config["resume_from"], config["num_threads"]) == (None, 1)
    assert stage.record(name).state == "running"
    stage.play(name, 2, 4)
    stage.conductor.on_end(name)
    record = stage.record(name)
    assert (record.state, record.reason, record.attempts) == ("finished", None, 1)
    assert [e["step"] for e in record.evaluations] == [2, 4]
    assert record.ended is not None
    assert stage.kept() == {record.checkpoint}
    assert stage.changes[-1] == record


def test_a_record_has_its_environment_once(stage: Stage) -> None:
    stage.conductor.environment["cluster"] = "10.0.0.1:6379"
    name = stage.start()
    known = {"git_revision": git_revision(), "cluster": "10.0.0.1:6379"}
    assert stage.record(name).environment == known
    for step in (2, 4):
        stage.conductor.on_evaluation(name, evaluation(step) | {"environment": {"host": "node"}})
    assert stage.record(name).environment == known | {"host": "node"}
    assert stage.record(name).evaluations == (evaluation(2), evaluation(4))


def test_final_runs_wait_until_their_stage_is_on_and_have_the_threads_of_their_own_processes(tmp_path: Path) -> None:
    occupied: dict[records.Stage, Occupied] = {"search": Occupied(cpus=1, gpus=0), "final": Occupied(cpus=3, gpus=0)}
    stage = Stage(tmp_path, study(num_trials=1), occupied=occupied)
    stage.conductor.stages = ("search",)
    config = stage.conductor.next_trial()
    assert config is not None
    assert config["num_threads"] == 1
    stage.play(config["name"], 2, 4)
    assert not stage.conductor.is_done
    stage.conductor.on_end(config["name"])
    assert stage.conductor.next_trial() is None
    assert stage.conductor.is_done
    stage.conductor.stages = ("final",)
    assert not stage.conductor.is_done
    config = stage.conductor.next_trial()
    assert config is not None
    assert (stage.record(config["name"]).stage, config["num_threads"]) == ("final", 3)


def test_no_more_than_max_concurrent_trials_are_started(stage: Stage) -> None:
    first = stage.start()
    stage.start()
    assert stage.conductor.next_trial() is None
    stage.play(first, 2, 4)
    stage.conductor.on_end(first)
    assert stage.conductor.next_trial() is not None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (lambda c, name: c.on_failure(name, "NonFiniteLossError: it exploded"), "NonFiniteLossError: it exploded"),
        (lambda c, name: None, "the training ended before its last step"),
    ],
)
def test_failures_are_recorded_with_their_reason_and_keep_nothing(stage: Stage, event: Any, reason: str) -> None:
    name = stage.start()
    stage.play(name, 2)
    event(stage.conductor, name)
    stage.conductor.on_end(name)
    record = stage.record(name)
    assert (record.state, record.reason, record.checkpoint) == ("failed", reason, None)
    assert stage.kept() == set()


def test_a_lost_process_is_the_reason_when_nothing_else_is(stage: Stage) -> None:
    name = stage.start()
    stage.conductor.on_restart(name)
    assert stage.record(name).attempts == 2
    stage.conductor.on_end(name, error="its process was lost 3 times", log="killed")
    assert (stage.record(name).reason, stage.record(name).log) == ("its process was lost 3 times", "killed")


def test_what_the_training_says_of_its_failure_comes_before_what_is_known_of_its_process(stage: Stage) -> None:
    name, other = stage.start(), stage.start()
    stage.conductor.on_failure(name, "it exploded", "line 1\nline 2")
    stage.conductor.on_end(name, error="its process was lost", log="killed")
    assert (stage.record(name).reason, stage.record(name).log) == ("it exploded", "line 1\nline 2")
    stage.play(other, 2, 4)
    stage.conductor.on_end(other)
    assert (stage.record(other).state, stage.record(other).log) == ("finished", "")


def test_a_trial_without_any_accuracy_failed(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2, 4, accuracy=None)
    stage.conductor.on_end(name)
    assert stage.record(name).reason == "no evaluation has a validation accuracy"


def test_a_full_disk_is_no_fault_of_the_trial(stage: Stage) -> None:
    name = stage.start()
    with pytest.raises(OSError, match="No space left"):
        stage.conductor.on_failure(name, "OSError: [Errno 28] No space left on device")
    assert stage.record(name).state == "running"


def test_a_pruned_trial_stops_and_keeps_nothing(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
    stage = Stage(tmp_path, study(scheduler=pruner))
    good, bad = stage.start(), stage.start()
    stage.play(good, 2, accuracy=0.9)
    assert stage.conductor.on_evaluation(bad, evaluation(2, 0.1)) is True
    stage.checkpoint(bad, 2)
    stage.conductor.on_end(bad)
    record = stage.record(bad)
    assert (record.state, record.reason) == ("pruned", "stopped early at step 2 by asha")
    assert all(bad not in path for path in stage.kept())


def test_the_last_evaluation_prunes_nothing(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="median", min_resource=1)
    stage = Stage(tmp_path, study(scheduler=pruner, num_trials=9))
    for accuracy in (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1):
        name = stage.start()
        assert stage.conductor.on_evaluation(name, evaluation(4, accuracy)) is False
        stage.conductor.on_end(name)
        assert stage.record(name).state == "finished"


def test_a_trial_keeps_the_confusions_of_its_best_checkpoint(stage: Stage) -> None:
    name = stage.start()
    for step, accuracy in ((2, 0.3), (4, 0.6), (6, 0.5)):
        stage.conductor.on_evaluation(name, evaluation(step, accuracy) | {CONFUSION: [[step, 0], [0, 0]]})
        stage.checkpoint(name, step, accuracy)
    kept = {e["step"]: e[CONFUSION] for e in stage.record(name).evaluations if CONFUSION in e}
    assert kept == {4: [[4, 0], [0, 0]]}


def test_final_runs_use_their_seeds_and_are_never_pruned(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
    stage = Stage(tmp_path, study(num_trials=1, scheduler=pruner))
    name = stage.start()
    stage.play(name, 2, 4, accuracy=0.9)
    stage.conductor.on_end(name)
    for seed in (1, 2):
        config = stage.conductor.next_trial()
        assert config is not None
        final = config["name"]
        assert stage.record(final).config["seed"] == seed
        assert stage.record(final).values == stage.record(name).values
        assert stage.conductor.on_evaluation(final, evaluation(2, 0.0)) is False
        stage.play(final, 4)
        stage.conductor.on_end(final)
    assert stage.conductor.agenda.is_done


def test_an_older_checkpoint_goes_when_a_newer_is_stored(stage: Stage) -> None:
    name = stage.start()
    stage.checkpoint(name, 2)
    newer = stage.checkpoint(name, 4)
    assert stage.kept() == {newer}


def test_an_older_checkpoint_stays_when_a_newer_has_not_arrived(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    name = stage.start()
    stage.play(name, 2)
    older = stage.kept()
    monkeypatch.setattr(CheckpointFolders, "has_arrived", lambda folders, checkpoint: False)
    stage.play(name, 4)
    assert older <= stage.kept()
    assert stage.record(name).checkpoint in older


def test_interrupted_trials_go_on_from_their_newest_whole_checkpoint(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2)
    stage.conductor.interrupt()
    assert stage.record(name).state == "interrupted"
    whole = stage.record(name).checkpoint

    damaged = stage.root / stage.run / name / "checkpoint_000004"
    damaged.mkdir()
    (damaged / EVALUATION_FILE).write_text(json.dumps(evaluation(4)))
    config = stage.again().conductor.next_trial()
    assert config is not None
    assert (config["name"], config["resume_from"]) == (name, whole)
    assert (stage.record(name).state, stage.record(name).attempts) == ("running", 2)


def test_a_kill_leaves_running_records_that_are_resumed(stage: Stage) -> None:
    names = {stage.start(), stage.start()}
    values = {name: stage.record(name).values for name in names}
    second = stage.again()  # nothing was told to the first
    assert {second.start(), second.start()} == names
    assert {name: second.record(name).values for name in names} == values


def test_a_trial_killed_after_its_last_checkpoint_is_finished_not_run_again(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2, 4)
    second = stage.again()
    assert stage.record(name).state == "finished"
    assert second.start() != name
    assert second.kept() == {stage.record(name).checkpoint}


def test_a_trial_whose_last_checkpoint_is_lost_runs_again(stage: Stage) -> None:
    name = stage.start()
    stage.conductor.on_evaluation(name, evaluation(4))
    second = stage.again()
    assert second.start() == name
    assert stage.record(name).checkpoint is None


def test_what_a_kill_left_of_ended_trials_is_removed(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2)
    stage.conductor.on_failure(name, "it broke")
    stage.conductor.on_end(name)
    stage.checkpoint(name, 4)
    journal = Journal(stage.folder / "made")
    journal.write(TrialRecord(**{**vars(stage.record(name)), "checkpoint": None}))
    again = stage.again()
    assert again.kept() == set()
    CheckpointFolders(stage.root).remove_empty_runs()
    assert list(stage.root.iterdir()) == []


def test_values_that_do_not_go_together_fail_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ndcl.errors import UserError

    def refuse(self: StudyPlan, values: dict[str, Any], seed: int | None = None) -> None:
        raise UserError(f"{RATE}: not with this")

    monkeypatch.setattr(StudyPlan, "train_config", refuse)
    stage = Stage(tmp_path)
    assert stage.conductor.next_trial() is None
    assert stage.conductor.agenda.is_done
    ended = list(Journal(tmp_path / "made").read())
    assert [(r.state, r.reason) for r in ended] == [("failed", f"{RATE}: not with this")] * 3


def test_only_the_best_search_trials_keep_their_checkpoints_if_asked_to(tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(top_k=2), keep_checkpoints="selected")
    for accuracy in (0.2, 0.9, 0.5):
        name = stage.start()
        stage.play(name, 2, 4, accuracy=accuracy)
        stage.conductor.on_end(name)
    found = stage.conductor.agenda.search_records(study())
    assert [record.checkpoint is not None for record in found] == [False, True, True]
    assert stage.kept() == {record.checkpoint for record in found if record.checkpoint}
    final = stage.start()
    stage.play(final, 2, 4, accuracy=0.1)
    stage.conductor.on_end(final)
    assert stage.record(final).checkpoint in stage.kept(), "final runs keep theirs"
