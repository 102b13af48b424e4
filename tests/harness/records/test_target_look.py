"""What the last evaluation has learned of the selected one stands with the latter: in records, files and MLflow."""

from typing import Any

from harness.records.record import joined
from tests.made.made_records import evaluation, record

UNSEEN = dict.fromkeys(("overall", "balanced"), None) | {"num_images": 0}
SEEN = {"overall": 0.75, "num_images": 4}
LOOK = {"step": 4, "target": SEEN, "calibration": {"temperature": 2.0}, "target_confusion": [[2, 0], [1, 1]]}


def without_target(step: int) -> dict[str, Any]:
    return evaluation(step) | {"target": UNSEEN}


def test_an_earlier_evaluation_gets_what_was_learned_of_it() -> None:
    earlier = [without_target(2), without_target(4)]
    found = joined(earlier, without_target(6) | {"selected": LOOK})
    assert found == [without_target(2), without_target(4) | LOOK, without_target(6)]


def test_the_last_may_be_the_selected_one() -> None:
    found = joined([without_target(2)], without_target(4) | {"selected": LOOK})
    assert found == [without_target(2), without_target(4) | LOOK]


def test_a_record_told_twice_of_its_last_evaluation_stays_as_it_is() -> None:
    made = record(steps=())
    told = [without_target(2), without_target(4), without_target(6) | {"selected": LOOK}]
    for each in (*told, told[-1]):
        made = made.with_evaluation(each)
    assert [each["step"] for each in made.evaluations] == [2, 4, 6]
    assert [each["target"]["num_images"] for each in made.evaluations] == [0, 4, 0]
    assert made.evaluations[1]["target_confusion"] == [[2, 0], [1, 1]]
    assert made.has_target
