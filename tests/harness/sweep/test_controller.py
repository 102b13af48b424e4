"""The events of a sweep, played to the controller by hand: real journal and Optuna store, neither Ray nor training."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.notice import MARK, leave_mark
from harness.config import Demand
from harness.config.search import SchedulerConfig
from harness.plan import Plan, StudyPlan
from harness.records import Journal, TrialRecord, best_checkpoint, record, select
from harness.records.record import CHECKPOINT_BY, CONFUSION, PAUSED
from harness.records.revision import git_revision
from harness.records.selection import best_merit
from harness.storage import CheckpointFolders
from harness.storage.checkpoints import CHECKPOINT_GONE, EVALUATION_FILE, TRAINING
from harness.sweep.controller import SweepController
from harness.sweep.run import SweepResult
from ndcl.checkpoints import content
from ndcl.errors import UserError
from tests.harness.storage.test_checkpoints import SPELLINGS, spelled
from tests.made.made_records import RATE, base, evaluation, plan, study


class Stage:
    """A controller with what surrounds it; `again` is the next start after a kill."""

    def __init__(self, folder: Path, *studies: StudyPlan, **changes: Any) -> None:
        self.folder, self.studies = folder, studies or (study(),)
        self.changes: list[TrialRecord] = []
        made = dataclasses.replace(plan(folder, *self.studies), **changes)
        made.folder.mkdir(parents=True, exist_ok=True)
        self.root = made.folder / "ray"
        self.controller = self.started(made)
        self.controller.max_concurrent = 2
        self.run = CheckpointFolders(self.root).new_run()

    def started(self, plan: Plan) -> SweepController:
        controller = SweepController(plan, CheckpointFolders(self.root), select, self.changes.append)
        controller.catch_up()
        return controller

    def again(self) -> "Stage":
        return Stage(self.folder, *self.studies)

    def start(self) -> str:
        config = self.controller.next_trial()
        assert config is not None
        return str(config["name"])

    def checkpoint(self, name: str, step: int, accuracy: float | None = 0.5) -> str:
        """A real checkpoint as a trial leaves it, and the news of it."""
        folder = self.left(name, step, accuracy)
        self.controller.on_checkpoint(name, folder)
        return folder

    def left(self, name: str, step: int, accuracy: float | None = 0.5) -> str:
        """A checkpoint of which there is no news: so it is if the sweep is killed and the trial goes on for a while."""
        folder = self.root / self.run / name / f"checkpoint_{step:06d}"
        folder.mkdir(parents=True)
        content.write(folder / TRAINING, {}, {"step": step})
        (folder / EVALUATION_FILE).write_text(json.dumps(evaluation(step, accuracy)))
        return str(folder)

    def play(self, name: str, *steps: int, accuracy: float | None = 0.5) -> None:
        for step in steps:
            self.controller.on_evaluation(name, evaluation(step, accuracy))
            self.checkpoint(name, step, accuracy)

    def record(self, name: str) -> TrialRecord:
        """As it stands on the disk."""
        return {r.name: r for r in Journal(self.folder / "made").read()}[name]

    def kept(self) -> set[str]:
        return {str(path) for path in self.root.glob("run-*/*/checkpoint_*")}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_when_its_own_machine_is_taken_a_sweep_ends_once_each_trial_has_left_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "notice"))
    stage = Stage(tmp_path)
    first, second = stage.start(), stage.start()
    stage.controller.on_notice(first)  # of a node that is taken while this machine stays
    assert not stage.controller.is_given_back
    leave_mark("a test")
    assert not stage.controller.is_given_back
    stage.controller.on_notice(first)
    stage.play(second, 2, 4)
    assert not stage.controller.is_given_back
    stage.controller.on_end(second)
    assert stage.controller.next_trial() is None, "it would be cut off"
    assert stage.controller.is_given_back
    assert not stage.controller.is_done
    stage.controller.interrupt()
    again = stage.again()  # with the mark still there
    assert not again.controller.is_given_back
    assert again.start() == first


def test_a_trial_from_start_to_end(stage: Stage) -> None:
    config = stage.controller.next_trial()
    assert config is not None
    name = config["name"]
    assert config["segments"] == [
        {"from_step": 0, "train": base(optimizer=base()["optimizer"] | {"learning_rate": 1e-3})}
    ]
    assert (config["resume_from"], config["num_threads"]) == (None, 1)
    assert stage.record(name).state == "running"
    stage.play(name, 2, 4)
    stage.controller.on_end(name)
    record = stage.record(name)
    assert (record.state, record.reason, record.attempts) == ("finished", None, 1)
    assert [e["step"] for e in record.evaluations] == [2, 4]
    assert record.ended is not None
    assert stage.kept() == {record.checkpoint}
    assert stage.changes[-1] == record


def test_a_record_has_its_environment_once(stage: Stage) -> None:
    stage.controller.environment["cluster"] = "10.0.0.1:6379"
    name = stage.start()
    known = {"git_revision": git_revision(), "cluster": "10.0.0.1:6379"}
    assert stage.record(name).environment == known
    for step in (2, 4):
        stage.controller.on_evaluation(name, evaluation(step) | {"environment": {"host": "node"}})
    assert stage.record(name).environment == known | {"host": "node"}
    assert stage.record(name).evaluations == (evaluation(2), evaluation(4))


def test_final_runs_wait_until_their_stage_is_on_and_have_the_threads_of_their_own_processes(tmp_path: Path) -> None:
    occupied: dict[record.Stage, Demand] = {"search": Demand(cpus=1, gpus=0), "final": Demand(cpus=3, gpus=0)}
    stage = Stage(tmp_path, study(num_trials=1), occupied=occupied)
    stage.controller.stages = ("search",)
    config = stage.controller.next_trial()
    assert config is not None
    assert config["num_threads"] == 1
    stage.play(config["name"], 2, 4)
    assert not stage.controller.is_done
    stage.controller.on_end(config["name"])
    assert stage.controller.next_trial() is None
    assert stage.controller.is_done
    stage.controller.stages = ("final",)
    assert not stage.controller.is_done
    config = stage.controller.next_trial()
    assert config is not None
    assert (stage.record(config["name"]).stage, config["num_threads"]) == ("final", 3)


def test_no_more_than_max_concurrent_trials_are_started(stage: Stage) -> None:
    first = stage.start()
    stage.start()
    assert stage.controller.next_trial() is None
    stage.play(first, 2, 4)
    stage.controller.on_end(first)
    assert stage.controller.next_trial() is not None


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
    event(stage.controller, name)
    stage.controller.on_end(name)
    record = stage.record(name)
    assert (record.state, record.reason, record.checkpoint) == ("failed", reason, None)
    assert stage.kept() == set()


def test_a_lost_process_is_the_reason_when_nothing_else_is(stage: Stage) -> None:
    name = stage.start()
    stage.controller.on_restart(name)
    assert stage.record(name).attempts == 2
    stage.controller.on_end(name, error="its process was lost 3 times", log="killed")
    assert (stage.record(name).reason, stage.record(name).log) == ("its process was lost 3 times", "killed")


def test_what_the_training_says_of_its_failure_comes_before_what_is_known_of_its_process(stage: Stage) -> None:
    name, other = stage.start(), stage.start()
    stage.controller.on_failure(name, "it exploded", "line 1\nline 2")
    stage.controller.on_end(name, error="its process was lost", log="killed")
    assert (stage.record(name).reason, stage.record(name).log) == ("it exploded", "line 1\nline 2")
    stage.play(other, 2, 4)
    stage.controller.on_end(other)
    assert (stage.record(other).state, stage.record(other).log) == ("finished", "")


def test_a_trial_without_any_accuracy_failed(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2, 4, accuracy=None)
    stage.controller.on_end(name)
    assert stage.record(name).reason == "no evaluation has a validation accuracy"


def test_a_full_disk_is_no_fault_of_the_trial(stage: Stage) -> None:
    name = stage.start()
    with pytest.raises(OSError, match="No space left"):
        stage.controller.on_failure(name, "OSError: [Errno 28] No space left on device")
    assert stage.record(name).state == "running"


def test_a_pruned_trial_stops_and_keeps_nothing(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
    stage = Stage(tmp_path, study(scheduler=pruner))
    good, bad = stage.start(), stage.start()
    stage.play(good, 2, accuracy=0.9)
    assert stage.controller.on_evaluation(bad, evaluation(2, 0.1)) is True
    stage.checkpoint(bad, 2)
    stage.controller.on_end(bad)
    record = stage.record(bad)
    assert (record.state, record.reason) == ("pruned", "stopped early at step 2 by asha")
    assert all(bad not in path for path in stage.kept())


PROMOTE = SchedulerConfig(name="asha", mode="promote", reduction_factor=2)


def test_a_trial_waits_at_its_rung_and_goes_on_from_there_when_it_is_promoted(tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(scheduler=PROMOTE, num_trials=3, base=base(num_steps=6), final_seeds=()))
    first, second = stage.start(), stage.start()
    for name, accuracy in ((first, 0.4), (second, 0.6)):
        assert stage.controller.on_evaluation(name, evaluation(2, accuracy)) is True
        stage.checkpoint(name, 2, accuracy)
        stage.controller.on_end(name)
        assert (stage.record(name).state, stage.record(name).until) == ("waiting", 2)
    assert stage.kept() == {stage.record(first).checkpoint, stage.record(second).checkpoint}
    stage = stage.again()
    config = stage.controller.next_trial()
    assert config is not None
    checkpoint = stage.record(second).checkpoint
    assert (config["name"], config["resume_from"], config["take_over"]) == (second, checkpoint, False)
    assert config["folder"] == f"{second}.from-2"
    found = stage.record(second)
    assert (found.state, found.until, found.attempts, found.notes) == ("running", 4, 1, {PAUSED: [2]})
    assert stage.controller.on_evaluation(second, evaluation(2, 0.6)) is False, "it first repeats what it resumes from"
    assert stage.controller.on_evaluation(second, evaluation(4, 0.6)) is True


def test_what_is_never_promoted_ends_with_the_search_and_keeps_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(scheduler=PROMOTE, num_trials=2, base=base(num_steps=4), final_seeds=(1,)))
    names = [stage.start(), stage.start()]
    for name, accuracy in zip(names, (0.4, 0.6), strict=True):
        stage.play(name, 2, accuracy=accuracy)
        stage.controller.on_end(name)
    assert stage.start() == names[1]
    assert stage.controller.next_trial() is None
    stage.play(names[1], 4, accuracy=0.6)
    stage.controller.on_end(names[1])
    ended = stage.record(names[0])
    assert (ended.state, ended.reason) == ("pruned", "never promoted by asha from step 2")
    assert (ended.checkpoint, ended.notes) == (None, {PAUSED: [2]})
    assert stage.kept() == {stage.record(names[1]).checkpoint}
    assert stage.record(stage.start()).stage == "final"


def test_trials_that_wait_end_when_the_last_to_begin_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, study(scheduler=PROMOTE, num_trials=2, base=base(num_steps=4), final_seeds=()))
    first = stage.start()
    stage.play(first, 2, accuracy=None)
    stage.controller.on_end(first)

    def refuse(self: StudyPlan, values: dict[str, Any], seed: int | None = None) -> None:
        raise UserError(f"{RATE}: not with this")

    monkeypatch.setattr(StudyPlan, "train_config", refuse)
    assert stage.controller.next_trial() is None
    assert stage.record(first).state == "pruned"
    assert stage.controller.sweep_state.is_done


def test_what_waits_in_a_population_ends_when_its_study_is_stopped(tmp_path: Path) -> None:
    pbt = SchedulerConfig(name="pbt", perturbation_interval=1)
    stage = Stage(tmp_path, study(scheduler=pbt, num_trials=20, base=base(num_steps=6), final_seeds=()))
    waits = stage.start()
    stage.play(waits, 2)
    stage.controller.on_end(waits)
    assert stage.record(waits).state == "waiting"
    while (config := stage.controller.next_trial()) is not None:
        stage.controller.on_failure(config["name"], "it broke")
        stage.controller.on_end(config["name"])
    ended = stage.record(waits)
    assert (ended.state, ended.reason) == ("pruned", "never exchanged by pbt from step 2")
    assert stage.controller.sweep_state.is_done
    assert stage.kept() == set()


def test_what_was_decided_before_a_fault_is_not_what_a_trial_ends_with(tmp_path: Path) -> None:
    """Ray may restart a trial after it was found weak, or fail itself after the training has."""
    stage = Stage(tmp_path, study(num_trials=9, base=base(num_steps=6), final_seeds=()))
    first = stage.start()
    for fault in (lambda: stage.controller.on_restart(first), stage.controller.interrupt):
        stage.controller.on_failure(first, "it broke")
        fault()
        if stage.record(first).state == "interrupted":
            assert stage.start() == first
    stage.play(first, 2, 4, 6)
    stage.controller.on_end(first)
    assert stage.record(first).state == "finished"


def population_at_its_first_exchange(folder: Path) -> Stage:
    """Three of three wait, and their moves are on the disk."""
    pbt = SchedulerConfig(name="pbt", perturbation_interval=1)
    stage = Stage(folder, study(scheduler=pbt, num_trials=3, base=base(num_steps=6), final_seeds=()))
    stage.controller.max_concurrent = 3
    names = [stage.start() for _ in range(3)]
    for name, accuracy in zip(names, (0.1, 0.9, 0.5), strict=True):
        stage.play(name, 2, accuracy=accuracy)
        stage.controller.on_end(name)
    assert [stage.record(name).until for name in names] == [4, 4, 4]
    return stage


def played_to_the_end(stage: Stage) -> None:
    while (config := stage.controller.next_trial()) is not None:
        record = stage.record(config["name"])
        done = record.step if config["resume_from"] else 0
        for step in range(done + 2, (record.until or 6) + 2, 2):
            stage.play(record.name, step)
        stage.controller.on_end(record.name)


def test_a_population_goes_on_with_one_that_takes_the_place_of_a_lost_record(tmp_path: Path) -> None:
    stage = population_at_its_first_exchange(tmp_path)
    lost = stage.controller.sweep_state.records["erm.digits.long_tail-20.scan.search-002"]
    (tmp_path / "made" / "trials" / f"{lost.name}.json").unlink()
    again = stage.again()
    played_to_the_end(again)
    assert again.controller.sweep_state.is_done
    assert {record.state for record in again.controller.sweep_state.records.values()} == {"finished"}


def test_a_population_goes_on_though_the_checkpoint_of_a_donor_is_gone(tmp_path: Path) -> None:
    stage = population_at_its_first_exchange(tmp_path)
    for member in stage.controller.sweep_state.records.values():  # as a kill before the first of the moves leaves them
        Journal(tmp_path / "made").write(dataclasses.replace(member, state="waiting", until=2, schedule=()))
    donor = stage.record("erm.digits.long_tail-20.scan.search-001")
    assert donor.checkpoint is not None
    shutil.rmtree(donor.checkpoint)
    again = stage.again()
    played_to_the_end(again)
    assert again.controller.sweep_state.is_done


def test_a_trial_that_waits_begins_anew_if_its_checkpoint_is_gone(tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(scheduler=PROMOTE, num_trials=3, base=base(num_steps=6), final_seeds=()))
    name = stage.start()
    stage.play(name, 2)
    stage.controller.on_end(name)
    shutil.rmtree(stage.root)
    again = stage.again()
    assert again.controller.started_anew == [name]
    config = again.controller.next_trial()
    assert config is not None
    assert (config["name"], config["resume_from"], again.record(name).until) == (name, None, 2)


def test_the_last_evaluation_prunes_nothing(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="median", min_resource=1)
    stage = Stage(tmp_path, study(scheduler=pruner, num_trials=9))
    for accuracy in (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1):
        name = stage.start()
        assert stage.controller.on_evaluation(name, evaluation(4, accuracy)) is False
        stage.controller.on_end(name)
        assert stage.record(name).state == "finished"


def test_a_trial_keeps_the_confusions_of_its_best_checkpoint(stage: Stage) -> None:
    name = stage.start()
    for step, accuracy in ((2, 0.3), (4, 0.6), (6, 0.5)):
        stage.controller.on_evaluation(name, evaluation(step, accuracy) | {CONFUSION: [[step, 0], [0, 0]]})
        stage.checkpoint(name, step, accuracy)
    kept = {e["step"]: e[CONFUSION] for e in stage.record(name).evaluations if CONFUSION in e}
    assert kept == {4: [[4, 0], [0, 0]]}


def test_final_runs_use_their_seeds_and_are_never_pruned(tmp_path: Path) -> None:
    pruner = SchedulerConfig(name="asha", min_resource=1, reduction_factor=2)
    stage = Stage(tmp_path, study(num_trials=1, scheduler=pruner))
    name = stage.start()
    stage.play(name, 2, 4, accuracy=0.9)
    stage.controller.on_end(name)
    for seed in (1, 2):
        config = stage.controller.next_trial()
        assert config is not None
        final = config["name"]
        assert stage.record(final).config["seed"] == seed
        assert stage.record(final).values == stage.record(name).values
        assert stage.controller.on_evaluation(final, evaluation(2, 0.0)) is False
        stage.play(final, 4)
        stage.controller.on_end(final)
    assert stage.controller.sweep_state.is_done


def test_a_search_by_likelihood_judges_checkpoints_that_the_accuracy_chooses(tmp_path: Path) -> None:
    accuracy, likelihood = "leave_one_domain_out_accuracy", "leave_one_domain_out_likelihood"
    made = study(objectives=(likelihood,), base=base(select_by=[likelihood]))
    stage = Stage(tmp_path, made)
    names = [stage.start(), stage.start()]
    for name, last in zip(names, (0.05, 0.08), strict=True):
        for step, right, sure in ((2, 0.1, 0.11), (4, 0.6, last)):  # the first is from before anything is learned
            stage.controller.on_evaluation(name, evaluation(step) | {accuracy: right, likelihood: sure})
            stage.checkpoint(name, step)
        stage.controller.on_end(name)
    found = [stage.record(name) for name in names]
    assert [each.notes for each in found] == [{CHECKPOINT_BY: [accuracy]}] * 2
    assert [(best_checkpoint(each) or {})["step"] for each in found] == [4, 4]
    assert [best_merit(each) for each in found] == [0.05, 0.08]
    told = stage.controller._searches[made.key.name].study.trials
    assert [trial.value for trial in told] == [0.05, 0.08]


def test_a_search_that_an_earlier_version_began_keeps_its_rule(tmp_path: Path) -> None:
    likelihood = "leave_one_domain_out_likelihood"
    stage = Stage(tmp_path, study(objectives=(likelihood,), base=base(select_by=[likelihood])))
    name = stage.start()
    Journal(tmp_path / "made").write(dataclasses.replace(stage.record(name), notes={}))
    again = stage.again()
    assert [again.record(again.start()).notes for _ in range(2)] == [{}, {}]
    assert len(Journal(tmp_path / "made").read()) == 2


@pytest.mark.parametrize("averages", [False, True])
def test_an_ensemble_is_given_its_members_and_keeps_no_checkpoint(averages: bool, tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(num_trials=1, has_ensemble=True, averages_weights=averages))
    for _ in range(3):
        name = stage.start()
        stage.play(name, 2, 4)
        stage.controller.on_end(name)
    config = stage.controller.next_trial()
    assert config is not None
    names = [f"erm.digits.long_tail-20.scan.final-00{n}" for n in range(2)]
    assert [member["name"] for member in config["members"]] == names
    assert [member["checkpoint"] for member in config["members"]] == [stage.record(one).checkpoint for one in names]
    kept = stage.kept()
    again = stage.again()  # killed before it has said anything
    config = again.controller.next_trial()
    assert config is not None
    assert [member["name"] for member in config["members"]] == names
    assert config["averages_weights"] is averages
    name = config["name"]
    assert again.record(name).attempts == 2
    assert again.controller.on_evaluation(name, evaluation(4, 0.7)) is False
    again.controller.on_end(name)
    found = again.record(name)
    assert (found.state, found.members, found.checkpoint) == ("finished", tuple(names), None)
    assert again.controller.sweep_state.is_done
    assert stage.kept() == kept


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
    stage.controller.interrupt()
    assert stage.record(name).state == "interrupted"
    whole = stage.record(name).checkpoint

    damaged = stage.root / stage.run / name / "checkpoint_000004"
    damaged.mkdir()
    (damaged / EVALUATION_FILE).write_text(json.dumps(evaluation(4)))
    config = stage.again().controller.next_trial()
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
    stage.controller.on_evaluation(name, evaluation(4))
    second = stage.again()
    assert second.start() == name
    assert stage.record(name).checkpoint is None


def test_what_a_kill_left_of_ended_trials_is_removed(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2)
    stage.controller.on_failure(name, "it broke")
    stage.controller.on_end(name)
    stage.checkpoint(name, 4)
    journal = Journal(stage.folder / "made")
    journal.write(TrialRecord(**{**vars(stage.record(name)), "checkpoint": None}))
    again = stage.again()
    assert again.kept() == set()
    CheckpointFolders(stage.root).remove_empty_runs()
    assert list(stage.root.iterdir()) == []


def test_values_that_do_not_go_together_fail_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StudyPlan, values: dict[str, Any], seed: int | None = None) -> None:
        raise UserError(f"{RATE}: not with this")

    monkeypatch.setattr(StudyPlan, "train_config", refuse)
    stage = Stage(tmp_path)
    assert stage.controller.next_trial() is None
    assert stage.controller.sweep_state.is_done
    ended = list(Journal(tmp_path / "made").read())
    assert [(r.state, r.reason) for r in ended] == [("failed", f"{RATE}: not with this")] * 3


def test_only_the_best_search_trials_keep_their_checkpoints_if_asked_to(tmp_path: Path) -> None:
    stage = Stage(tmp_path, study(top_k=2), keep_checkpoints="selected")
    for accuracy in (0.2, 0.9, 0.5):
        name = stage.start()
        stage.play(name, 2, 4, accuracy=accuracy)
        stage.controller.on_end(name)
    found = stage.controller.sweep_state.search_records(study())
    assert [record.checkpoint is not None for record in found] == [False, True, True]
    assert stage.kept() == {record.checkpoint for record in found if record.checkpoint}
    final = stage.start()
    stage.play(final, 2, 4, accuracy=0.1)
    stage.controller.on_end(final)
    assert stage.record(final).checkpoint in stage.kept(), "final runs keep theirs"


@pytest.mark.parametrize("how", SPELLINGS)
def test_checkpoints_stay_by_whatever_path_the_results_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    results = tmp_path / "Ergebnisse für 2026"
    results.mkdir()
    monkeypatch.chdir(tmp_path)
    stage = Stage(spelled(results, how))
    name, cut_off = stage.start(), stage.start()
    stage.play(name, 2, 4)
    stage.play(cut_off, 2)
    stage.controller.on_end(name)
    for again in (stage.again(), Stage(results)):
        kept = {again.record(name).checkpoint, again.record(cut_off).checkpoint}
        assert kept == {str(path) for path in results.glob("made/ray/run-*/*/checkpoint_*")}
        assert len(kept) == 2
    config = again.controller.next_trial()
    assert config is not None
    assert (config["name"], config["resume_from"]) == (cut_off, again.record(cut_off).checkpoint)


def test_a_sweep_that_was_moved_keeps_its_checkpoints_and_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "before")
    done, cut_off = stage.start(), stage.start()
    stage.play(done, 2, 4)
    stage.controller.on_end(done)
    stage.play(cut_off, 2)
    stage.folder.rename(tmp_path / "after")
    moved = Stage(tmp_path / "after")
    assert moved.kept() == {moved.record(done).checkpoint, moved.record(cut_off).checkpoint}
    config = moved.controller.next_trial()
    assert config is not None
    assert config["resume_from"].startswith(str(tmp_path / "after"))
    assert moved.controller.started_anew == []


def test_trials_whose_checkpoints_are_gone_start_anew_and_are_named(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2)
    shutil.rmtree(stage.root)
    again = stage.again()
    assert again.controller.started_anew == [name]
    config = again.controller.next_trial()
    assert config is not None
    assert (config["name"], config["folder"], config["resume_from"]) == (name, name, None)


def test_a_checkpoint_that_is_gone_is_the_reason_of_a_failure(stage: Stage) -> None:
    name = stage.start()
    stage.play(name, 2)
    shutil.rmtree(stage.root)
    stage.controller.on_end(name, error="its process was lost 3 times: it does not exist on storage anymore")
    reason = f"{CHECKPOINT_GONE} from {stage.root.resolve()}, so that it could not continue"
    assert (stage.record(name).state, stage.record(name).reason) == ("failed", reason)
    result = SweepResult(records=[stage.record(name)], studies=[], tracking_problem=None, tracking_refusal=None)
    assert result.problems == [f"1 trials failed for lack of their checkpoints: {name}"]


def test_a_gpu_that_can_not_be_used_ends_the_sweep_and_fails_no_trial(stage: Stage) -> None:
    name = stage.start()
    with pytest.raises(UserError, match=rf"{name}: a GPU is reserved, but .*, then run the same command again"):
        stage.controller.on_failure(name, "UnusableGpuError: a GPU is reserved, but torch can't use it")
    assert stage.controller.fault is not None
    stage.controller.interrupt()
    assert stage.record(name).state == "interrupted"
    assert stage.again().start() == name
