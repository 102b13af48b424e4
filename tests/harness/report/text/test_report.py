"""The comparison, from records written by hand: numbers, marks, and how they look."""

import io
import math
import re
import statistics
from dataclasses import replace

import pytest
from rich.console import Console

from harness.records import StudyKey, TrialRecord
from harness.report import compare
from harness.report.analysis.cells import METRICS, Cell
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.console import to_console
from harness.report.text.markdown import to_markdown
from ndcl.errors import UserError


def evaluation(step: int, validation: float | None, target: float | None, **shots: float | None) -> dict:
    return {"step": step, "validation_accuracy": validation, "target": {**dict.fromkeys(METRICS, target), **shots}}


def record(algorithm, target, stage, number, *evaluations, seed=None, state="finished", setting="long_tail-65"):
    key = StudyKey(algorithm=algorithm, dataset="digits", setting=setting, target=target)
    imbalance = {"setting": "long_tail", "ratio": 65}
    config = {"seed": number + 1 if seed is None else seed, "num_steps": 10, "imbalance": imbalance}
    return TrialRecord(
        study=key, stage=stage, number=number, values={}, config=config, state=state, evaluations=evaluations
    )


def finals(algorithm: str, target: str, *accuracies: float) -> list[TrialRecord]:
    return [record(algorithm, target, "final", n, evaluation(10, 0.5, a)) for n, a in enumerate(accuracies)]


def search(algorithm: str, target: str, accuracy: float) -> TrialRecord:
    return record(algorithm, target, "search", 0, evaluation(10, 0.5, accuracy), seed=0)


def only(records: list[TrialRecord]) -> SettingTable:
    (table,) = compare(records).tables
    return table


def section(table: SettingTable, metric: str = "overall") -> Section:
    return next(s for s in table.sections if s.metric == metric)


def difference(table: SettingTable) -> Contrast:
    """The only one in overall accuracy."""
    (contrast,) = section(table).contrasts
    return contrast


def printed(records: list[TrialRecord], width: int = 100, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(to_console(compare(records)))
    return out.getvalue()


FULL = [
    *finals("ndcl", "scan", 0.40, 0.44),
    *finals("erm", "scan", 0.30, 0.32),
    *finals("ndcl", "sign", 0.20, 0.24, 0.28),
    *finals("erm", "sign", 0.22, 0.24, 0.26),
]


# The numbers


def test_mean_standard_error_and_number_of_seeds():
    cell = section(only(FULL)).cells["ndcl", "sign"]
    assert cell.mean == pytest.approx(0.24)
    assert cell.error == pytest.approx(statistics.stdev([0.20, 0.24, 0.28]) / math.sqrt(3))
    assert cell.num_seeds == 3
    assert not cell.provisional


def test_mean_over_targets_with_the_error_of_independent_numbers():
    table = only(FULL)
    scan, sign = (section(table).cells["erm", target] for target in ("scan", "sign"))
    mean = section(table).means["erm"]
    assert mean.mean == pytest.approx((0.31 + 0.24) / 2)
    assert mean.error == pytest.approx(math.sqrt(scan.error**2 + sign.error**2) / 2)
    assert mean.num_seeds == 2  # the fewest of a target


def test_difference_is_paired_by_seed():
    contrast = difference(only(FULL))
    assert (contrast.algorithm, contrast.reference) == ("ndcl", "erm")
    assert contrast.by_target["sign"].mean == pytest.approx(0.0)
    assert contrast.by_target["sign"].error == pytest.approx(0.02 / math.sqrt(3))  # of -.02, 0, .02; unpaired .026
    assert contrast.by_target["scan"].mean == pytest.approx(0.11)
    assert contrast.mean.mean == pytest.approx(0.055)
    assert contrast.result.num_pairs == 5


def test_pairs_are_found_by_seed_whatever_the_order():
    shuffled = [
        record("ndcl", "scan", "final", 0, evaluation(1, 0.5, 0.5), seed=2),
        record("ndcl", "scan", "final", 1, evaluation(1, 0.5, 0.3), seed=1),
        record("erm", "scan", "final", 0, evaluation(1, 0.5, 0.2), seed=1),
        record("erm", "scan", "final", 1, evaluation(1, 0.5, 0.4), seed=2),
    ]
    assert difference(only(shuffled)).by_target["scan"].error == pytest.approx(0.0)


def test_only_seeds_that_both_have_are_compared():
    table = only([*finals("ndcl", "scan", 0.5, 0.6, 0.9), *finals("erm", "scan", 0.4, 0.3)])
    assert difference(table).by_target["scan"] == Cell(
        mean=pytest.approx(0.2), error=pytest.approx(0.1), num_seeds=2
    )  # of 0.1 and 0.3
    assert section(table).cells["ndcl", "scan"].num_seeds == 3


def test_no_difference_without_a_common_seed():
    lone = record("ndcl", "scan", "final", 0, evaluation(10, 0.5, 0.5), seed=7)
    contrast = difference(only([lone, *finals("erm", "scan", 0.4)]))
    assert (contrast.by_target, contrast.mean, contrast.result) == ({}, None, None)


def test_the_checkpoint_is_chosen_by_source_validation_never_by_the_target():
    run = record("erm", "scan", "final", 0, evaluation(1, 0.6, 0.1), evaluation(2, 0.5, 0.9), evaluation(3, None, 1.0))
    assert section(only([run])).cells["erm", "scan"].mean == pytest.approx(0.1)


def test_every_metric_has_its_own_numbers_and_may_be_empty():
    shots = {"overall": 0.1, "balanced": 0.2, "many": 0.3, "median": None, "few": 0.5}
    table = only([record("erm", "scan", "final", 0, evaluation(1, 0.5, None, **shots))])
    found = {metric: section(table, metric).cells.get(("erm", "scan")) for metric in METRICS}
    assert {m: None if cell is None else cell.mean for m, cell in found.items()} == shots


def test_a_single_seed_has_no_error():
    cell = section(only(finals("erm", "scan", 0.3))).cells["erm", "scan"]
    assert (cell.error, cell.num_seeds) == (None, 1)


# What is missing


def test_without_final_runs_the_selected_search_trial_stands_in():
    worse = record("ndcl", "scan", "search", 1, evaluation(10, 0.4, 0.9), seed=0)
    table = only([search("ndcl", "scan", 0.35), worse, *finals("erm", "scan", 0.3, 0.3)])
    cell = section(table).cells["ndcl", "scan"]
    assert (cell.mean, cell.provisional) == (0.35, True)
    assert difference(table).by_target["scan"] == Cell(mean=pytest.approx(0.05))
    assert difference(table).mean.provisional
    assert difference(table).result is None
    assert section(table).means["ndcl"].provisional
    assert not section(table).means["erm"].provisional
    assert table.budgets["ndcl", "scan"].seeds == ()


@pytest.mark.parametrize("state", ["running", "interrupted", "failed", "pruned"])
def test_final_runs_count_once_they_have_finished(state):
    unfinished = record("erm", "scan", "final", 1, evaluation(10, 0.5, 0.9), state=state)
    table = only([search("erm", "scan", 0.1), *finals("erm", "scan", 0.3), unfinished])
    assert section(table).cells["erm", "scan"].mean == pytest.approx(0.3)
    assert table.budgets["erm", "scan"].seeds == (1,)


def test_the_mean_is_over_targets_that_all_algorithms_have():
    table = only([*FULL, *finals("erm", "texture", 0.9, 0.9)])
    assert section(table).mean_over == ("scan", "sign")
    assert section(table).means["erm"].mean == pytest.approx((0.31 + 0.24) / 2)
    assert ("ndcl", "texture") not in section(table).cells
    assert "texture" not in difference(table).by_target
    assert difference(table).result.num_pairs == 5
    assert "overall: the mean is over scan, sign only" in to_markdown(compare([*FULL, *finals("erm", "texture", 0.9)]))


def test_no_mean_without_a_common_target():
    table = only([*finals("erm", "scan", 0.5), *finals("ndcl", "sign", 0.5)])
    assert section(table).means == {}
    assert difference(table).by_target == {}
    assert "overall" in printed([*finals("erm", "scan", 0.5), *finals("ndcl", "sign", 0.5)])


def test_final_runs_of_values_that_were_surpassed_do_not_count():
    first = replace(search("erm", "scan", 0.2), values={"algorithm.alpha": 1.0})
    better = replace(first, number=1, values={"algorithm.alpha": 2.0}, evaluations=(evaluation(10, 0.6, 0.4),))
    old = [replace(r, values=first.values) for r in finals("erm", "scan", 0.20, 0.22)]
    new = replace(record("erm", "scan", "final", 5, evaluation(10, 0.6, 0.50), seed=1), values=better.values)
    assert only([first, *old]).budgets["erm", "scan"].seeds == (1, 2)
    assert only([first, better, *old]).budgets["erm", "scan"].seeds == ()
    table = only([first, better, *old, new])
    assert table.budgets["erm", "scan"].seeds == (1,)
    assert section(table).cells["erm", "scan"].mean == pytest.approx(0.50)


def test_a_study_without_any_value_is_shown_empty():
    failed = record("ndcl", "scan", "search", 0, state="failed")
    text = printed([failed, *finals("erm", "scan", 0.3, 0.5)])
    assert "Failed trials, which are not counted: 1 of ndcl on scan." in text
    row = next(line for line in text.splitlines() if line.strip().startswith("ndcl"))
    assert row.split() == ["ndcl", "-", "-"]


def test_nothing_at_all():
    assert printed([]).strip() == "No trial has finished yet."
    assert to_markdown(compare([])) == "No trial has finished yet.\n"


# How it looks


def test_one_table_per_setting_in_order():
    other = record("erm", "scan", "final", 0, evaluation(1, 0.5, 0.5), setting="natural")
    assert [table.setting for table in compare([*FULL, other]).tables] == ["long_tail-65", "natural"]
    assert "digits, natural: accuracy" in printed([*FULL, other])


def test_the_reference_stands_first_and_the_others_as_they_come():
    records = [r for a in ("ndcl", "focal", "erm") for r in finals(a, "scan", 0.5)]
    assert only(records).algorithms == ("erm", "ndcl", "focal")
    (table,) = compare(records, reference="focal").tables
    assert table.algorithms == ("focal", "ndcl", "erm")
    assert [contrast.name for contrast in section(table).contrasts] == ["ndcl - focal", "erm - focal"]


def test_without_erm_the_first_algorithm_is_the_reference():
    comparison = compare([*finals("ndcl", "scan", 0.5), *finals("focal", "scan", 0.5)])
    assert comparison.reference == "ndcl"
    assert difference(comparison.tables[0]).name == "focal - ndcl"


def test_an_unknown_reference_is_refused():
    with pytest.raises(UserError, match="reference: unknown algorithm 'em'; did you mean 'erm'"):
        compare(FULL, reference="em")


def test_a_table_without_the_reference_has_no_contrasts():
    other = record("ndcl", "scan", "final", 0, evaluation(1, 0.5, 0.5), setting="natural")
    table = compare([*FULL, other]).tables[1]
    assert (table.algorithms, section(table).contrasts) == (("ndcl",), ())
    assert "difference" not in to_markdown(compare([other]))


def test_rows_columns_and_tables_stand_in_the_order_of_the_plan():
    keys = [
        StudyKey(algorithm=algorithm, dataset="digits", setting=setting, target=target)
        for setting in ("natural", "long_tail-65")
        for target in ("texture", "sign", "scan")
        for algorithm in ("ndcl", "erm", "focal")
    ]
    natural = record("ndcl", "scan", "final", 0, evaluation(1, 0.5, 0.5), setting="natural")
    comparison = compare([*FULL, *finals("focal", "sign", 0.1), natural], studies=keys)
    assert [table.setting for table in comparison.tables] == ["natural", "long_tail-65"]
    assert comparison.tables[1].targets == ("sign", "scan")
    assert comparison.tables[1].algorithms == ("erm", "ndcl", "focal")


def test_four_targets_fit_into_100_columns():
    domains = ("scan", "texture", "print", "sign")
    records = [r for a in ("erm", "ndcl") for t in domains for r in finals(a, t, 0.111, 0.555, 0.888)]
    lines = printed(records).splitlines()
    row = next(line for line in lines if "overall" in line)
    assert row.split() == ["overall", "erm", *["51.8", "±22.5"] * 4, "51.8", "±11.3"]
    assert "…" not in "".join(lines)
    assert max(len(line.rstrip()) for line in lines) <= 100


def test_with_many_targets_nothing_is_cut_off():
    domains = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    text = printed([r for a in ("erm", "ndcl") for t in domains for r in finals(a, t, 0.111, 0.555, 0.888)])
    assert "…" not in text
    assert text.count("±22.5") == 2 * 6 * len(METRICS)


def test_terminal_and_markdown_hold_the_same_rows():
    markdown = to_markdown(compare(FULL)).replace("*", "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    text = [line.split() for line in printed(FULL).splitlines()]
    for row in (row for row in rows if not row[0].startswith("---")):
        assert " ".join(row).split() in text
    assert ["", "ndcl - erm", "+11.0 ±1.0", "+0.0 ±1.2", "+5.5 ±0.8"] in rows
    assert ["seeds", "erm", "2", "3", "2 to 3"] in rows


def test_the_best_of_a_column_is_bold_also_when_equal_as_printed():
    markdown = to_markdown(compare([*FULL, *finals("focal", "scan", 0.42), *finals("focal", "sign", 0.2)]))
    rows = {line.split("|")[2].strip(): line for line in reversed(markdown.splitlines()) if line.startswith("|")}
    assert "**42.0**" in rows["focal"]
    assert "**42.0 ±2.0**" in rows["ndcl"]
    assert "**24.0 ±1.2**" in rows["erm"]  # 0.24 for both
    assert "**" not in rows["ndcl - erm"]
    assert re.search(r"\x1b\[1m *42\.0 ±2\.0", printed(FULL, color=True))
    assert not re.search(r"\x1b\[1m *31\.0 ±1\.0", printed(FULL, color=True))


def test_a_lone_algorithm_is_not_bold():
    assert "**" not in to_markdown(compare(finals("ndcl", "scan", 0.5, 0.6)))


def test_provisional_numbers_are_starred_and_explained():
    records = [search("ndcl", "scan", 0.35), *finals("erm", "scan", 0.3, 0.3)]
    assert "35.0*" in printed(records)
    assert "* rests on one search trial" in printed(records)
    assert r"**35.0\***" in to_markdown(compare(records))
    assert "search trial" not in printed(FULL)
