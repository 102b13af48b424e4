"""What a report recommends: ranges to widen, and what to deploy by source data alone."""

import dataclasses
from typing import Any

import pytest

from harness.config.parameters import ChoiceParameter, FloatParameter, IntParameter
from harness.records import StudyKey, TrialRecord
from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.analysis.edges import edges_of
from harness.report.html.page import to_html
from harness.report.text.findings import edge_lines, recommendation
from harness.report.text.markdown import to_markdown
from tests.made.made_records import key, measured, record, study

SPACE = {
    "optimizer.learning_rate": FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
    "optimizer.weight_decay": FloatParameter(type="float", low=0, high=1),
    "optimizer.layer_decay": FloatParameter(type="float", low=0.5, high=1),
    "batch_size": IntParameter(type="int", low=8, high=64),
    "resampling_ratio": ChoiceParameter(type="choice", choices=(None, 1)),
}


def tried(values: dict[str, Any], accuracy: float, number: int, of: StudyKey | None = None) -> TrialRecord:
    return dataclasses.replace(record(number, accuracy=accuracy, of=of), values=values)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"optimizer.learning_rate": 9.9e-3}, [("optimizer.learning_rate", "upper", 1e-2)]),
        ({"optimizer.learning_rate": 1.1e-4}, [("optimizer.learning_rate", "lower", 1e-4)]),  # by its logarithm
        ({"optimizer.learning_rate": 5e-3, "batch_size": 8}, [("batch_size", "lower", 8)]),
        ({"optimizer.weight_decay": 0.0, "resampling_ratio": 1}, []),  # which the config itself ends
        ({"optimizer.layer_decay": 1.0}, []),
        ({"optimizer.layer_decay": 0.5}, [("optimizer.layer_decay", "lower", 0.5)]),
        ({"optimizer.weight_decay": 1.0}, [("optimizer.weight_decay", "upper", 1)]),
        ({"algorithm.gone": 1.0}, []),
    ],
)
def test_the_best_values_at_an_edge(values: dict[str, Any], found: list[Any]) -> None:
    plan = study(space=SPACE)
    records = [tried(values, 0.9, 0), tried({"optimizer.learning_rate": 1e-3}, 0.5, 1)]
    assert [(edge.key, edge.end, edge.bound) for edge in edges_of(plan, records)] == found
    assert edges_of(plan, records[:1]) == ()  # of a single trial nothing is said


def test_an_edge_in_most_studies_is_a_finding() -> None:
    plans = [study("ndcl", target, space=SPACE, key=key("ndcl", target)) for target in ("scan", "sign", "print")]
    rates = (9.9e-3, 9.8e-3, 1e-3)
    records = [
        one
        for plan, rate in zip(plans, rates, strict=True)
        for one in (
            tried({"optimizer.learning_rate": rate}, 0.9, 0, plan.key),
            tried({"optimizer.learning_rate": 2e-3}, 0.5, 1, plan.key),
        )
    ]
    details = details_of(records, plans, None)
    line = "optimizer.learning_rate of ndcl: best at the upper end of its range, 0.01, in 2 of 3 studies; widen it."
    assert edge_lines(details, "digits", "long_tail-20") == [line]
    comparison = compare(records)
    assert line in to_markdown(comparison, details).replace("\\", "")
    assert line in to_html("s", comparison, details)


def runs(algorithm: str, target: str, source: float, worth: float) -> list[TrialRecord]:
    merits = {"validation_accuracy": source}
    return [measured(algorithm, target, worth, seed=seed, merits=merits) for seed in (1, 2)]


def test_what_to_deploy_is_chosen_by_sources_and_judged_by_targets() -> None:
    records = [
        *runs("erm", "scan", 0.9, 0.5), *runs("ndcl", "scan", 0.8, 0.7),  # the wrong choice
        *runs("erm", "sign", 0.7, 0.4), *runs("ndcl", "sign", 0.95, 0.6),  # the right one
    ]  # fmt: skip
    [table] = compare(records).tables
    text = recommendation(table, oracle=False)
    assert text is not None
    assert "a final run of ndcl (validation accuracy 87.5 %)" in text
    assert "the best one on 1 of 2, and 10.0 points below the best on average" in text
    assert recommendation(compare(runs("erm", "scan", 0.9, 0.5)).tables[0], oracle=False) is None
    assert recommendation(table, oracle=True) is None


def test_source_accuracy_stands_beside_the_targets() -> None:
    comparison = compare([*runs("erm", "scan", 0.9, 0.2), *runs("ndcl", "scan", 0.8, 0.3)])
    text = to_markdown(comparison)
    assert "| (source) | erm | 90.0" in text
    assert "erm (source)" in to_html("s", comparison, details_of((), (), None)).replace("<wbr>", "")
