"""What can be trusted: which trials count, signs, means over studies, and that labels of the target choose nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from harness.records import TrialRecord
from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.analysis.source_criteria import ANY_TRIAL, CRITERIA, source_criteria_of
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.markdown import to_markdown
from tests.made.made_large_sweep import sweep_records
from tests.made.made_records import measured

ACCURACIES = (0.1, 0.5, 0.2, 0.6, 0.4, 0.3)


def trials(source: Any, accuracies: Any = ACCURACIES, target: str = "scan") -> list[TrialRecord]:
    """Finished search trials of one study, with validation accuracies `source`."""
    return [
        measured("erm", target, accuracy, stage="search", number=n, seed=0, merits={"validation_accuracy": value})
        for n, (value, accuracy) in enumerate(zip(source, accuracies, strict=True))
    ]


def judged(records: list[TrialRecord], criterion: str = "validation accuracy") -> Any:
    (found,) = source_criteria_of(records)
    return found.judged[criterion]["erm"]


def test_it_is_spearman_s_coefficient_and_what_the_choice_loses() -> None:
    source = (0.3, 0.9, 0.1, 0.2, 0.8, 0.7)
    found = judged(trials(source))
    assert found.rho == pytest.approx(stats.spearmanr(source, ACCURACIES).statistic)
    assert found.regret == pytest.approx(0.6 - 0.5)  # it calls the second trial best, and the fourth is
    assert (found.num_studies, found.num_trials, found.interval) == (1, 6, None)
    assert judged(trials(source), ANY_TRIAL).regret == pytest.approx(0.6 - 0.35)


def test_of_trials_that_are_called_equally_good_the_mean_counts() -> None:
    assert judged(trials((0.9, 0.9, 0.1, 0.1, 0.1, 0.1))).regret == pytest.approx(0.6 - 0.3)


def test_studies_weigh_alike_whatever_their_level() -> None:
    """One study is ranked rightly, the other the wrong way round; that one target is harder adds nothing."""
    worse = [value / 10 for value in ACCURACIES]
    records = trials(ACCURACIES) + trials([-value for value in worse], worse, target="sign")
    found = judged(records)
    assert found.rho == pytest.approx(0)
    assert found.interval == pytest.approx((-1, 1))
    assert (found.num_studies, found.num_trials) == (2, 12)


@pytest.mark.parametrize(("name", "path", "sign"), [(name, *found) for name, found in CRITERIA.items()])
def test_every_criterion_counts_as_more_where_it_is_better(name: str, path: tuple[str, ...], sign: int) -> None:
    def with_value(record: TrialRecord, value: float) -> TrialRecord:
        found: Any = value
        for key in reversed(path):
            found = {key: found}
        return replace(record, evaluations=({**record.evaluations[0], **found},))

    constant = trials([0.5] * 6)
    records = [with_value(r, sign * a) for r, a in zip(constant, ACCURACIES, strict=True)]
    assert judged(records, name).rho == pytest.approx(1)
    assert judged(records, name).regret == pytest.approx(0)


def test_only_finished_search_trials_with_an_accuracy_on_the_target_count() -> None:
    whole = trials(ACCURACIES)
    others = [
        replace(whole[0], number=6, state="pruned"),
        replace(whole[0], number=7, state="running"),
        replace(whole[0], number=8, state="failed", evaluations=()),
        replace(whole[0], stage="final"),
        *trials([0.5] * 3, [None] * 3),  # of a cross-validation over domains
    ]
    assert judged(whole + others).num_trials == 6
    assert source_criteria_of(whole[:5] + others) == ()


def test_a_constant_criterion_has_no_coefficient_and_one_that_nobody_has_no_row() -> None:
    (found,) = source_criteria_of(trials([0.5] * 6))
    assert list(found.judged) == ["validation accuracy", ANY_TRIAL]
    constant = found.judged["validation accuracy"]["erm"]
    assert constant.rho is None
    assert constant.regret == pytest.approx(found.judged[ANY_TRIAL]["erm"].regret)


def test_page_markdown_and_json_have_it() -> None:
    records = sweep_records()
    comparison, details = compare(records), details_of(records, (), None)
    markdown, page = to_markdown(comparison, details), to_html("made", comparison, details)
    for name in details.source_criteria[0].judged:
        assert f"| {name} | erm |" in markdown
        assert name in page
    assert "What can be trusted" in page
    (made,) = json.loads(json.dumps(to_json(comparison, details), allow_nan=False))["source_criteria"]
    assert made["dataset"] == "digits"
    own = made["judged"]["validation accuracy"]["erm"]
    assert own["rho"] == pytest.approx(details.source_criteria[0].judged["validation accuracy"]["erm"].rho)
    assert set(own) == {"num_studies", "num_trials", "rho", "interval", "regret"}


def test_the_oracle_is_marked_and_too_few_trials_leave_it_out() -> None:
    records = sweep_records(oracle=True)
    text = to_markdown(compare(records), details_of(records, (), None))
    assert "ORACLE, digits: which criterion on source domains can be trusted" in text
    few = trials(ACCURACIES)[:5]
    assert "can be trusted" not in to_markdown(compare(few), details_of(few, (), None))
