"""A report of trainings that saw different data under one name says so, in every form."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.records import Journal, TrialRecord
from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.latex import to_latex
from harness.report.text.markdown import to_markdown
from tests.harness.report.text.test_report import printed
from tests.made.made_records import measured

OLD, NEW = "a" * 64, "b" * 64


def trainings(*digests: str | None) -> list[TrialRecord]:
    """Final runs of one study with these data; None: as an early version wrote them."""
    data = [{} if digest is None else {"data": {"digest": digest}} for digest in digests]
    return [replace(measured("erm", "scan", 0.5, seed=n + 1), environment=found) for n, found in enumerate(data)]


def everywhere(records: list[TrialRecord]) -> list[str]:
    """The terminal's text, Markdown, page and LaTeX, each in one line."""
    comparison, details = compare(records), details_of(records, (), None)
    forms = [printed(records), to_markdown(comparison), to_html("made", comparison, details), to_latex(comparison)]
    return [" ".join(form.split()) for form in forms]


@pytest.mark.parametrize(
    ("digests", "shown"),
    [
        ((OLD, OLD, NEW), "digest aaaaaaaaaaaa: 2 trainings, digest bbbbbbbbbbbb: 1 trainings"),
        ((OLD, None), "digest aaaaaaaaaaaa: 1 trainings, unknown: 1 trainings"),
    ],
)
def test_several_versions_of_the_data_are_told_in_every_form(digests: tuple[str | None, ...], shown: str) -> None:
    for form in everywhere(trainings(*digests)):
        assert f"DIFFERENT DATA: not all trainings saw the same version of data set digits ({shown})." in form


@pytest.mark.parametrize("digests", [(OLD, OLD), (None, None)])
def test_otherwise_nothing_is_said(digests: tuple[str | None, ...]) -> None:
    assert all("DIFFERENT DATA" not in form for form in everywhere(trainings(*digests)))


def test_a_training_without_an_evaluation_counts_for_nothing() -> None:
    begun = replace(trainings(None)[0], number=7, evaluations=(), state="running")
    assert compare([*trainings(OLD), begun]).data == {"digits": {OLD: 1}}


def test_other_tools_are_told_all_digests() -> None:
    records = trainings(OLD, NEW, None)
    found = to_json(compare(records), details_of(records, (), None))
    assert found["data"] == {"digits": {OLD: 1, NEW: 1, "unknown": 1}}


@pytest.mark.parametrize("digest", [None, OLD])
def test_what_an_early_version_did_not_write_is_told_by_the_command(tmp_path: Path, digest: str | None) -> None:
    for record in trainings(digest):
        Journal(tmp_path / "made").write(record)
    result = CliRunner().invoke(app, ["report", "made", "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output
    said = "it is not known whether all trainings saw the same version of data set digits" in result.output
    assert said == (digest is None)
