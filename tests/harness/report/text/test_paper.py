"""The tables of a paper: what stands in them, what must be escaped, and that they compile."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import TrialRecord
from harness.report import compare
from harness.report.analysis.ablations import ablations_of
from harness.report.analysis.details import details_of
from harness.report.analysis.protocol import EVERY, protocol_of
from harness.report.text.display_names import display_names
from harness.report.text.latex_tables import MOST_ROWS
from harness.report.text.paper.files import paper_files
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from tests.harness.cli.test_cli import run
from tests.made.made_large_sweep import plans, sweep_records, written_sweep
from tests.made.made_records import measured

TARGETS = ("scan", "texture", "print", "sign")
HOSTILE = '[a_b] *%&#{}$^~\\"<|> \u4e2d'
VARIANTS = {"erm": None, "ndcl": None, "no_alignment": {"algorithm": "ndcl", "train": {"algorithm.beta": 0}}}
ENVIRONMENT = {
    "host": "secret-host", "python": "3.11.7", "packages": {"torch": "2.9.1"}, "gpu": None, "cpu_threads": 2,
    "data": {"classes": ["rare", HOSTILE], "training_images": [3, 900], "digest": "abc"},
}  # fmt: skip


def records(accuracies: dict[str, float], *, ratios=(65,), targets=TARGETS, **config) -> list[TrialRecord]:
    """Three final runs of each on every domain; an algorithm's number is what it has beside the domain and the seed."""
    return [
        measured(name, target, value + 0.05 * place + 0.01 * seed, seed=seed, ratio=ratio, **config)
        for ratio in ratios
        for name, value in accuracies.items()
        for place, target in enumerate(targets)
        for seed in (1, 2, 3)
    ]


def by_class(record: TrialRecord, *values: float | None) -> TrialRecord:
    """The record with these accuracies by class, and what its trial knew of where it ran."""
    (point,) = record.evaluations
    return replace(
        record, evaluations=({**point, "target": {**point["target"], "per_class": values}},), environment=ENVIRONMENT
    )


def paper(own: list[TrialRecord], plan=(), reference: str | None = None) -> dict[str, str]:
    return paper_files(compare(own, reference=reference), details_of(own, plan, None), own, plan)


def variants(own: list[TrialRecord], method: str) -> list[TrialRecord]:
    """The records as those of one algorithm under several names."""
    return [replace(each, config={**each.config, "algorithm": {"name": method}}) for each in own]


def row(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} &")]
    return line


def balanced(text: str) -> bool:
    """Whether every group and every environment that begins ends, and no special character is bare."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = plain.replace("\\\\", "").replace(r"\{", "").replace(r"\}", "")
    begun = re.findall(r"\\begin\{(\w+)\}", plain)
    ended = re.findall(r"\\end\{(\w+)\}", plain)
    groups = plain.count(r"\begingroup") == plain.count(r"\endgroup")
    return plain.count("{") == plain.count("}") and sorted(begun) == sorted(ended) and groups


def test_means_differences_and_their_stars():
    text = paper(records({"erm": 0.4, "ndcl": 0.5, "focal": 0.4}))["results.tex"]
    mean = r"\textbf{59.5} {\scriptsize$\pm$0.3}"
    assert row(text, "NDCL") == rf"NDCL & {mean} & $+10.0$ {{\scriptsize$\pm$0.0}}$^{{*}}$ & 1.0 \\"
    assert row(text, "ERM") == r"ERM & \underline{49.5} {\scriptsize$\pm$0.3} &  & 2.5 \\"
    assert "*" not in row(text, "Focal loss")
    assert r"$\Delta$: difference from ERM in points" in text
    assert "long tail, ratio 65" in text


def test_another_reference():
    text = paper(records({"erm": 0.4, "ndcl": 0.5}), reference="ndcl")["results.tex"]
    assert "difference from NDCL" in text
    assert "$-10.0$" in row(text, "ERM")


def test_more_settings_than_a_page_is_wide_are_divided():
    text = paper(records({"erm": 0.4, "ndcl": 0.5}, ratios=(10, 20, 40, 80)))["results.tex"]
    assert re.findall(r"label\{(.*)\}", text) == ["tab:results-digits-overall-1", "tab:results-digits-overall-2"]
    assert [part.count("ratio ") for part in text.split(r"\begin{table}")[1:]] == [3, 1]


def test_metrics_that_are_equal_stand_once():
    same = records({"erm": 0.4, "ndcl": 0.5})
    text = paper(same)["results.tex"]
    assert text.count(r"\begin{table}") == 1
    assert "balanced and many-shot and median-shot and few-shot accuracy is the same here" in text
    (point,) = same[0].evaluations
    other = replace(same[0], evaluations=({**point, "target": {**point["target"], "balanced": 0.1}},))
    text = paper([other, *same[1:]])["results.tex"]
    assert re.findall(r"label\{(.*)\}", text) == ["tab:results-digits-overall", "tab:results-digits-balanced"]


def test_previews_are_marked_and_say_so():
    lone = measured("ndcl", "scan", 0.5, stage="search", seed=0, number=0)
    text = paper([lone, *records({"erm": 0.4}, targets=("scan",))])["results.tex"]
    assert r"\textbf{50.0}$^{\dagger}$ & $+8.0$ \\" in text
    assert r"$\dagger$: one search trial, no final run has finished." in text
    assert "dagger" not in paper(records({"erm": 0.4, "ndcl": 0.5}))["results.tex"]


def test_every_algorithm_has_its_own_display_name():
    names = display_names({name: name for name in ALGORITHM_CONFIGS})
    assert len(set(names.values())) == len(ALGORITHM_CONFIGS)
    assert names["balanced_softmax"] == "Balanced softmax"
    own = {"my_losses:Gap": "my_losses:Gap", "no_alignment": "ndcl", "a:Same": "a:Same", "b:Same": "b:Same"}
    assert display_names(own) == {
        "my_losses:Gap": "Gap", "no_alignment": "no_alignment", "a:Same": "a:Same", "b:Same": "b:Same"
    }  # fmt: skip


def test_variants_of_an_algorithm_stand_side_by_side():
    of_ndcl = variants(records({"no_alignment": 0.45, "ndcl": 0.5}), "ndcl")
    plan = plans(algorithms=VARIANTS)
    text = paper([*records({"erm": 0.4}), *of_ndcl], plan)["ablations.tex"]
    assert row(text, "beta") == r"beta & 0.1 & 0 \\"
    assert row(text, "value") == r"value & NDCL & no\_alignment \\"
    assert row(text, "NDCL").endswith(r"&  \\")
    assert "$-5.0$" in row(text, r"no\_alignment")
    assert "$^{*}$" in row(text, r"no\_alignment")
    assert "ERM" not in text
    assert "difference from NDCL" in text


def test_without_a_plan_it_is_not_said_what_variants_change():
    own = variants(records({"no_alignment": 0.45, "ndcl": 0.5}), "ndcl")
    (found,) = ablations_of(compare(own), ())
    assert (found.variants, found.changes) == (("ndcl", "no_alignment"), {})
    assert paper(own)["ablations.tex"].count(r"\begin{table}") == 1
    assert "ablations.tex" not in paper(records({"erm": 0.4, "ndcl": 0.5}))


def test_classes_stand_by_their_training_images():
    own = [by_class(each, 0.25, 0.75) for each in records({"erm": 0.4, "ndcl": 0.5})]
    text = paper(own)["per_class.tex"]
    lines = [line.split(" & ") for line in text.splitlines() if line.startswith(("rare &", r"{[}a\_b]"))]
    assert [line[1] for line in lines] == ["900", "3"]
    assert r"\textbf{75.0}" in lines[0][2]
    assert "class & images & ERM & NDCL" in text


def test_a_class_without_test_images_has_no_number():
    own = [by_class(each, None, 0.75) for each in records({"erm": 0.4})]
    assert row(paper(own)["per_class.tex"], "rare") == r"rare & 3 & -- \\"


def test_of_many_algorithms_the_reference_and_the_best_stand_class_by_class():
    names = list(ALGORITHM_CONFIGS)[:10]
    own = [by_class(each, 0.5, 0.5) for each in records({name: 0.4 + 0.01 * i for i, name in enumerate(names)})]
    text = paper(own)["per_class.tex"]
    shown = [ALGORITHM_CONFIGS[name].title for name in (names[0], *names[5:])]
    assert f"class & images & {' & '.join(shown)}" in text
    assert "Of 10 algorithms the reference and the 5 with the highest mean." in text


def test_the_appendix_tells_how_the_numbers_were_made():
    own = sweep_records()
    own = [replace(each, environment=ENVIRONMENT) for each in own]
    text = paper(own, plans())["appendix.tex"]
    assert re.findall(r"\\section\{(.*)\}", text) == [
        "Accuracy by unseen domain", "Chosen values", "Search space", "Protocol",
    ]  # fmt: skip
    rate = r"optimizer.\allowbreak{}learning\_\allowbreak{}rate"
    assert rf"every algorithm & {rate} & 0.001 to 0.006, log [0.003] \\" in text
    assert r"NDCL & alpha & 0.1 to 3, log [1] \\" in text
    assert "0.3 to 1, log [0.3] if resampling" in text
    assert row(text, "seeds of the final runs") == r"seeds of the final runs & 1, 2, 3 \\"
    assert row(text, "torch") == r"torch & 2.\allowbreak{}9.\allowbreak{}1 \\"
    assert row(text, "GPU") == r"GPU & none \\"
    assert "UNEQUAL BUDGET on sign" in text
    assert "secret-host" not in text


def test_the_space_of_one_algorithm_is_its_own():
    (plan,) = [study for study in plans(algorithms={"erm": None}) if study.key.name.endswith("65.scan")]
    assert list(protocol_of((), (plan,)).spaces) == ["erm"]
    assert list(protocol_of((), plans()).spaces) == [EVERY, "ndcl"]


def test_the_oracle_is_marked_in_every_caption():
    own = [by_class(each, 0.5, 0.5) for each in records({"erm": 0.4, "ndcl": 0.5}, merits={"oracle_accuracy": 0.5})]
    files = paper(own, plans())
    captions = re.findall(r"\\caption\{(.*)\}", "".join(files.values()))
    shown = [caption for caption in captions if not caption.startswith("The search space")]
    assert len(shown) >= 4
    assert all(caption.startswith("ORACLE: selected with labels of the target domain") for caption in shown)


def hostile() -> list[TrialRecord]:
    own = records({"erm": 0.4, HOSTILE: 0.5}, targets=("scan", HOSTILE), values={"algorithm.a_%&": "#{}$^~\\"})
    return [by_class(each, 0.25, 0.75) for each in own]


def many() -> list[TrialRecord]:
    names = [*ALGORITHM_CONFIGS, *(f"my_losses:Loss{n}" for n in range(MOST_ROWS))]
    return records({name: 0.3 + 0.005 * place for place, name in enumerate(names)}, ratios=(10, 65, 200))


CASES = {
    "whole": lambda: paper(sweep_records(), plans()),
    "hostile": lambda: paper(hostile()),
    "many": lambda: paper(many()),
    "variants": lambda: paper(
        [*records({"erm": 0.4}), *variants(records({"ndcl": 0.5, "no_alignment": 0.4}), "ndcl")],
        plans(algorithms=VARIANTS),
    ),
    "empty": lambda: paper([]),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_and_environments_end_and_labels_are_used_once(case: str):
    files = CASES[case]()
    assert all(map(balanced, files.values()))
    labels = re.findall(r"\\label\{(.*?)\}", "".join(files.values()))
    assert len(labels) == len(set(labels))
    assert set(re.findall(r"\\input\{(.*?)\}", files["paper.tex"])) == {
        name.removesuffix(".tex") for name in files if name != "paper.tex"
    }


def test_long_tables_are_broken_over_pages():
    files = CASES["many"]()
    assert r"\begin{longtable}" in files["results.tex"]
    assert "longtable" in files["preamble.tex"]
    assert r"\begin{longtable}" not in CASES["whole"]()["results.tex"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-base)")
@pytest.mark.parametrize("case", CASES)
def test_it_compiles(tmp_path: Path, case: str):
    for name, text in CASES[case]().items():
        (tmp_path / name).write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_the_command_writes_it_beside_the_report(tmp_path: Path):
    written_sweep(tmp_path / "made")
    result = run("report", "made", "--results", tmp_path, "--paper")
    assert result.exit_code == 0, result.output
    assert f"paper: {tmp_path / 'made' / 'paper'}" in result.output
    assert sorted(path.name for path in (tmp_path / "made" / "paper").iterdir()) == [
        "appendix.tex", "paper.tex", "per_class.tex", "preamble.tex", "results.tex"
    ]  # fmt: skip
    (tmp_path / "else").mkdir()
    written_sweep(tmp_path / "else")
    run("report", "else", "--results", tmp_path)
    assert not (tmp_path / "else" / "paper").exists()
