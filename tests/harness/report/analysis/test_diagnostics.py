"""The diagnostics of the theory in the report: which trials count, where numbers come from, and who looks at them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from harness.records import TrialRecord, best_checkpoint
from harness.records.selection import ranking
from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.analysis.diagnostics import MEASURES, diagnoses_of
from harness.report.analysis.margins import margins_of, mean_margins
from harness.report.html.page import to_html
from harness.report.text.markdown import to_markdown
from ndcl.evaluation.diagnostics import SUMMARY
from tests.made.made_large_sweep import sweep_records
from tests.made.made_records import measured

ROOT = Path(__file__).parents[4]


def summary(mean: float) -> dict[str, float]:
    return dict(zip(SUMMARY, (mean + step for step in (0, -2, -1, 0, 1, 2)), strict=True))


def diagnostics(source: float, target: float, discrepancy: float | None = 0.2) -> dict[str, Any]:
    """Margins with these means, of two classes of which the second has no images."""
    return {
        side: {
            "margins": {
                "all": summary(mean), "many": summary(mean + 1), "median": None, "few": None, "zero": None,
                "per_class": {name: [value, None] for name, value in summary(mean).items()},
            },
            "posterior_discrepancy": discrepancy,
        }
        for side, mean in (("source", source), ("target", target))
    }  # fmt: skip


def trial(number: int, accuracy: float, *found: dict[str, Any] | None, merits=(0.5,), **changes: Any) -> TrialRecord:
    """A search trial with a checkpoint for each of `found`."""
    made = measured("erm", "scan", accuracy, stage="search", number=number, seed=0)
    points = [
        made.evaluations[0] | {"step": step, "diagnostics": own, "validation_accuracy": merit}
        for step, (own, merit) in enumerate(zip(found, merits, strict=True))
    ]
    return replace(made, evaluations=tuple(points), **changes)


def test_each_trial_counts_once_at_its_selected_checkpoint() -> None:
    found = [diagnostics(source, 10 * source) for source in (1.0, 2.0, 3.0)]
    (diagnosis,) = diagnoses_of([trial(0, 0.4, *found, merits=(0.1, 0.3, 0.2))])
    (only,) = diagnosis.trials
    assert (only.accuracy, only.stage, only.number) == (0.4, "search", 0)
    assert only.measures == {
        "source, mean margin": 2.0,
        "source, lowest 5 % of margins": 0.0,
        "source, few-shot margin": None,
        "source, posterior discrepancy": 0.2,
        "target, mean margin": 20.0,
        "target, lowest 5 % of margins": 18.0,
        "target, few-shot margin": None,
        "target, posterior discrepancy": 0.2,
    }


def test_trials_without_an_end_or_without_diagnostics_do_not_count_and_are_told() -> None:
    whole = diagnostics(1, 1)
    crossed = measured("erm", "scan", None, stage="search", number=4)  # a cross-validation has no target
    records = [
        trial(0, 0.4, whole),
        trial(1, 0.4, whole, state="pruned"),
        trial(2, 0.4, whole, state="running"),
        trial(3, 0.4, whole, state="failed"),
        crossed,
    ]
    (diagnosis,) = diagnoses_of(records)
    assert [one.number for one in diagnosis.trials] == [0, 1]
    assert diagnosis.num_without == 1
    assert diagnoses_of([crossed]) == ()


def test_correlations_are_by_algorithm_and_data_set_over_all_its_trials() -> None:
    records = sweep_records()
    (diagnosis,) = diagnoses_of(records)
    trained = [record for record in records if record.state in ("finished", "pruned")]
    assert len(diagnosis.trials) == len(trained)
    for name in ("erm", "ndcl"):
        own = [best_checkpoint(record) for record in trained if record.study.algorithm == name]
        x = [point["diagnostics"]["source"]["margins"]["all"]["q05"] for point in own]
        y = [point["target"]["overall"] for point in own]
        found = diagnosis.correlations["source, lowest 5 % of margins"][name]
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.num_trials == len(own)
    other = replace(trial(0, 0.3, diagnostics(1, 1)), study=replace(records[0].study, dataset="other"))
    assert [one.dataset for one in diagnoses_of([*records, other])] == ["digits", "other"]


def test_every_output_tells_the_correlations_their_n_and_what_they_are_not() -> None:
    records = sweep_records()
    comparison, details = compare(records), details_of(records, (), None)
    found = details.diagnoses[0].correlations["target, posterior discrepancy"]["ndcl"]
    low, high = (f"{end:+.2f}" for end in found.interval)
    markdown = to_markdown(comparison, details)
    row = f"|  | ndcl | falls | {found.num_trials} | {found.rho:+.2f} | {low} to {high} | {found.within:+.2f} | "
    assert row in markdown.split("| target, posterior discrepancy |")[1]
    page = to_html("made", comparison, details)
    for text in (markdown, page):
        assert "570 search trials, pruned ones too, and 132 final runs" in text
        assert "nothing was proposed, stopped or selected by it" in text
    assert page.count('class="points final s0"') == page.count('class="points search s0"') == len(MEASURES)
    assert "What the theory predicts" not in to_html("made", *without_diagnostics())


def without_diagnostics() -> tuple[Any, Any]:
    records = [measured("erm", "scan", 0.5)]
    return compare(records), details_of(records, (), None)


def test_margins_are_means_over_the_final_runs_at_their_selected_checkpoints() -> None:
    finals = [
        replace(trial(n, 0.5, diagnostics(9, 9), diagnostics(n, 2 * n), merits=(0.1, 0.2)), stage="final")
        for n in (1, 3)
    ]
    found = margins_of([*finals, trial(7, 0.5, diagnostics(50, 50))])
    assert found.num_seeds == 2
    assert found.groups["source"]["all"] == {"q05": 0, "q25": 1, "q50": 2, "q75": 3, "q95": 4}
    assert found.groups["target"]["many"]["q50"] == 5
    assert "few" not in found.groups["target"]
    assert found.per_class == {"source": (2.0, None), "target": (4.0, None)}
    assert found.classes == ("0", "1")
    assert margins_of([trial(0, 0.5, diagnostics(1, 1))]) is None
    both = mean_margins([found, margins_of(finals[:1])])
    assert both.groups["source"]["all"]["q50"] == 1.5
    assert (both.per_class["target"], both.num_seeds) == ((3.0, None), 1)


def test_selection_is_blind_to_them() -> None:
    """The same trials with other diagnostics, of whatever domain, are ranked alike."""
    plain = [trial(n, 0.1 * n, diagnostics(n, n), merits=(0.5 + 0.1 * (n % 3),)) for n in range(6)]
    other = [trial(n, 0.1 * n, diagnostics(-n, -n), merits=(0.5 + 0.1 * (n % 3),)) for n in range(6)]
    assert [one.number for one in ranking(plain)] == [one.number for one in ranking(other)]


def test_nobody_else_reads_them() -> None:
    """Of the harness the report alone, and what logs the evaluations."""
    readers = {path for path in (ROOT / "harness").rglob("*.py") if "diagnostics" in path.read_text()}
    assert {path.relative_to(ROOT / "harness").parts[0] for path in readers} <= {"report", "tracking"}
    assert ROOT / "harness" / "report" / "analysis" / "diagnostics.py" in readers
