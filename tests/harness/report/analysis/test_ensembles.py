"""Ensembles in the report: their numbers, their errors over images, and their differences image by image."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.records import StudyKey, TrialRecord
from harness.records.record import AVERAGED
from harness.report import compare
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import details_of
from harness.report.analysis.ensembles import mcnemar_p
from harness.report.analysis.setting_table import SettingTable
from harness.report.html.page import to_html
from harness.report.text.console import to_console
from harness.report.text.json_file import to_json
from harness.report.text.latex import to_latex
from harness.report.text.markdown import to_markdown
from harness.tracking.contents import trial_note

TARGETS = ("scan", "sign")
LABELS = np.repeat([0, 1, 2], [40, 40, 20])
SHOTS = ["many", "median", "few"]
CONFIG = {"num_steps": 10, "imbalance": {"setting": "long_tail", "ratio": 65}}
CALIBRATION = {
    "temperature": 1.5,
    "source": {"nll": 0.5, "ece": 0.05, "calibrated_nll": 0.4, "calibrated_ece": 0.02},
    "target": {"nll": 1.5, "ece": 0.25, "calibrated_nll": 1.4, "calibrated_ece": 0.125},
}


def accuracies(hits: np.ndarray) -> dict:
    per_class = [float(hits[k == LABELS].mean()) for k in range(3)]
    shots = dict(zip(SHOTS, per_class, strict=True))
    return {
        "overall": float(hits.mean()),
        "balanced": float(np.mean(per_class)),
        "per_class": per_class,
        "num_images": 100,
        **shots,
    }


def study(algorithm: str, target: str, single: float, hits: np.ndarray) -> list[TrialRecord]:
    key = StudyKey(algorithm=algorithm, dataset="digits", setting="long_tail-65", target=target)

    def record(stage, number, target_part, **more):
        evaluation = {"step": 10, "validation_accuracy": 0.5, "calibration": CALIBRATION, "target": target_part, **more}
        members = tuple(run.name for run in runs) if stage == "ensemble" else ()
        config = CONFIG | {"seed": number + 1}
        return TrialRecord(
            study=key,
            stage=stage,
            number=number,
            values={},
            config=config,
            state="finished",
            evaluations=(evaluation,),
            members=members,
        )

    part = accuracies(np.arange(100) < 100 * single)
    runs: list[TrialRecord] = [record("final", n, part) for n in range(3)]
    about = {
        "of": "probabilities",
        "scales": [1.0] * 3,
        "temperature": 1.5,
        "disagreement": {"source": 0.1, "target": 0.4},
        "target_hits": base64.b64encode(np.packbits(hits).tobytes()).decode(),
        "target_counts": np.bincount(LABELS).tolist(),
        "shots": SHOTS,
    }
    return [*runs, record("ensemble", 0, accuracies(hits), ensemble=about)]


def hits(seed: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random(100) < share


@pytest.fixture
def records() -> list[TrialRecord]:
    return [
        one
        for algorithm, share in (("erm", 0.5), ("ndcl", 0.8))
        for number, target in enumerate(TARGETS)
        for one in study(algorithm, target, 0.4, hits(number + (algorithm == "ndcl"), share))
    ]


def table_of(comparison: Comparison) -> SettingTable:
    [table] = comparison.tables
    return table


def test_an_ensemble_stands_beside_the_single_runs(records):
    table = table_of(compare(records))
    section = table.sections[0]
    assert section.cells["erm", "scan"].mean == pytest.approx(0.4)
    assert section.cells["erm", "scan"].num_seeds == 3
    own = hits(0, 0.5).mean()
    cell = section.ensembles["erm", "scan"]
    assert cell.mean == pytest.approx(own)
    assert cell.error == pytest.approx((own * (1 - own) / 100) ** 0.5)
    means = [section.ensembles["erm", target].mean for target in TARGETS]
    assert section.ensemble_means["erm"].mean == pytest.approx(np.mean(means))


def test_the_error_of_a_mean_over_classes_is_what_a_bootstrap_within_classes_gives(records):
    section = next(section for section in table_of(compare(records)).sections if section.metric == "balanced")
    own, rng = hits(0, 0.5), np.random.default_rng(5)
    drawn = [
        np.mean([rng.choice(own[k == LABELS], size=(k == LABELS).sum()).mean() for k in range(3)]) for _ in range(4000)
    ]
    assert section.ensembles["erm", "scan"].error == pytest.approx(np.std(drawn), rel=0.05)


def test_two_ensembles_are_compared_image_by_image(records):
    [contrast] = table_of(compare(records)).ensemble_contrasts
    pairs = [(hits(n + 1, 0.8), hits(n, 0.5)) for n in range(2)]
    assert contrast.mean == pytest.approx(np.mean([a.mean() - b.mean() for a, b in pairs]))
    assert contrast.num_images == 200
    assert contrast.interval[0] < contrast.mean < contrast.interval[1]
    assert contrast.verdict == "higher"


def test_ensembles_that_are_right_on_the_same_images_do_not_differ(records):
    same = [one for one in records if one.study.algorithm == "erm"]
    other = [*study("ndcl", "scan", 0.4, hits(0, 0.5)), *study("ndcl", "sign", 0.4, hits(1, 0.5))]
    [contrast] = table_of(compare([*same, *other])).ensemble_contrasts
    assert (contrast.mean, contrast.interval, contrast.p, contrast.verdict) == (0, (0, 0), 1, "within noise")


def test_p_is_that_of_mcnemars_test():
    first, second = np.ones(8, bool), np.r_[np.zeros(5, bool), np.ones(3, bool)]
    assert mcnemar_p([(first, second)]) == pytest.approx(2 * 0.5**5)
    assert mcnemar_p([(first, second), (second, first)]) == 1


def test_without_an_ensemble_on_each_domain_there_is_no_mean_and_no_contrast(records):
    fewer = [r for r in records if not (r.stage == "ensemble" and r.study.target == "sign")]
    table = table_of(compare(fewer))
    assert table.sections[0].ensemble_means == {}
    assert table.ensemble_contrasts == ()
    assert ("erm", "scan") in table.sections[0].ensembles
    assert table.sections[0].means["erm"].mean == pytest.approx(0.4)


def test_ensembles_count_as_no_training(records):
    details = details_of(records, (), None)
    assert details.cost.num_steps == 4 * 3 * 10
    assert dict(details.cost.num_final) == {"finished": 12}


def test_every_form_of_the_report_has_them(records, tmp_path: Path):
    comparison = compare(records)
    details = details_of(records, (), None)
    out = io.StringIO()
    Console(file=out, width=120).print(to_console(comparison))
    forms = [out.getvalue(), to_markdown(comparison, details), to_html("s", comparison, details), to_latex(comparison)]
    assert all("ndcl ensemble" in form for form in forms)
    assert "image" in forms[0]
    assert "McNemar" in forms[1]
    assert "calibration" in forms[1]
    values = json.loads(json.dumps(to_json(comparison, details), allow_nan=False))
    [table] = values["tables"]
    assert table["ensembles"]["ndcl"]["scan"] == {"members": 3, "of": "probabilities", "disagreement": 0.4}
    assert table["ensemble_contrasts"][0]["verdict"] == "higher"
    assert table["metrics"]["overall"]["ensembles"]["erm"]["scan"]["members"] == 3
    assert table["calibration"]["erm"]["calibrated_target_ece"] == 0.125
    assert table["ensemble_calibration"]["ndcl"]["temperature"] == 1.5


def as_weights(records: list[TrialRecord], target: str, *, is_kept: bool) -> list[TrialRecord]:
    """NDCL's ensemble on this target as the mean of weights, or as what took its place."""
    facts = {"criteria": ["validation_accuracy"], "value": 0.412, "members": 0.487, "is_kept": is_kept}
    found = []
    for one in records:
        if (one.stage, one.study.algorithm, one.study.target) == ("ensemble", "ndcl", target):
            [evaluation] = one.evaluations
            about = evaluation["ensemble"] | {"averaged_weights": facts}
            about |= {"of": "weights", "disagreement": {"source": None, "target": None}} if is_kept else {}
            one = replace(one, evaluations=({**evaluation, "ensemble": about},), notes={AVERAGED: True})
        found.append(one)
    return found


def forms_of(records: list[TrialRecord]) -> list[str]:
    comparison, out = compare(records), io.StringIO()
    details = details_of(records, (), None)
    Console(file=out, width=400).print(to_console(comparison))
    return [out.getvalue(), to_markdown(comparison, details), to_html("s", comparison, details), to_latex(comparison)]


def test_averaged_weights_are_called_so_in_every_form(records):
    both = as_weights(as_weights(records, "scan", is_kept=True), "sign", is_kept=True)
    for form in forms_of(both):
        assert "ndcl averaged weights" in form
        assert "ndcl ensemble" not in form
        assert "erm ensemble" in form
        assert "NOT AVERAGED" not in form
    values = to_json(compare(both), details_of(both, (), None))
    assert values["tables"][0]["ensembles"]["ndcl"]["scan"] == {"members": 3, "of": "weights", "disagreement": None}


def test_a_refused_mean_of_weights_is_told_with_both_numbers(records):
    mixed = as_weights(as_weights(records, "scan", is_kept=True), "sign", is_kept=False)
    forms = forms_of(mixed)
    assert all("ndcl averaged weights / ensemble" in form for form in forms)
    line = (
        "WEIGHTS NOT AVERAGED, ndcl on sign: the mean of the final runs' weights has 41.2 % validation_accuracy, the "
        "runs 48.7 % on average; their ensemble is the model."
    )
    assert line in forms[0]
    assert "NOT AVERAGED, ndcl on scan" not in forms[0]
    assert "NOT AVERAGED, ndcl on sign" in forms[1]
    assert "NOT AVERAGED, ndcl on sign" in forms[2]
    values = to_json(compare(mixed), details_of(mixed, (), None))
    assert values["tables"][0]["ensembles"]["ndcl"]["sign"]["averaged_weights_refused"]["members"] == 0.487
    alone = forms_of(as_weights(as_weights(records, "scan", is_kept=False), "sign", is_kept=False))
    assert all("ndcl ensemble" in form and "averaged weights /" not in form for form in alone)
    notes = [trial_note(one) for one in mixed if one.study.algorithm == "ndcl" and one.stage == "ensemble"]
    assert "One network: the mean of its members' weights." in notes[0]
    assert "has 41.2 % validation_accuracy, the members 48.7 % on average" in notes[1]


def test_old_records_say_nothing_of_calibration(records):
    old = [one for one in records if one.stage == "final"]
    for one in old:
        del one.evaluations[0]["calibration"]
    comparison = compare(old)
    assert table_of(comparison).calibrations == {}
    assert "calibration" not in to_markdown(comparison)
