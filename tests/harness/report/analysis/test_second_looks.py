"""What a second look changed, on records made by hand, and where the report says it."""

import dataclasses
import json

from harness.records import TrialRecord
from harness.records.record import CHECKPOINT_BY
from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.analysis.second_looks import SecondLook, second_look_of
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.markdown import to_markdown
from tests.made.made_records import measured

BY = "leave_one_domain_out_likelihood"


def trial(number: int, accuracy: float) -> TrialRecord:
    merits = {"validation_accuracy": accuracy}
    return measured("erm", "scan", 0.5, seed=0, stage="search", number=number, values={"rate": number}, merits=merits)


def look(number: int, at: TrialRecord, value: float) -> TrialRecord:
    merits = {BY: value, "validation_accuracy": 0.3}
    made = measured("erm", "scan", None, seed=0, stage="review", number=number, values=at.values, merits=merits)
    notes = {CHECKPOINT_BY: ["validation_accuracy"]}
    return dataclasses.replace(made, config=made.config | {"select_by": [BY]}, notes=notes)


TRIALS = [trial(0, 0.4), trial(1, 0.8), trial(2, 0.6)]
LOOKS = [look(0, TRIALS[1], 0.2), look(1, TRIALS[2], 0.3)]


def test_the_search_s_first_is_set_beside_the_chosen_one() -> None:
    assert second_look_of(TRIALS) is None
    found = second_look_of([*TRIALS, *LOOKS])
    assert found == SecondLook(by=BY, num_trials=2, first=1, chosen=2, first_value=0.2, chosen_value=0.3)
    failed = dataclasses.replace(LOOKS[1], state="failed")
    assert second_look_of([*TRIALS, LOOKS[0], failed]) == dataclasses.replace(
        found, num_trials=1, chosen=1, chosen_value=0.2
    )


def test_page_markdown_and_json_tell_of_it() -> None:
    records = [*TRIALS, *LOOKS]
    comparison, details = compare(records), details_of(records, (), None)
    assert details.cost.num_review == {"finished": 2}
    [told] = json.loads(json.dumps(to_json(comparison, details)))["studies"]
    assert (told["second_look"]["first"], told["second_look"]["chosen"]) == (1, 2)
    text = to_markdown(comparison, details)
    assert "| erm | scan | 2 | search-001 | 20.0 | search-002 | 30.0 |" in text
    assert "1 of 1 studies chose another trial" in text
    page = to_html("made", comparison, details)
    assert "search-002" in page
    assert "2 second looks" in page
    plain = details_of(TRIALS, (), None)
    assert "second look" not in to_markdown(compare(TRIALS), plain).lower()
    assert "second look" not in to_html("made", compare(TRIALS), plain).lower()


def test_what_is_shown_is_the_chosen_trial() -> None:
    [checkpoint] = TRIALS[2].evaluations
    better = checkpoint | {"target": checkpoint["target"] | {"overall": 0.7}}
    records = [*TRIALS[:2], dataclasses.replace(TRIALS[2], evaluations=(better,))]
    shown = [compare([*records, *more]).tables[0].sections[0].values["erm", "scan"] for more in ((), LOOKS)]
    assert shown == [{0: 0.5}, {0: 0.7}]
