"""What is called chance: by the number of classes, of validation images, and of evaluations that the best is of."""

import dataclasses

import numpy as np
import pytest

from harness.report import compare
from harness.report.analysis.chance import chance_limit, chance_lines, studies_at_chance
from harness.report.text.markdown import to_markdown
from tests.made.made_records import evaluation, guessing, key, record


@pytest.mark.parametrize(
    ("num_classes", "per_class", "num_evaluations"), [(5, 10, 1), (5, 10, 60), (10, 45, 20), (2, 50, 9)]
)
def test_guesses_keep_to_the_limit_95_times_in_100(num_classes: int, per_class: int, num_evaluations: int) -> None:
    random, num_images = np.random.default_rng(0), num_classes * per_class
    hits = random.binomial(num_images, 1 / num_classes, size=(4000, num_evaluations)).max(axis=1)
    below = (hits / num_images <= chance_limit(1 / num_classes, num_images, num_evaluations)).mean()
    assert 0.94 <= below <= 0.995


def test_a_study_is_at_chance_if_all_of_its_finished_trials_are() -> None:
    [found] = studies_at_chance([guessing(0), guessing(1, 0.22), record(2, "failed")])
    assert (found.study, found.num_trials, found.best, found.level, found.num_images) == (key(), 2, 0.22, 0.2, 100)
    assert 0.28 < found.limit < 0.31  # the best of four evaluations on 100 images
    assert not studies_at_chance([guessing(0), guessing(1, 0.32)])
    assert not studies_at_chance([guessing(0, state="running")])


def test_fewer_images_or_more_evaluations_need_more() -> None:
    limits = [chance_limit(0.2, *sizes) for sizes in ((1000, 1), (100, 1), (100, 10), (25, 10))]
    assert limits == sorted(limits)
    assert limits[0] == pytest.approx(0.2 + 1.645 * 0.4 / 1000**0.5, abs=1e-3)
    assert chance_limit(0.001, 100_000, 3) < 0.0013


def test_what_has_no_validation_of_several_classes_is_not_judged() -> None:
    bare = dataclasses.replace(record(0), evaluations=({**evaluation(4), "validation": {}},))
    assert not studies_at_chance([bare, record(1)])


def test_it_is_told_in_a_sentence_and_in_the_report() -> None:
    records = [guessing(0), guessing(1, of=key("ndcl")), guessing(2, 0.9, of=key("ndcl"))]
    [line] = chance_lines(records)
    assert line.startswith("study erm.digits.long_tail-20.scan: its finished trial is at chance: class-balanced valida")
    assert "of at most 20.0 %, where guessing gives 20.0 % and," in line
    text = to_markdown(compare(records))
    assert "AT CHANCE, no finished trial is distinguishable from guessing" in text
    assert "erm on scan (20.0 %" in text
    assert "ndcl on scan (" not in text
