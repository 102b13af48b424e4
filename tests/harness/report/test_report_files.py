"""The report in a sweep's folder: its files, for people and for other tools, in the order of the sweep's plan."""

import json
import math
from pathlib import Path

import pytest
import yaml
from PIL import Image

from harness.config import load_sweep
from harness.plan import make_plan
from harness.records import Journal
from harness.records.places import SWEEP_FILE
from harness.report import write_report
from harness.report.files import compare_sweep
from tests.harness.cli.test_cli import error_of, run
from tests.integration import sweeps
from tests.made.made_large_sweep import written_sweep
from tests.made.made_records import measured

TARGETS = ("print", "scan", "sign", "texture")


REPORTS = ["report.html", "report.json", "report.md", "report.tex"]


def sweep(*ratios: float, algorithms=("erm", "ndcl", "focal")):
    return [
        measured(algorithm, target, 0.5 + 0.1 * (algorithm == "ndcl") + 0.01 * seed, seed=seed, ratio=ratio)
        for ratio in ratios
        for algorithm in algorithms
        for target in TARGETS
        for seed in (1, 2, 3)
    ]


def written(folder: Path, records) -> dict:
    write_report(folder, compare_sweep(folder, records), records)
    values = json.loads((folder / "report.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert set(values.pop("made")) == {"ndcl", "git_revision", "from"}
    return values


def test_the_files_of_a_report(tmp_path):
    written(tmp_path, sweep(65))
    assert sorted(path.name for path in tmp_path.iterdir()) == REPORTS
    written(tmp_path, sweep(10, 65))
    pictures = ["accuracy_over_ratio.pdf", "accuracy_over_ratio.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*pictures, *REPORTS]
    assert "](accuracy_over_ratio.png)" in (tmp_path / "report.md").read_text()


def test_the_picture_is_marked_if_the_oracle_was_used(tmp_path):
    for name, marked in (("validation_accuracy", False), ("oracle_accuracy", True)):
        merits = {name: 0.5}
        written(tmp_path, [measured("erm", "scan", 0.5, ratio=ratio, merits=merits) for ratio in (10, 65)])
        with Image.open(tmp_path / "accuracy_over_ratio.png") as image:
            assert ("ORACLE: selected with labels of the target domain" in image.text["Title"]) == marked
        assert (b"ORACLE" in (tmp_path / "accuracy_over_ratio.pdf").read_bytes()) == marked


def test_json_has_the_numbers_behind_the_tables(tmp_path):
    data = written(tmp_path, sweep(10, 65))
    table = data["tables"][0]
    assert (data["reference"], data["criteria"], data["oracle"]) == ("erm", ["validation_accuracy"], False)
    assert (table["dataset"], table["setting"], table["imbalance"]["ratio"]) == ("digits", "long_tail-10", 10)
    assert table["budgets"]["ndcl"]["scan"] == {"num_trials": 0, "num_steps": [], "seeds": [1, 2, 3]}
    overall = table["metrics"]["overall"]
    cell = overall["cells"]["ndcl"]["scan"]
    assert cell["by_seed"] == pytest.approx({"1": 0.61, "2": 0.62, "3": 0.63})
    assert (cell["mean"], cell["error"]) == pytest.approx((0.62, 0.01 / math.sqrt(3)))
    assert (cell["num_seeds"], cell["provisional"]) == (3, False)
    contrast = overall["contrasts"][0]
    assert (contrast["algorithm"], contrast["reference"]) == ("ndcl", "erm")
    assert contrast["by_target"]["sign"]["mean"] == pytest.approx(0.1)
    assert contrast["result"]["interval"] == pytest.approx([0.1, 0.1])
    assert contrast["result"]["interval_over_targets"] == pytest.approx([0.1, 0.1])
    assert contrast["result"]["num_pairs"] == 12
    assert contrast["result"]["p"] == pytest.approx(2 / 2**12)
    assert contrast["result"]["p_corrected"] == pytest.approx(4 / 2**12)
    assert contrast["result"]["verdict"] == "higher"
    assert len(overall["pairwise"]) == 3
    curve = data["curves"][0]
    assert curve["ratios"] == {"long_tail-10": 10, "long_tail-65": 65}
    assert curve["metrics"]["few"]["cells"]["erm"]["long_tail-65"]["mean"] == pytest.approx(0.52)


def test_json_of_what_is_missing(tmp_path):
    assert written(tmp_path, []) == {
        "data": {},
        "reference": None,
        "criteria": [],
        "oracle": False,
        "warning": None,
        "tables": [],
        "curves": [],
        "pareto_fronts": [],
        "studies": [],
        "source_criteria": [],
        "diagnostics": [],
        "cost": {
            "num_search": {},
            "num_review": {},
            "num_final": {},
            "num_steps": 0,
            "seconds": 0,
            "cpu_hours": None,
            "gpu_hours": None,
            "pruned_share": None,
        },
    }
    lone = measured("erm", "scan", 0.4, seed=0, stage="search", number=0)
    section = written(tmp_path, [lone])["tables"][0]["metrics"]["few"]
    assert section["cells"]["erm"]["scan"]["error"] is None
    assert section["cells"]["erm"]["scan"]["provisional"]
    assert section["contrasts"] == []


def test_json_tells_of_studies_what_the_page_shows(tmp_path):
    records = written_sweep(tmp_path / "made")
    data = written(tmp_path / "made", records)
    studies = {(s["algorithm"], s["setting"], s["target"]): s for s in data["studies"]}
    unfinished = studies["focal", "long_tail-200", "sign"]
    assert (unfinished["missing"], unfinished["confusion"]) == ("search 7 of 12, final runs 0 of 3", None)
    assert [point["num_trials"] for point in unfinished["search"]] == list(range(1, 8))
    whole = studies["ndcl", "long_tail-65", "scan"]
    assert set(whole["importance"]) >= {"algorithm.alpha", "optimizer.learning_rate"}
    assert sum(map(sum, whole["confusion"]["counts"])) == 3 * 10 * 87
    assert whole["confusion"]["classes"] == list("0123456789")
    assert set(whole["margins"]["groups"]["target"]) == {"all", "many", "median", "few"}
    assert (whole["margins"]["num_seeds"], len(whole["margins"]["per_class"]["source"])) == (3, 10)
    (failed,) = [failure for study in data["studies"] for failure in study["failures"]]
    assert failed["log"].endswith(failed["reason"])
    (diagnosis,) = data["diagnostics"]
    found = diagnosis["correlations"]["source, mean margin"]["by_algorithm"]
    assert sum(one["num_trials"] for one in found.values()) == len(diagnosis["trials"])


def test_rows_and_columns_stand_as_in_the_sweeps_file(tmp_path):
    changes = {
        "data": {"name": "digits", "targets": ["texture", "scan", "sign", "print"]},
        "imbalance": [{"setting": "long_tail", "ratio": ratio} for ratio in (65, 10)],
        "algorithms": dict.fromkeys(("ndcl", "focal", "erm")),
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(sweeps.TINY | changes, sort_keys=False))
    plan = make_plan(load_sweep(path), tmp_path, domains=lambda *_: TARGETS, check=lambda _: None)
    (tmp_path / SWEEP_FILE).write_text(yaml.safe_dump(plan.resolved, sort_keys=False))
    tables = written(tmp_path, sweep(10, 65))["tables"]
    assert [table["setting"] for table in tables] == ["long_tail-65", "long_tail-10"]
    assert tables[0]["targets"] == ["texture", "scan", "sign", "print"]
    assert tables[0]["algorithms"] == ["erm", "ndcl", "focal"]


def test_how_many_trials_were_repeated_stands_in_the_sweeps_file(tmp_path):
    path = sweeps.written(tmp_path, final={"seeds": 1, "top_k": 2})
    plan = make_plan(load_sweep(path), tmp_path, domains=lambda *_: TARGETS, check=lambda _: None)
    values = [{"algorithm.alpha": alpha} for alpha in (0.1, 1.0)]
    merits = [{"validation_accuracy": validation} for validation in (0.6, 0.7)]
    records = [
        *[
            measured("ndcl", "scan", 0.5, seed=0, stage="search", number=n, values=values[n], merits=merits[n])
            for n in (0, 1)
        ],
        *[measured("ndcl", "scan", 0.1 + n, number=n, values=values[n], merits=merits[1 - n]) for n in (0, 1)],
    ]
    for text, shown in ((None, 1.1), (yaml.safe_dump(plan.resolved), 0.1)):
        if text:
            (tmp_path / SWEEP_FILE).write_text(text)
        cells = written(tmp_path, records)["tables"][0]["metrics"]["overall"]["cells"]
        assert cells["ndcl"]["scan"]["mean"] == pytest.approx(shown)


def test_a_sweep_file_of_an_earlier_version_costs_only_the_order(tmp_path):
    (tmp_path / SWEEP_FILE).write_text("name: old\nsearch: {pruner: successive}\n")
    assert written(tmp_path, sweep(65))["tables"][0]["targets"] == list(TARGETS)


def test_the_command_takes_another_reference(tmp_path):
    for record in sweep(65):
        Journal(tmp_path / "made").write(record)
    assert "focal - erm" in run("report", "made", "--results", tmp_path).output
    output = run("report", "made", "--results", tmp_path, "--reference", "ndcl").output
    assert "focal - ndcl" in output
    assert "focal - erm" not in output
    assert "focal - ndcl" in (tmp_path / "made" / "report.md").read_text()
    assert not (tmp_path / "made" / "figures").exists()
    assert "report.html" in output
    run("report", "made", "--results", tmp_path, "--figures")
    assert (tmp_path / "made" / "figures" / "forest-digits-long_tail-65.pdf").is_file()
    message = error_of("report", "made", "--results", tmp_path, "--reference", "nddl")
    assert "reference: unknown algorithm 'nddl'; did you mean 'ndcl'" in message
