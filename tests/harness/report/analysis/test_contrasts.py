"""Differences in a report: what the statistics rest on, when they say something, and how they are printed."""

from dataclasses import replace

import numpy as np
import pytest

from harness.records.record import WARM_STARTED
from harness.report import compare
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import details_of
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.markdown import to_markdown
from tests.harness.report.text.test_report import difference, only, printed, section
from tests.made.made_records import measured

TARGETS = ("print", "scan", "sign", "texture")
SEEDS = (1, 2, 3)


def sweep(gains, deviation=0.01, seeds=SEEDS, targets=TARGETS, **changes):
    """Final runs of algorithms that are better than 50 % by `gains`, with the same random deviations at every call."""
    rng = np.random.default_rng(0)
    return [
        measured(algorithm, target, 0.5 + gain + float(rng.normal(0, deviation)), seed=seed, **changes)
        for algorithm, gain in gains.items()
        for target in targets
        for seed in seeds
    ]


def verdicts(comparison: Comparison) -> dict:
    contrasts = section(comparison.tables[0]).contrasts
    return {contrast.algorithm: contrast.result.verdict for contrast in contrasts}


def grid_row(records, metric: str, name: str, width: int = 100) -> list[str]:
    """The row of the contrasts' table in the terminal, from the mean on."""
    lines = printed(records, width).split("mean difference")[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == [metric])
    return next(line for line in lines[start:] if name in line.split()).split(name)[1].split()


def test_a_true_difference_is_told_from_noise():
    records = sweep({"erm": 0.0, "ndcl": 0.06, "focal": 0.0, "ldam": -0.06})
    assert verdicts(compare(records)) == {"ndcl": "higher", "focal": "within noise", "ldam": "lower"}
    assert grid_row(records, "overall", "ndcl")[-1] == "higher"
    assert grid_row(records, "few", "focal")[-2:] == ["within", "noise"]
    assert ", with p Holm-corrected for 3 contrasts." in to_markdown(compare(records))


def test_numbers_are_those_of_the_pairs():
    records = sweep({"erm": 0.0, "ndcl": 0.03})
    values = {(r.study.algorithm, r.study.target, r.config["seed"]): r.evaluations[0]["target"] for r in records}
    pairs = [[values["ndcl", t, s]["few"] - values["erm", t, s]["few"] for s in SEEDS] for t in TARGETS]
    contrast = section(only(records), "few").contrasts[0]
    assert [contrast.by_target[t].mean for t in TARGETS] == pytest.approx(np.mean(pairs, axis=1))
    errors = np.std(pairs, axis=1, ddof=1) / np.sqrt(3)
    assert [contrast.by_target[t].error for t in TARGETS] == pytest.approx(errors)
    assert contrast.mean.mean == pytest.approx(np.mean(pairs))
    assert contrast.mean.error == pytest.approx(np.sqrt((errors**2).sum()) / 4)
    assert contrast.result.interval[0] < contrast.mean.mean < contrast.result.interval[1]
    assert contrast.result.num_pairs == 12
    shown = grid_row(records, "few", "ndcl")
    assert shown[0] == f"{100 * np.mean(pairs):+.1f}"
    assert shown[1:4] == [
        f"{100 * contrast.result.interval[0]:+.1f}",
        "to",
        f"{100 * contrast.result.interval[1]:+.1f}",
    ]


def test_another_reference_flips_the_signs():
    records = sweep({"erm": 0.0, "ndcl": 0.02})
    one, other = (difference(compare(records, reference=name).tables[0]) for name in ("erm", "ndcl"))
    assert (one.name, other.name) == ("ndcl - erm", "erm - ndcl")
    assert one.mean.mean == pytest.approx(-other.mean.mean)
    assert one.result.interval == pytest.approx([-bound for bound in reversed(other.result.interval)])
    assert one.result.p == other.result.p


def test_a_missing_study_leaves_its_domain_out_of_the_statistics_and_is_named():
    records = [r for r in sweep({"erm": 0.0, "ndcl": 0.06}) if (r.study.algorithm, r.study.target) != ("erm", "sign")]
    contrast = difference(only(records))
    assert contrast.result.num_pairs == 9
    assert "sign" not in contrast.by_target
    text = to_markdown(compare(records))
    assert "overall: the mean is over print, scan, texture only" in text
    assert "UNEQUAL BUDGET on sign: erm 0 trials, no final run; ndcl 0 trials, seeds 1 2 3." in text


def test_one_seed_shows_no_difference_however_large():
    records = sweep({"erm": 0.0, "ndcl": 0.4}, seeds=(1,))
    assert verdicts(compare(records)) == {"ndcl": "too few pairs"}
    assert grid_row(records, "overall", "ndcl")[1:] == ["-", "4", "0.125", "too", "few", "pairs"]
    assert "no difference could be shown with so few" in to_markdown(compare(records))


def test_one_target_has_no_interval_over_domains():
    records = sweep({"erm": 0.0, "ndcl": 0.1}, seeds=range(1, 9), targets=("scan",))
    result = difference(only(records)).result
    assert (result.interval_over_targets, result.verdict, result.num_pairs) == (None, "higher", 8)
    assert "over domains" not in printed(records)
    assert "over domains" in printed(sweep({"erm": 0.0, "ndcl": 0.1}))


@pytest.mark.parametrize(("low", "high", "noted"), [(0.10, 0.20, False), (-0.20, 0.30, True)])
def test_a_difference_that_hangs_on_the_domains_says_so(low, high, noted):
    seeds = range(1, 9)
    records = sweep({"erm": 0.0}, seeds=seeds)
    records += sweep({"ndcl": low}, seeds=seeds, targets=TARGETS[:1])
    records += sweep({"ndcl": high}, seeds=seeds, targets=TARGETS[1:])
    assert verdicts(compare(records)) == {"ndcl": "higher"}
    text = to_markdown(compare(records))
    assert ("overall, ndcl: higher on these target domains, but not to be expected of every other one" in text) == noted


def test_provisional_differences_are_shown_without_statistics():
    records = sweep({"erm": 0.0}) + sweep({"ndcl": 0.1}, seeds=(0,), stage="search", number=0)
    contrast = difference(only(records))
    assert contrast.mean.provisional
    assert contrast.result is None
    assert "mean difference" not in printed(records)
    records += sweep({"focal": 0.1})
    assert grid_row(records, "overall", "ndcl")[1:] == ["-", "-", "-", "-", "no", "pairs", "yet"]
    assert grid_row(records, "overall", "focal")[-1] == "higher"
    assert "Holm" not in printed(records)  # there is but one test


def test_a_metric_without_values_is_left_out():
    records = sweep({"erm": 0.0, "ndcl": 0.1})
    for record in records:
        record.evaluations[0]["target"]["many"] = None
    rows = [line.split()[:2] for line in printed(records).split("mean difference")[1].splitlines()]
    assert ["many", "ndcl"] not in rows
    assert ["median", "ndcl"] in rows


# Every two algorithms


def matrix(records) -> dict[str, list[str]]:
    """The rows of the first metric's matrix, as Markdown cells."""
    lines = to_markdown(compare(records)).split("every two algorithms")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    size = len(rows[0]) - 2
    return {row[1]: row[2:] for row in rows[2 : 2 + size]}


def test_the_matrix_has_every_two_algorithms_both_ways_round():
    records = sweep({"erm": 0.0, "ndcl": 0.06, "focal": 0.001}, deviation=0.004)
    rows = matrix(records)
    values = np.array([[float(cell.strip("*") or 0) for cell in row] for row in rows.values()])
    assert list(rows) == ["erm", "ndcl", "focal"]
    assert values == pytest.approx(-values.T)
    means = {name: cell.mean for name, cell in section(only(records)).means.items()}
    assert values[1, 2] == pytest.approx(100 * (means["ndcl"] - means["focal"]), abs=0.051)
    assert rows["erm"][0] == ""
    assert [cell.startswith("**") for cell in rows["ndcl"]] == [True, False, True]
    assert not rows["focal"][0].startswith("**")
    assert "by the same rule, with p Holm-corrected for 3 contrasts." in to_markdown(compare(records))


def test_two_algorithms_need_no_matrix():
    assert "every two algorithms" not in to_markdown(compare(sweep({"erm": 0.0, "ndcl": 0.1})))


def test_the_matrix_marks_what_is_missing_or_provisional():
    records = sweep({"erm": 0.0, "ndcl": 0.1}) + sweep({"focal": 0.2}, seeds=(0,), stage="search", number=0)
    assert matrix(records)["focal"][0].endswith(r"\*")
    lone = [measured("focal", target, 0.5, seed=9) for target in TARGETS]
    assert matrix(sweep({"erm": 0.0, "ndcl": 0.1}) + lone)["focal"] == ["-", "-", ""]


# Equal budgets


def searched(algorithm: str, number: int, target: str = "scan", **changes):
    return measured(algorithm, target, 0.5, seed=0, stage="search", number=number, **changes)


def test_equal_budgets_need_no_note():
    records = sweep({"erm": 0.0, "ndcl": 0.1}, targets=("scan",)) + [
        searched(a, n) for a in ("erm", "ndcl") for n in (0, 1)
    ]
    assert only(records).budgets["ndcl", "scan"].num_trials == 2
    assert "BUDGET" not in to_markdown(compare(records))


def test_fewer_trials_other_steps_and_other_seeds_are_told():
    records = [
        *sweep({"erm": 0.0}, targets=("scan", "sign")),
        *sweep({"ndcl": 0.1}, targets=("scan", "sign"), seeds=(1, 2)),
        *[searched("erm", n, target) for n in (0, 1, 2) for target in ("scan", "sign")],
        *[searched("ndcl", 0, target, num_steps=20) for target in ("scan", "sign")],
    ]
    note = "UNEQUAL BUDGET on scan, sign: erm 3 trials of 10 steps, seeds 1 2 3; ndcl 1 trial of 20 steps, seeds 1 2."
    assert note in to_markdown(compare(records))
    assert note in " ".join(printed(records).split())


def test_steps_are_those_of_the_search():
    """After leave-one-domain-out the final runs of each study stop where its search was best."""
    records = [
        *sweep({"erm": 0.0}, targets=("scan",), num_steps=4),
        *sweep({"ndcl": 0.1}, targets=("scan",), num_steps=8),
    ]
    records += [searched(algorithm, 0) for algorithm in ("erm", "ndcl")]
    assert only(records).budgets["ndcl", "scan"].num_steps == (10,)
    assert "BUDGET" not in to_markdown(compare(records))


@pytest.mark.parametrize(("state", "counted"), [("pruned", 2), ("failed", 2), ("running", 1), ("interrupted", 1)])
def test_trials_count_once_they_have_ended(state, counted):
    unfinished = replace(searched("erm", 1), state=state)
    assert only([searched("erm", 0), unfinished]).budgets["erm", "scan"].num_trials == counted


def test_a_start_with_values_that_knew_the_target_is_told_in_every_output():
    records = sweep({"erm": 0.0, "ndcl": 0.02})
    note = "WARM START: the search began with values selected with images of the target domain: ndcl on scan."
    assert note not in printed(records)
    started = [
        replace(r, notes={WARM_STARTED: "other"}) if (r.study.algorithm, r.study.target) == ("ndcl", "scan") else r
        for r in records
    ]
    comparison = compare(started)
    assert note in " ".join(printed(started).split())
    assert note in to_markdown(comparison)
    details = details_of(started, (), None)
    assert note in to_html("made", comparison, details)
    assert to_json(comparison, details)["tables"][0]["warm_started"] == [["ndcl", "scan"]]


def differing(by_target: dict[str, list[float]], others: int = 0) -> list:
    """Final runs of ERM at 50 %, NDCL with these differences, and more algorithms that hardly differ."""
    names = {
        f"other{n}": {t: [1e-4 * (-1) ** s for s, _ in enumerate(own)] for t, own in by_target.items()}
        for n in range(others)
    }
    gains = {"erm": {t: [0.0] * len(own) for t, own in by_target.items()}, "ndcl": by_target, **names}
    return [
        measured(name, target, 0.5 + gain, seed=seed)
        for name, targets in gains.items()
        for target, own in targets.items()
        for seed, gain in enumerate(own, 1)
    ]


REASONS = {
    "domains disagree": (
        {"print": [0.3, 0.31, 0.32], "scan": [-0.01, -0.012, -0.011], "sign": [-0.02, -0.021, -0.022]},
        0,
    ),
    "seeds disagree": ({"print": [-0.01, -0.01, 0.5, 0.5], "scan": [-0.01, -0.01, 0.5, 0.5]}, 0),
    "one of many contrasts": ({"print": [-0.001, 0.1, 0.11, 0.12, 0.13], "scan": [-0.002, 0.1, 0.11, 0.12, 0.13]}, 14),
}


@pytest.mark.parametrize("reason", REASONS)
def test_where_the_rank_test_alone_fails_it_is_said_why(reason):
    records = differing(*REASONS[reason])
    comparison = compare(records)
    contrast = next(each for each in section(comparison.tables[0]).contrasts if each.algorithm == "ndcl")
    assert contrast.result.interval[0] > 0
    assert contrast.result.verdict == "not significant"
    assert contrast.why_not_significant == reason
    markdown, page = to_markdown(comparison), to_html("made", comparison, details_of(records, (), None))
    assert f"not significant: {reason} |" in markdown
    assert f"not significant: {reason}<" in page
    assert markdown.count("not significant: it excludes 0, but p is 0.05 or more") == 1, "both are explained once"
    assert f", not significant: {reason}" in page or REASONS[reason][1], "of many those alone are told that differ"


def test_a_verdict_that_both_agree_on_has_no_reason():
    (contrast,) = section(only(sweep({"erm": 0.0, "ndcl": 0.06}))).contrasts
    assert (contrast.result.verdict, contrast.why_not_significant) == ("higher", None)
