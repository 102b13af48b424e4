"""What the records tell beyond the accuracies: searches, cost, confusions, importances, what is missing, findings."""

from dataclasses import replace

import numpy as np
import pytest

from harness.config import Demand
from harness.config.parameters import ChoiceParameter, FloatParameter
from harness.plan import StudyPlan
from harness.records import Stage, TrialRecord
from harness.records.record import CONFUSION
from harness.report import compare
from harness.report.analysis.confusion import confusion_of
from harness.report.analysis.details import Failure, details_of
from harness.report.analysis.importance import importance_of
from harness.report.analysis.search_course import SearchPoint, search_points
from harness.report.analysis.spent import spent_by_all, spent_on
from harness.report.text.findings import finding
from tests.made.made_large_sweep import LOG, REASON, plans, sweep_records
from tests.made.made_records import RATE, both, measured, record, study

GATE, INNER = "resampling_ratio", "algorithm.gamma"


# Searches


def test_the_best_so_far_is_that_of_finished_trials_in_the_order_in_which_they_ended():
    trials = [
        replace(record(0, accuracy=0.4), ended=30.0),
        replace(record(1, accuracy=0.6), ended=10.0),
        record(2, "pruned", accuracy=0.9, steps=(2,)),
        record(3, "running", accuracy=0.9),
        record(4, stage="final", accuracy=0.9),
    ]
    assert search_points(trials) == (
        SearchPoint(num_trials=1, seconds=pytest.approx(0.4), best=0.6),
        SearchPoint(num_trials=2, seconds=pytest.approx(0.8), best=0.6),
        SearchPoint(num_trials=3, seconds=pytest.approx(1.0), best=0.6),  # a pruned trial costs, and is not eligible
    )


def test_before_a_trial_has_finished_nothing_is_best():
    failed = record(0, "failed", steps=())
    assert search_points([failed, record(1, accuracy=0.0)]) == (
        SearchPoint(num_trials=1, seconds=0.0, best=None),
        SearchPoint(num_trials=2, seconds=pytest.approx(0.4), best=0.0),
    )


# Spent


def test_cost_counts_what_was_pruned_or_failed_too():
    trials = [record(0), record(1, "pruned", steps=(2,)), record(2, "failed", steps=()), record(3, "running")]
    occupied: dict[Stage, Demand] = {"search": Demand(cpus=4, gpus=0.5), "final": Demand(cpus=8, gpus=1)}
    cost = spent_on([*trials, record(0, stage="final")], occupied)
    assert cost.num_search == {"finished": 1, "pruned": 1, "failed": 1, "running": 1}
    assert cost.num_final == {"finished": 1}
    assert (cost.num_ended, cost.pruned_share, cost.num_steps) == (3, pytest.approx(1 / 3), 4 + 2 + 4 + 4)
    assert cost.seconds == pytest.approx(1.4)
    assert cost.cpu_hours == pytest.approx((1.0 * 4 + 0.4 * 8) / 3600)
    assert cost.gpu_hours == pytest.approx((1.0 * 0.5 + 0.4 * 1) / 3600)


def test_the_cost_of_all_studies_is_their_sum():
    first, second = [record(0), record(1, "pruned")], [record(0, "failed", steps=())]
    whole = both(cpus=1, gpus=0)
    assert spent_by_all([spent_on(first, whole), spent_on(second, whole)]) == spent_on([*first, *second], whole)
    assert spent_by_all([spent_on(first, whole), spent_on(second, None)]).cpu_hours is None
    assert spent_on([], whole).pruned_share is None


# Confusions


def final(seed: int, *matrices: list[list[int]] | None, merits=(0.1, 0.9, 0.2)) -> TrialRecord:
    made = measured("erm", "scan", 0.5, seed=seed)
    point = made.evaluations[0]
    points = [
        {**point, "step": step, "validation_accuracy": merit} | ({CONFUSION: matrix} if matrix else {})
        for step, (matrix, merit) in enumerate(zip(matrices, merits, strict=False))
    ]
    return replace(made, evaluations=tuple(points))


def test_confusions_are_those_of_the_selected_checkpoints_added_up():
    wrong = [[0, 9], [9, 0]]
    confusion = confusion_of([final(1, wrong, [[3, 1], [2, 2]], wrong), final(2, wrong, [[4, 0], [1, 3]])])
    assert confusion.counts == ((7, 1), (3, 5))
    assert confusion.num_seeds == 2
    assert confusion.shares == pytest.approx(np.array([[7 / 8, 1 / 8], [3 / 8, 5 / 8]]))
    assert confusion.largest_mistake == ("1", "0", pytest.approx(3 / 8))  # recorded without names


def test_classes_go_by_their_names():
    named = final(1, None, [[3, 1], [2, 2]])
    named = replace(named, environment={"data": {"classes": ["dog", "giraffe"]}})
    assert confusion_of([named]).classes == ("dog", "giraffe")
    assert confusion_of([named]).largest_mistake == ("giraffe", "dog", 0.5)


def test_no_confusion_without_final_runs_or_matrices_and_no_mistake_without_one():
    searched = replace(final(1, None, [[1, 0], [0, 1]]), stage="search")
    assert confusion_of([searched]) is None
    assert confusion_of([final(1, None, None)]) is None
    perfect = confusion_of([final(1, None, [[4, 0], [0, 0]])])
    assert perfect.largest_mistake is None
    assert perfect.shares.tolist() == [[1.0, 0.0], [0.0, 0.0]]  # a class without images


# Importances


def importance_plan() -> StudyPlan:
    space = {
        RATE: FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
        GATE: ChoiceParameter(type="choice", choices=(None, 1)),
        INNER: FloatParameter(type="float", low=0, high=1, when={GATE: [1]}),
    }
    return study(space=space)


def searched(number: int, state="finished", accuracy: float | None = None) -> TrialRecord:
    """Whose accuracy is by its rate alone; every other one has the conditional value."""
    rng = np.random.default_rng(number)
    values = {RATE: float(10 ** rng.uniform(-4, -2)), GATE: (None, 1)[number % 2]}
    if number % 2:
        values[INNER] = float(rng.uniform())
    accuracy = 1 - abs(np.log10(values[RATE]) + 3) / 2 if accuracy is None else accuracy
    return replace(record(number, state, accuracy), values=values)


def test_what_decides_is_important_also_beside_pruned_trials_and_conditional_values():
    trials = [searched(number) for number in range(30)]
    trials += [searched(number, state) for number, state in ((30, "pruned"), (31, "failed"), (32, "running"))]
    shares = importance_of(importance_plan(), trials)
    assert next(iter(shares)) == RATE
    assert shares[RATE] > 0.6
    assert set(shares) == {RATE, GATE, INNER}
    assert sum(shares.values()) == pytest.approx(1)


def test_of_few_finished_trials_nothing_is_said():
    few = [searched(number) for number in range(4)]
    pruned = [searched(number, "pruned") for number in range(4, 20)]
    assert importance_of(importance_plan(), [*few, *pruned]) is None
    valueless = replace(searched(4), evaluations=())
    assert importance_of(importance_plan(), [*few, valueless]) is None
    assert importance_of(importance_plan(), [*few, searched(4)]) is not None
    assert importance_of(study(space={}), [searched(number) for number in range(9)]) is None


# The whole


def test_details_of_the_made_up_sweep():
    details = details_of(sweep_records(), plans(), both(cpus=1, gpus=0))
    assert len(details.studies) == 4 * 4 * 3
    missing = {study.key.name: study.missing for study in details.studies if study.missing}
    assert missing == {
        "focal.digits.long_tail-200.sign": "search 7 of 12, final runs 0 of 3",
        **{f"focal.digits.long_tail-200.{t}": "final runs 0 of 3" for t in ("scan", "texture", "print")},
    }
    assert details.failures == [Failure(name="erm.digits.long_tail-10.scan.search-003", reason=REASON, log=LOG)]
    assert details.cost.num_search["finished"] == sum(s.cost.num_search["finished"] for s in details.studies)
    assert [study.key.target for study in details.of("digits", "long_tail-65")][::4] == [
        "scan", "texture", "print", "sign",
    ]  # fmt: skip


def test_a_study_that_has_not_begun_is_missing_as_a_whole():
    plan = plans()[:1]
    (one,) = details_of([], plan, None).studies
    assert one.missing == "search 0 of 12, final runs 0 of 3"
    assert (one.search, one.importance, one.confusion, one.margins) == ((), None, None, None)
    assert details_of([], (), None).studies == ()


# Findings


def accuracies(algorithm: str, *differences: float) -> list[TrialRecord]:
    return [
        measured(algorithm, target, 0.5 + difference + 0.01 * seed, seed=seed)
        for target in ("scan", "sign", "print")
        for seed, difference in enumerate(differences, start=1)
    ]


def found(*records: TrialRecord) -> str:
    (table,) = compare(records).tables
    return finding(table)


def test_a_finding_says_what_differs_and_what_is_within_noise():
    erm = accuracies("erm", 0, 0, 0)
    text = found(*erm, *accuracies("ndcl", 0.1, 0.11, 0.12), *accuracies("focal", -0.02, 0.02, 0.003))
    assert text == (
        "Overall, over 3 unseen domains: ndcl is higher than erm by 11.0 points, 95 % interval +10.3 to +11.7; "
        "focal is within noise of erm (+0.1 points, 95 % interval -1.2 to +1.4)."
    )
    assert "ndcl is lower than erm by 11.0 points" in found(*erm, *accuracies("ndcl", -0.1, -0.11, -0.12))


def test_a_finding_of_little():
    erm = accuracies("erm", 0)
    assert found(*erm) == "erm reaches 51.0 % overall, with nothing to compare it with."
    assert "ndcl is +10.0 points from erm, of too few pairs to tell" in found(*erm, *accuracies("ndcl", 0.1))
    preview = [replace(r, stage="search") for r in accuracies("ndcl", 0.1)]
    assert "+10.0 points from erm so far, without final runs on every domain" in found(*erm, *preview)
    elsewhere = [measured("ndcl", "texture", 0.5)]
    assert found(*erm, *elsewhere) == "No target domain has a value of every algorithm yet."
