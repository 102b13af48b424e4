"""The comparison as LaTeX: marks, captions, what must be escaped, and that it compiles."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.analysis.diagnostics import MEASURES
from harness.report.text.latex import to_latex
from harness.report.text.latex_tables import escaped
from tests.made.made_large_sweep import sweep_records
from tests.made.made_records import measured

NUMBERS = {"erm": 0.4, "ndcl": 0.6, "focal": 0.5}


def small(**changes):
    return [
        measured(name, target, value + 0.01 * seed, seed=seed, **changes)
        for name, value in NUMBERS.items()
        for target in ("scan", "sign")
        for seed in (1, 3)
    ]


def rows(text: str) -> dict[str, str]:
    """Of the first table, by algorithm."""
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    return {line.split(" & ")[0]: line for line in body.strip().splitlines()}


def test_the_best_is_bold_and_the_second_underlined():
    found = rows(to_latex(compare(small())))
    cell = r"\textbf{62.0} {\scriptsize$\pm$1.0}"
    assert found["ndcl"] == rf"ndcl & {cell} & {cell} & \textbf{{62.0}} {{\scriptsize$\pm$0.7}} \\"
    assert found["focal"].count(r"\underline{52.0}") == 3
    assert found["erm"] == (
        r"erm & 42.0 {\scriptsize$\pm$1.0} & 42.0 {\scriptsize$\pm$1.0} & 42.0 {\scriptsize$\pm$0.7} \\"
    )
    two = rows(to_latex(compare([r for r in small() if r.study.algorithm != "focal"])))
    assert "underline" not in "".join(two.values())


def test_equal_seconds_are_both_underlined():
    equal = [*small(), *(measured("ldam", target, 0.52, seed=1) for target in ("scan", "sign"))]
    found = rows(to_latex(compare(equal)))
    assert found["ldam"].count(r"\underline{52.0}") == found["focal"].count(r"\underline{52.0}") == 3


def test_what_the_same_models_reach_on_source_domains_stands_below_and_is_never_bold():
    text = to_latex(compare(small(merits={"validation_accuracy": 0.875})))
    overall, *others = text.split(r"\begin{table}")[1:]
    number = r"87.5 {\scriptsize$\pm$0.0}"
    assert rf"ndcl (source) & {number} & {number} & {number} \\" in overall
    assert overall.count("(source) &") == 3
    assert "on validation images of the domains that they were trained on" in overall
    assert "(source)" not in "".join(others)


def test_previews_missing_values_and_partial_means_are_told():
    lone = measured("ndcl", "scan", 0.5, stage="search", seed=0, number=0)
    text = to_latex(compare([lone, *(r for r in small() if r.study.algorithm == "erm")]))
    assert rows(text)["ndcl"] == r"ndcl & \textbf{50.0}$^{*}$ & -- & \textbf{50.0}$^{*}$ \\"
    assert "A star: one search trial, no final run has finished." in text
    assert "The mean is over scan." in text


def test_a_table_for_each_setting_and_metric_with_its_own_label():
    text = to_latex(compare(sweep_records()))
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert len(labels) == len(set(labels)) == 3 * 5
    assert "tab:digits-long-tail-65-balanced" in labels
    assert r"balanced\_softmax & " in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\toprule") == 15


def test_the_theory_has_a_table_for_each_data_set():
    records = sweep_records()
    details = details_of(records, (), None)
    text = to_latex(compare(records), details)
    part = text[text.index(r"\label{tab:digits-diagnostics}") :]
    found = rows(part)
    assert list(found) == [*map(escaped, MEASURES)]
    (diagnosis,) = details.diagnoses
    rho = diagnosis.correlations["target, mean margin"]["ndcl"]
    assert f"${rho.rho:+.2f}$ (${rho.within:+.2f}$)" in found["target, mean margin"]
    assert r"quantity & erm & ndcl & balanced\_softmax & focal \\" in part
    assert "search trials, pruned ones too, and 132 final runs" in text


def test_the_oracle_is_marked_in_every_caption():
    text = to_latex(compare(small(merits={"oracle_accuracy": 0.5})))
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert captions
    assert all(caption.startswith("ORACLE: selected with labels of the target domain") for caption in captions)
    assert all(r"selected by oracle\_accuracy" in caption for caption in captions)


def test_what_means_something_to_latex_is_escaped():
    assert escaped(r"a_b & 5 % {$x^2$} \cmd ~#<>") == (
        r"a\_b \& 5 \% \{\$x\textasciicircum{}2\$\} \textbackslash{}cmd \textasciitilde{}\#\textless{}\textgreater{}"
    )


def test_nothing_at_all():
    assert "No trial has finished yet." in to_latex(compare([]))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-base)")
def test_it_compiles(tmp_path: Path):
    strange = [measured("a_b%&#", target, 0.5) for target in ("x^y~z", "{$}\\")]
    for name, records in (("whole", sweep_records()), ("strange", strange), ("empty", [])):
        (tmp_path / f"{name}.tex").write_text(to_latex(compare(records), details_of(records, (), None)))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull" not in done.stdout
