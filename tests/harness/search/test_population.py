"""Population based training: decisions on records made by hand, and a whole study played to the controller."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.config.parameters import ChoiceParameter, FloatParameter
from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.records import TrialRecord
from harness.search import population
from harness.storage.checkpoints import CHECKPOINT_GONE
from tests.harness.sweep.test_controller import Stage
from tests.made.made_records import RATE, base, record, study

PBT = SchedulerConfig(name="pbt", perturbation_interval=1, quantile_fraction=0.25)
RATIO = "resampling_ratio"
SPACE = {
    RATE: FloatParameter(type="float", low=1e-4, high=1e-2, log=True, default=1e-3),
    RATIO: ChoiceParameter(type="choice", choices=(None, 10, 1), default=None),
}


def pbt(num_trials: int = 4, **changes: Any) -> StudyPlan:
    values = {"scheduler": PBT, "num_trials": num_trials, "space": SPACE, "base": base(num_steps=6)}
    return study(**(values | changes))


def waiting(number: int, accuracy: float, **changes: Any) -> TrialRecord:
    made = record(number, "waiting", accuracy, steps=(2,), until=2, checkpoint=f"of-{number}", **changes)
    return TrialRecord(**(vars(made) | {"values": {RATE: 1e-3 * (number + 1), RATIO: 10}}))


def test_stops_are_at_whole_intervals_before_the_end() -> None:
    assert [population.next_stop(pbt(), step) for step in (0, 1, 2, 3, 4, 5)] == [2, 2, 4, 4, None, None]
    longer = pbt(scheduler=SchedulerConfig(name="pbt", perturbation_interval=2))
    assert [population.next_stop(longer, step) for step in (0, 4)] == [4, None]
    assert population.next_stop(study(), 0) is None


@pytest.mark.parametrize(
    ("state", "gathered"), [("waiting", True), ("running", False), ("interrupted", False), ("failed", True)]
)
def test_everybody_who_still_trains_is_waited_for(state: Any, gathered: bool) -> None:
    last = record(3, state, steps=(2,) if state == "waiting" else (), until=2)
    records = [waiting(n, 0.5) for n in range(3)] + [last]
    assert population.is_gathered(pbt(), records) is gathered
    assert not population.is_gathered(pbt(5), records), "one has not even begun"


def test_the_worst_take_over_from_the_best_and_the_others_go_on() -> None:
    members = [waiting(n, accuracy) for n, accuracy in enumerate((0.9, 0.1, 0.5, 0.6, 0.4, 0.2, 0.8, 0.7))]
    decided = {move.name: move for move in population.moves(pbt(8), members)}
    assert decided.keys() == {member.name for member in members}
    worst, best = {members[1].name, members[5].name}, {members[0].name, members[6].name}
    for member in members:
        move = decided[member.name]
        if member.name in worst:
            assert move.donor in best
            donor = next(m for m in members if m.name == move.donor)
            assert move.values != donor.values
            assert SPACE[RATE].accepts(move.values[RATE])
        else:
            assert (move.donor, move.values) == (member.name, member.values)
    assert population.moves(pbt(8), members) == list(decided.values()), "decided alike at every start"
    assert [m.donor for m in population.moves(pbt(8), members[:1])] == [members[0].name], "alone, nobody to learn from"


def test_values_are_moved_a_little_or_drawn_anew_as_often_as_asked() -> None:
    def explored(probability: float) -> list[dict[str, Any]]:
        plan = pbt(2, scheduler=SchedulerConfig(name="pbt", resample_probability=probability))
        pairs = [
            (waiting(0, 0.9), TrialRecord(**(vars(waiting(1, 0.1)) | {"number": number}))) for number in range(1, 200)
        ]
        return [population.moves(plan, pair)[1].values for pair in pairs]

    moved = explored(0)
    assert {round(values[RATE] * 1e3, 6) for values in moved} == {0.8, 1.2}
    assert Counter(values[RATIO] for values in moved).keys() == {None, 1}, "the neighbours of 10"
    anew = explored(1)
    assert len({values[RATE] for values in anew}) > 190
    assert Counter(values[RATIO] for values in anew).keys() == {None, 10, 1}


def test_values_stay_in_range() -> None:
    at_the_top = TrialRecord(**(vars(waiting(0, 0.9)) | {"values": {RATE: 1e-2, RATIO: None}}))
    for number in range(1, 50):
        weak = TrialRecord(**(vars(waiting(1, 0.1)) | {"number": number}))
        values = population.moves(pbt(2), [at_the_top, weak])[1].values
        assert all(SPACE[key].accepts(value) for key, value in values.items())


def play(stage: Stage, accuracies: dict[int, float], stops: int = 3, *, killed_after: str = "") -> Stage:
    """Run what is due, one after the other, to the end of each segment; `killed_after` one of these start anew."""
    for _ in range(100):
        config = stage.controller.next_trial()
        if config is None:
            return stage
        name = config["name"]
        made = stage.record(name)
        until = made.until or 6
        done = int(made.evaluations[-1]["step"]) if made.evaluations else 0
        stage.play(name, *range(done + 2, until + 1, 2), accuracy=accuracies.get(made.number, 0.5))
        stage.controller.on_end(name)
        if name == killed_after:
            stage = stage.again()
    raise AssertionError("no end")


ACCURACIES = {0: 0.9, 1: 0.1, 2: 0.5, 3: 0.6}


def essence(found: TrialRecord) -> Any:
    return found.name, found.state, found.values, found.recipe, found.step, found.attempts, found.config


def test_a_study_from_start_to_end(tmp_path: Path) -> None:
    stage = play(Stage(tmp_path, pbt()), ACCURACIES)
    assert stage.controller.sweep_state.is_done
    members = stage.controller.sweep_state.search_records(pbt())
    assert [(r.state, r.attempts, [e["step"] for e in r.evaluations]) for r in members] == [
        ("finished", 1, [2, 4, 6])
    ] * 4
    weak, strong = members[1], members[0]
    assert weak.notes["weights taken over at step 2"] == strong.name
    start, changes = weak.recipe
    assert start == strong.values
    assert [change["step"] for change in changes] == [4], "it took over twice, and the second time lost the first"
    assert weak.values != strong.values, "what Optuna proposed stays known"
    assert weak.config["optimizer"]["learning_rate"] == changes[-1]["values"][RATE]
    assert all(record.checkpoint in stage.kept() for record in members)


@pytest.mark.parametrize("number", range(4))
def test_a_kill_between_two_legs_changes_nothing(tmp_path: Path, number: int) -> None:
    undisturbed = play(Stage(tmp_path / "a", pbt(final_seeds=())), ACCURACIES)
    name = undisturbed.controller.sweep_state.search_records(pbt())[number].name
    disturbed = play(Stage(tmp_path / "b", pbt(final_seeds=())), ACCURACIES, killed_after=name)
    both = [stage.controller.sweep_state.search_records(pbt()) for stage in (undisturbed, disturbed)]
    first, second = ([essence(record)[1:2] + essence(record)[4:6] for record in records] for records in both)
    assert first == second
    assert [r.notes for r in both[0]] == [r.notes for r in both[1]]


def test_a_kill_in_the_midst_of_an_exchange_is_completed_as_decided(tmp_path: Path) -> None:
    stage = Stage(tmp_path, pbt())
    written: list[str] = []
    put = stage.controller._put

    def killed(changed: TrialRecord) -> None:
        if changed.state == "waiting" and changed.until == 4:
            if written:
                raise KeyboardInterrupt
            written.append(changed.name)
        put(changed)

    stage.controller._put = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        play(stage, ACCURACIES)
    assert len(written) == 1
    again = stage.again()
    members = again.controller.sweep_state.search_records(pbt())
    assert [(r.state, r.until) for r in members] == [("waiting", 4)] * 4
    assert members[1].notes == {"weights taken over at step 2": members[0].name}
    assert play(again, ACCURACIES).controller.sweep_state.is_done


def test_final_runs_train_by_the_schedule_that_was_found(tmp_path: Path) -> None:
    # The second trial takes over, and is the best in the end.
    stage = Stage(tmp_path, pbt(final_seeds=(1,)))
    segments: list[Any] = []
    for _ in range(100):
        config = stage.controller.next_trial()
        if config is None:
            break
        made = stage.record(config["name"])
        if made.stage == "final":
            segments.append((made, config["segments"]))
        until, done = made.until or 6, made.step
        accuracy = 0.95 if made.number == 1 and done >= 4 else ACCURACIES.get(made.number, 0.5)
        stage.play(made.name, *range(done + 2, until + 1, 2), accuracy=accuracy)
        stage.controller.on_end(made.name)
    ((final, found),) = segments
    best = stage.controller.sweep_state.search_records(pbt())[1]
    assert final.recipe == best.recipe
    start, changes = best.recipe
    assert [segment["from_step"] for segment in found] == [0, *(change["step"] for change in changes)]
    rates = [segment["train"]["optimizer"]["learning_rate"] for segment in found]
    assert rates == [start[RATE], *(change["values"][RATE] for change in changes)]
    assert {segment["train"]["seed"] for segment in found} == {1}


def test_a_failed_member_is_not_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, pbt(final_seeds=()))
    name = stage.start()
    stage.controller.on_failure(name, "NonFiniteLossError: it exploded")
    stage.controller.on_end(name)
    stage = play(stage, ACCURACIES)
    assert [r.state for r in stage.controller.sweep_state.search_records(pbt())] == ["failed", *["finished"] * 3]


def test_a_member_whose_weights_are_gone_is_trained_by_all_values_that_it_had(tmp_path: Path) -> None:
    stage = Stage(tmp_path, pbt(final_seeds=()))
    for number in range(4):
        stage.controller.max_concurrent = 4
        name = stage.start()
        stage.play(name, 2, accuracy=ACCURACIES[number])
    for name in list(stage.controller.sweep_state.records):
        stage.controller.on_end(name)
    members = stage.controller.sweep_state.search_records(pbt())
    weak, strong = members[1], members[0]
    assert (bool(weak.schedule), bool(strong.schedule)) == (True, False)
    shutil.rmtree(stage.root)
    again = stage.again()
    assert again.controller.started_anew == [member.name for member in members]
    again.controller.max_concurrent = 4
    configs = {config["name"]: config for _ in members if (config := again.controller.next_trial()) is not None}
    rates = {
        name: [(segment["from_step"], segment["train"]["optimizer"]["learning_rate"]) for segment in config["segments"]]
        for name, config in configs.items()
    }
    assert rates[strong.name] == [(0, strong.values[RATE])]
    assert rates[weak.name] == [(0, strong.values[RATE]), (2, weak.schedule[-1]["values"][RATE])]
    assert {config["resume_from"] for config in configs.values()} == {None}


def test_a_member_that_waits_and_whose_weights_vanish_fails_with_that_reason(tmp_path: Path) -> None:
    stage = Stage(tmp_path, pbt())
    name = stage.start()
    stage.play(name, 2)
    shutil.rmtree(stage.root)
    stage.controller.on_end(name)
    assert stage.record(name).state == "failed"
    assert (stage.record(name).reason or "").startswith(CHECKPOINT_GONE)
