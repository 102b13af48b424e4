"""What a report shows is chosen on source domains; the oracle, and searches for several objectives, are told."""

import json
import re
from dataclasses import replace
from itertools import permutations

import pytest

from harness.report import compare
from harness.report.analysis.comparison import ORACLE_WARNING
from harness.report.analysis.details import details_of
from harness.report.analysis.fronts import fronts_of
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.markdown import to_markdown
from ndcl.criteria import ORACLE
from tests.harness.report.text.test_report import only, printed, section
from tests.made.made_records import measured

TWO = ("validation_accuracy", "worst_domain_accuracy")


def trial(number, *merits, names=("validation_accuracy",), target_accuracy=0.5):
    """A search trial with one checkpoint, and values of its own."""
    values = {"optimizer.learning_rate": number}
    found = dict(zip(names, merits, strict=True))
    return measured("erm", "scan", target_accuracy, seed=0, stage="search", number=number, values=values, merits=found)


def final(seed, number, names=("validation_accuracy",), target_accuracy=0.5, validation=0.5):
    """A final run of the values of search trial `number`."""
    merits = dict.fromkeys(names, validation)
    return measured(
        "erm", "scan", target_accuracy, seed=seed, values={"optimizer.learning_rate": number}, merits=merits
    )


def with_checkpoint(record, validation, target_accuracy):
    """The record with a later checkpoint."""
    part = dict.fromkeys(record.evaluations[0]["target"], target_accuracy)
    return record.with_evaluation({"step": 20, "validation_accuracy": validation, "target": part})


def test_permuting_the_target_accuracies_changes_no_choice():
    """Every checkpoint has its own accuracy on the target; whichever it is, the same checkpoints are shown."""
    found = set()
    for order in permutations(range(5)):
        accuracy = [0.1 * place for place in order]
        best = with_checkpoint(trial(0, 0.6, target_accuracy=accuracy[0]), 0.7, accuracy[1])
        others = [trial(1, 0.65, target_accuracy=accuracy[2]), trial(2, 0.1, target_accuracy=accuracy[3])]
        run = with_checkpoint(final(1, number=0, target_accuracy=accuracy[4]), 0.4, 0.9)
        for records in ([best, *others], [best, *others, run]):
            (shown,) = section(only(records)).values["erm", "scan"].values()
            found.add((len(records), accuracy.index(shown)))
    assert found == {(3, 1), (4, 4)}


@pytest.mark.parametrize("better_on_target", [0, 1])
def test_of_the_best_k_the_final_runs_on_source_domains_decide(better_on_target):
    """Trial 1 won the search, but trial 0 is better over the final seeds, whatever the target says."""
    records = [trial(0, 0.6), trial(1, 0.7)]
    for number, validation in ((0, 0.65), (1, 0.62)):
        accuracy = 0.9 if number == better_on_target else 0.1
        records += [
            replace(run, number=2 * number + run.number)
            for seed in (1, 2)
            for run in [final(seed, number, target_accuracy=accuracy, validation=validation)]
        ]
    shown = {k: compare(records, top_k=k).tables[0].sections[0].cells["erm", "scan"].mean for k in (1, 2)}
    assert shown == pytest.approx({1: 0.9, 2: 0.1} if better_on_target == 1 else {1: 0.1, 2: 0.9})


# The oracle


def outputs(records) -> list[str]:
    comparison, details = compare(records), details_of(records, (), None)
    page = to_html("made", comparison, details)
    return [printed(records, width=200), to_markdown(comparison), json.dumps(to_json(comparison, details)), page]


@pytest.mark.parametrize("names", [(ORACLE,), ("validation_accuracy", ORACLE)])
def test_the_oracle_is_marked_at_every_table_of_every_output(names):
    records = [trial(0, *[0.6] * len(names), names=names)]
    for algorithm in ("erm", "ndcl", "focal"):
        for ratio in (10, 65):
            merits, values = dict.fromkeys(names, 0.5), records[0].values
            records += [
                measured(algorithm, "scan", 0.5, seed=seed, ratio=ratio, merits=merits, values=values)
                for seed in (1, 2)
            ]
    comparison = compare(records)
    assert comparison.oracle
    terminal, markdown, data, page = outputs(records)
    titles = [line for line in markdown.splitlines() if line.startswith("### ")]
    assert len(titles) == 7 + len(comparison.fronts)  # accuracies, contrasts, matrix twice; the curve
    assert all(title.startswith("### ORACLE, ") for title in titles)
    assert markdown.count(f"- {ORACLE_WARNING}") == len(titles)
    assert terminal.count(ORACLE_WARNING) == terminal.count("\nORACLE, ") + terminal.startswith("ORACLE, ") == 5
    assert (json.loads(data)["oracle"], json.loads(data)["warning"]) == (True, ORACLE_WARNING)
    captions = re.findall("<caption>([^<]*)", page)
    assert len(captions) > 20
    assert [caption for caption in captions if not caption.startswith("ORACLE, ")] == [captions[-1]]
    assert captions[-1].startswith("What was spent")
    assert "selected by" in terminal


def test_without_the_oracle_nothing_is_marked():
    assert not any("ORACLE" in text for text in outputs([trial(0, 0.6), final(1, number=0)]))
    assert not any("selected by" in text for text in outputs([trial(0, 0.6)]))


def test_another_criterion_than_the_usual_is_named():
    records = [trial(0, 0.6, names=("worst_domain_accuracy",))]
    for text in (*outputs(records)[:2], outputs(records)[3]):
        assert "Checkpoints and trials are selected by worst_domain_accuracy." in text
    assert json.loads(outputs(records)[2])["criteria"] == ["worst_domain_accuracy"]


def test_the_criteria_are_those_of_the_search():
    """Final runs after leave-one-domain-out are judged by their last step."""
    records = [trial(0, 0.6, names=("leave_one_domain_out_accuracy",)), final(1, number=0, names=("last_step",))]
    assert compare(records).criteria == ("leave_one_domain_out_accuracy",)


# Several objectives


def front(records):
    (found,) = fronts_of(records, 1)
    return found


POINTS = [(0.60, 0.30), (0.50, 0.45), (0.55, 0.25), (0.40, 0.50), (0.50, 0.20)]


def test_the_front_is_that_of_a_plain_search_for_dominating_trials():
    records = [trial(number, *point, names=TWO) for number, point in enumerate(POINTS)]
    expected = [
        number
        for number, (a, b) in enumerate(POINTS)
        if not any(c >= a and d >= b and (c, d) != (a, b) for c, d in POINTS)
    ]
    found = front(records)
    assert [one.number for one in found.trials] == expected == [0, 1, 3]
    assert found.trials[1].values == {TWO[0]: 0.50, TWO[1]: 0.45}
    assert (found.objectives, found.num_finished) == (TWO, 5)


def test_trials_that_did_not_finish_are_not_on_the_front():
    pruned = replace(trial(9, 0.9, 0.9, names=TWO), state="pruned")
    found = front([trial(0, 0.5, 0.5, names=TWO), pruned])
    assert ([one.number for one in found.trials], found.num_finished) == ([0], 1)


def test_the_selected_trial_is_that_of_the_final_runs():
    records = [trial(number, *point, names=TWO) for number, point in enumerate(POINTS)]
    selected = next(one.number for one in front(records).trials if one.selected)
    shown = [*records, final(1, number=selected, names=TWO)]
    assert [one.number for one in front(shown).trials if one.selected] == [selected]
    lines = to_markdown(compare(shown)).split("Pareto front")[1].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert rows[0] == "| trial | validation_accuracy | worst_domain_accuracy |  |"
    assert [row.split("|")[1].strip() for row in rows if "**selected**" in row] == [str(selected)]
    assert "| 1 | 50.0 | 45.0 |" in "\n".join(rows)
    assert "3 of 5 finished search trials" in "\n".join(lines)


def test_the_terminal_says_where_the_fronts_are():
    records = [trial(number, *point, names=TWO) for number, point in enumerate(POINTS)]
    assert "Pareto fronts of the searches: in report.md" in printed(records)
    assert "worst_domain_accuracy |" not in printed(records)
    assert "Pareto" not in printed([trial(0, 0.5)])


def test_a_single_objective_has_no_front():
    assert fronts_of([trial(0, 0.5), trial(1, 0.6)], 1) == ()
    assert fronts_of([], 1) == ()
