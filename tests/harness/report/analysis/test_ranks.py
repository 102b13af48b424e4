"""Mean ranks and their critical difference, against published numbers and by hand."""

import numpy as np
import pytest

from harness.report.analysis.cells import Cell
from harness.report.analysis.ranks import ranks_of
from harness.report.analysis.setting_table import MOST_COMPARED, Section, SettingTable
from harness.report.text.findings import finding
from harness.report.text.rank_grid import rank_grid
from tests.harness.report.analysis.test_contrasts import sweep
from tests.harness.report.text.test_report import only


def section(accuracies: dict[str, list[float]], metric: str = "overall") -> Section:
    targets = tuple(f"t{n}" for n in range(len(next(iter(accuracies.values())))))
    cells = {(a, t): Cell(mean=value) for a, row in accuracies.items() for t, value in zip(targets, row, strict=True)}
    means = {a: Cell(mean=float(np.mean(row))) for a, row in accuracies.items()}
    return Section(metric=metric, values={}, cells=cells, means=means, mean_over=targets, contrasts=(), pairwise=())


def table(part: Section) -> SettingTable:
    return SettingTable(
        dataset="digits",
        setting="natural",
        imbalance={},
        algorithms=tuple(part.means),
        targets=part.mean_over,
        sections=(part,),
        budgets={},
        failed={},
    )


def test_the_critical_difference_is_demsars() -> None:
    rng = np.random.default_rng(0)
    ranks = ranks_of(section({name: list(rng.random(14)) for name in "abcd"}), tuple("abcd"))
    assert ranks is not None
    assert ranks.critical_difference == pytest.approx(1.25, abs=0.01)  # Demšar 2006, section 3.2.2


def test_equal_accuracies_share_their_ranks() -> None:
    ranks = ranks_of(section({"a": [0.9, 0.5], "b": [0.9, 0.7], "c": [0.1, 0.6]}), ("a", "b", "c"))
    assert ranks is not None
    assert ranks.means == {"b": 1.25, "a": 2.25, "c": 2.5}


def test_all_the_same_is_no_difference() -> None:
    ranks = ranks_of(section({name: [0.5, 0.5, 0.5] for name in "abc"}), tuple("abc"))
    assert ranks is not None
    assert ranks.p == 1.0
    assert set(ranks.means.values()) == {2.0}


@pytest.mark.parametrize("accuracies", [{"a": [0.1, 0.2], "b": [0.2, 0.3]}, {"a": [0.1], "b": [0.2], "c": [0.3]}])
def test_too_few_are_not_ranked(accuracies: dict[str, list[float]]) -> None:
    part = section(accuracies)
    assert ranks_of(part, tuple(accuracies)) is None
    assert rank_grid(table(part)) is None


def test_the_grid_has_the_best_first_and_says_what_can_be_told() -> None:
    rng = np.random.default_rng(1)
    far = {name: list(number / 100 + rng.random(30) / 1000) for number, name in enumerate("abcdef")}
    grid = rank_grid(table(section(far)))
    assert grid is not None
    [rows] = grid.blocks
    assert [row.labels[0] for row in rows] == list("fedcba")
    assert [row.cells[0] for row in rows] == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]
    assert rows[0].bold[0]
    assert not rows[-1].bold[0]
    near = rank_grid(table(section({name: list(rng.random(3)) for name in "abc"})))
    assert near is not None
    assert "here none are further apart" in near.notes[0]


def test_of_many_algorithms_a_sentence_names_those_that_differ() -> None:
    gains = {f"a{n}": 0.0 for n in range(MOST_COMPARED)} | {"best": 0.2}
    many = only(sweep(gains))
    text = finding(many)
    assert "best is higher than a0 by " in text
    assert "11 of 12 can't be told from a0" in text
    assert len(text) < 300
    assert all(not part.pairwise for part in many.sections)
    assert rank_grid(many) is not None
    level = finding(only(sweep(dict.fromkeys(gains, 0.0))))
    assert "12 of 12 can't be told from a0, nor can " in level
