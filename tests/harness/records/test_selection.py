"""Model selection on records written by hand, and on the golden cases."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from harness.records import StudyKey, TrialRecord, best_checkpoint, chosen_finals, select
from harness.records.record import CHECKPOINT_BY
from harness.records.selection import best_merit, checkpoint_criteria, criteria, pareto_front, ranking, shown_value
from ndcl.criteria import OBJECTIVES

KEY = StudyKey(algorithm="erm", dataset="digits", setting="natural", target="scan")
NAN = math.nan


def record(number: int, accuracies: list, state: str = "finished", stage: str = "search") -> TrialRecord:
    evaluations = tuple({"step": 10 * i, "validation_accuracy": a} for i, a in enumerate(accuracies))
    return TrialRecord(
        study=KEY, stage=stage, number=number, values={}, config={}, state=state, evaluations=evaluations
    )


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([0.1, 0.3, 0.2], 10),
        ([0.3, 0.3, 0.3], 0),
        ([0.1, 0.3, 0.3], 10),
        ([NAN, 0.0, 0.1], 20),
        ([0.1, NAN, 0.0], 0),
        ([None, 0.0], 10),
        ([0.0], 0),
    ],
)
def test_first_maximum_and_nan_is_worst(accuracies, step):
    assert best_checkpoint(record(0, accuracies))["step"] == step


@pytest.mark.parametrize("accuracies", [[], [NAN], [None, NAN]])
def test_no_checkpoint_without_a_value(accuracies):
    assert best_checkpoint(record(0, accuracies)) is None


def test_another_objective_is_looked_at_only_by_its_name():
    evaluations = ({"step": 0, "validation_accuracy": 0.9, "x": 0.1}, {"step": 1, "validation_accuracy": 0.1, "x": 0.9})
    trial = TrialRecord(study=KEY, stage="search", number=0, values={}, config={}, evaluations=evaluations)
    assert best_checkpoint(trial)["step"] == 0
    assert best_checkpoint(trial, "x")["step"] == 1
    assert best_checkpoint(trial, "unknown") is None


def test_ties_go_to_the_higher_number_and_nan_comes_last():
    records = [record(0, [0.5]), record(1, [NAN]), record(2, [0.2, 0.5]), record(3, [0.7]), record(4, [])]
    assert [r.number for r in ranking(records)] == [3, 2, 0, 4, 1]
    assert [r.number for r in ranking(reversed(records))] == [3, 2, 0, 4, 1]


@pytest.mark.parametrize("state", ["running", "interrupted", "pruned", "failed"])
def test_only_trials_that_ran_to_their_end_are_selected(state):
    assert select([record(0, [0.5]), record(1, [0.9], state)])[0].number == 0
    assert select([record(1, [0.9], state)]) == []


def test_final_runs_are_not_selected():
    assert select([record(0, [0.5]), record(1, [0.9], stage="final")])[0].number == 0


def test_nothing_is_selected_from_nothing():
    assert select([]) == []
    assert select([record(0, [NAN])]) == []


# The golden cases: one record per checkpoint, in the release's words


GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "protocol_cases.json").read_text())["selection"]


def adapted(case: dict) -> list[TrialRecord]:
    """The release's lines as one TrialRecord per hparams seed; lines with several test domains are dropped."""
    lines = [line for line in case["records"] if len(line["args"]["test_envs"]) == 1]
    seeds = sorted({line["args"]["hparams_seed"] for line in lines})
    return [
        TrialRecord(
            study=KEY,
            stage="search",
            number=seed,
            values={},
            config={},
            state="finished",
            evaluations=tuple(checkpoint(line) for line in lines if line["args"]["hparams_seed"] == seed),
        )
        for seed in seeds
    ]


def checkpoint(line: dict) -> dict:
    (target,) = line["args"]["test_envs"]
    sources = [key for key in line if key.endswith("_val_acc") and key != f"env{target}_val_acc"]
    names = {"0many": "many", "1median": "median", "2few": "few", "3zero": "zero", "acc": "acc"}
    return {
        "step": line["step"],
        "validation_accuracy": sum(line[key] for key in sources) / len(sources),
        "target": {name: line.get(f"env{target}_in_{released}") for released, name in names.items()},
    }


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_selection(case):
    records = adapted(case)
    for trial in records:
        expected = case["per_run"][str(trial.number)]
        chosen = best_checkpoint(trial)
        assert chosen["validation_accuracy"] == expected["val_acc"]
        assert chosen["target"] == {name: expected[f"test_{name}"] for name in chosen["target"]}
    assert [trial.number for trial in ranking(records)] == case["ranking"]
    final = best_checkpoint(select(records)[0])["target"]
    assert {f"test_{k}": v for k, v in final.items() if v is not None} == {
        k: v for k, v in case["final"].items() if k.startswith("test_")
    }


# Several criteria, several trials, several seeds


def judged(number: int, *values: dict, by: tuple = ("validation_accuracy",), **changes) -> TrialRecord:
    evaluations = tuple({"step": 10 * (i + 1), **value} for i, value in enumerate(values))
    config = {"select_by": list(by), "seed": changes.pop("seed", 0)}
    given = {"stage": "search", "values": {"x": number}, "state": "finished"} | changes
    return TrialRecord(study=KEY, number=number, config=config, evaluations=evaluations, **given)


def test_a_record_is_judged_by_what_its_config_says():
    few = judged(0, {"validation_accuracy": 0.9, "few_shot_accuracy": 0.1}, by=("few_shot_accuracy",))
    assert criteria(few) == ("few_shot_accuracy",)
    assert (best_merit(few), shown_value(few)) == (0.1, 0.1)
    both = ("worst_domain_accuracy", "few_shot_accuracy")
    points = [{"worst_domain_accuracy": 0.8, "few_shot_accuracy": 0.2}, {"worst_domain_accuracy": 0.6}]
    assert best_merit(judged(0, *points, by=both)) == pytest.approx(0.5), "of several the mean, where all have a value"
    last = judged(0, {"validation_accuracy": 0.9}, {"validation_accuracy": 0.3}, by=("last_step",))
    assert (best_checkpoint(last)["step"], shown_value(last)) == (20, 0.3)
    assert shown_value(judged(0, {"validation_accuracy": None})) is None


def test_the_best_k_are_different_and_ran_to_their_end():
    records = [judged(n, {"validation_accuracy": a}) for n, a in enumerate((0.5, 0.9, 0.7, 0.9))]
    records[3] = dataclasses.replace(records[3], values=records[1].values)
    records.append(judged(4, {"validation_accuracy": 0.99}, state="pruned"))
    assert [r.number for r in select(records, 3)] == [3, 2, 0]
    assert [r.number for r in select(records, 9)] == [3, 2, 0]


def finals(*means: float, seeds: int = 2, start: int = 0) -> list[TrialRecord]:
    return [
        judged(10 * x + seed, {"validation_accuracy": mean}, stage="final", values={"x": x + start}, seed=seed)
        for x, mean in enumerate(means)
        for seed in range(1, seeds + 1)
    ]


def test_final_runs_decide_among_the_best_k():
    search = [judged(n, {"validation_accuracy": a}) for n, a in enumerate((0.9, 0.8, 0.7))]
    runs = finals(0.5, 0.6, 0.99)
    assert [r.values["x"] for r in chosen_finals([*search, *runs], 1)] == [0, 0]
    assert [r.values["x"] for r in chosen_finals([*search, *runs], 2)] == [1, 1]
    assert [r.config["seed"] for r in chosen_finals([*search, *reversed(runs)], 3)] == [1, 2]
    assert chosen_finals(search, 2) == []


def test_only_those_with_all_seeds_are_compared_and_equals_keep_the_searchs_order():
    search = [judged(n, {"validation_accuracy": a}) for n, a in enumerate((0.9, 0.8))]
    runs = finals(0.5, 0.6)
    runs[3] = dataclasses.replace(runs[3], state="failed")
    assert {r.values["x"] for r in chosen_finals([*search, *runs], 2)} == {0}
    assert {r.values["x"] for r in chosen_finals([*search, *finals(0.5, 0.5)], 2)} == {0}


def test_the_pareto_front_holds_what_nothing_betters():
    by = ("worst_domain_accuracy", "few_shot_accuracy")

    def point(number: int, worst: float | None, few: float, state: str = "finished") -> TrialRecord:
        return judged(number, {by[0]: worst, by[1]: few}, by=by, state=state)

    records = [point(0, 0.5, 0.5), point(1, 0.4, 0.4), point(2, 0.9, 0.1), point(3, 0.5, 0.5), point(4, None, 1.0)]
    records.append(point(5, 1.0, 1.0, "pruned"))
    assert [r.number for r in pareto_front(records)] == [0, 2, 3]
    assert select(records)[0].number == 3, "the highest mean is on the front"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_by_every_objective_more_is_better_wherever_it_ranks(objective):
    def judged(number: int, *values: float) -> TrialRecord:
        others = dict.fromkeys(OBJECTIVES, 0.5)
        points = tuple({"step": step, **others, objective: value} for step, value in enumerate(values))
        return dataclasses.replace(
            record(number, []), config={"select_by": [objective]}, values={"rate": number}, evaluations=points
        )

    records = [judged(0, 0.2, 0.6, 0.1), judged(1, 0.4, 0.3), judged(2, 0.1, 0.9)]
    assert [best_checkpoint(r)["step"] for r in records] == [1, 0, 1]
    assert [r.number for r in ranking(records)] == [2, 0, 1]
    assert [r.number for r in select(records, 2)] == [2, 0]
    assert [r.number for r in pareto_front(records)] == [2]
    assert [shown_value(r) for r in records] == [0.6, 0.4, 0.9]


def looked(number: int, trial: TrialRecord, merit: float, state: str = "finished") -> TrialRecord:
    """A second look at a trial, judged by the likelihood on domains left out."""
    by = "leave_one_domain_out_likelihood"
    evaluations = ({"step": 10, by: merit, "validation_accuracy": 0.0}, {"step": 20, by: merit / 2})
    return dataclasses.replace(
        trial, stage="review", number=number, state=state, config={"select_by": [by]}, evaluations=evaluations
    )


def test_a_second_look_has_the_last_word_among_those_it_looked_at():
    trials = [dataclasses.replace(record(n, [0.1 * n]), values={"rate": n}) for n in range(4)]
    reviews = [looked(0, trials[3], 0.2), looked(1, trials[2], 0.4)]
    assert [r.number for r in select(trials, 4)] == [3, 2, 1, 0]
    assert [r.number for r in select([*trials, *reviews], 4)] == [2, 3, 1, 0]
    assert [r.number for r in select([*trials, looked(0, trials[1], 0.9, "failed")], 1)] == [3]
    finals = [dataclasses.replace(trials[n], stage="final", config={"seed": 1}) for n in (2, 3)]
    [chosen] = chosen_finals([*trials, *reviews, *finals])
    assert chosen.values == {"rate": 2}


def test_of_equal_second_looks_the_searches_order_decides():
    trials = [dataclasses.replace(record(n, [0.1 * n]), values={"rate": n}) for n in range(3)]
    reviews = [looked(n, trials[n], 0.3) for n in (1, 2)]
    assert [r.number for r in select([*trials, *reviews], 2)] == [2, 1]


def test_a_second_look_judges_the_checkpoint_that_the_search_would_choose():
    trial = dataclasses.replace(record(0, [0.5]), values={"rate": 0})
    by = "leave_one_domain_out_likelihood"
    early = {"step": 10, "validation_accuracy": 0.1, by: 0.9}
    late = {"step": 20, "validation_accuracy": 0.8, by: 0.4}
    review = dataclasses.replace(
        looked(0, trial, 0.0), evaluations=(early, late), notes={CHECKPOINT_BY: ["validation_accuracy"]}
    )
    assert best_checkpoint(review) == late
    assert best_merit(review) == shown_value(review) == 0.4


def test_a_likelihood_leaves_the_choice_of_the_checkpoint_to_the_accuracy_beside_it():
    accuracy, likelihood = "leave_one_domain_out_accuracy", "leave_one_domain_out_likelihood"
    assert checkpoint_criteria((likelihood,)) == (accuracy,)
    assert checkpoint_criteria(("worst_domain_accuracy", likelihood)) == ("worst_domain_accuracy", accuracy)
    assert checkpoint_criteria((accuracy, likelihood)) == (accuracy,)
    assert all(checkpoint_criteria((name,)) == (name,) for name in OBJECTIVES if name != likelihood)
    early = {"step": 10, accuracy: 0.1, likelihood: 0.11}
    late = {"step": 20, accuracy: 0.7, likelihood: 0.08}
    config = {"select_by": [likelihood]}
    old = dataclasses.replace(record(0, []), config=config, evaluations=(early, late))
    new = dataclasses.replace(old, notes={CHECKPOINT_BY: [accuracy]})
    assert best_checkpoint(old) == early, "a search of an earlier version is read as it was judged"
    assert best_checkpoint(new) == late
    assert best_merit(new) == shown_value(new) == 0.08
