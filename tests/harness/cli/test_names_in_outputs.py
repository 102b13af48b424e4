"""Domains and classes of any name in every output: each shows the name, and none takes it for its own language."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.predictions import rows_of, written_to
from harness.report import compare
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import NO_DETAILS
from harness.report.figures.canvas import new_figure, write
from harness.report.html.page import to_html
from harness.report.text.json_file import to_json
from harness.report.text.latex import to_latex
from harness.report.text.latex_tables import escaped
from harness.report.text.markdown import to_markdown
from harness.state import StudySummary
from harness.terminal.legible import as_text, legible
from harness.terminal.markdown import code_block, literal
from harness.tracking.contents import study_note, trial_note
from ndcl.serving import Predictions
from ndcl.serving.streaming import Part
from tests.made.made_records import key, measured, record

NASTY = [
    "[red]", "[/]", "a|b", "<b>x</b>", "&amp;", "100 %", "a_b", "_a_", "#1", "{x}", "a~b", "x^2", "\\n", "$5 and $6",
    "`x`", "**x**", "Grüße", "日本", "a\nb", "\x1b[2J", 'say "x"', "it's", "gr\udcfcn", "a\u202eb", "-", "![x](y)",
]  # fmt: skip
ANY = st.text(st.characters(codec=None), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Of target domains with all of the names."""
    return compare([measured(name, target, 0.5) for name in ("erm", "ndcl") for target in NASTY])


class Reader(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_a_page_shows_every_name_and_has_no_tag_of_one(comparison: Comparison) -> None:
    page = read(as_text(to_html("made", comparison, NO_DETAILS)))
    usual = read(to_html("made", compare([measured(name, "scan", 0.5) for name in ("erm", "ndcl")]), NO_DETAILS))
    assert [name for name in NASTY if as_text(name) not in page.text] == []
    assert page.tags == usual.tags


def test_a_markdown_table_keeps_its_columns(comparison: Comparison) -> None:
    table = to_markdown(comparison).split("\n\n")[1].splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line.replace(r"\\", ""))) for line in table} == {len(NASTY) + 4}
    assert [name for name in NASTY if literal(name) not in table[0]] == []


@given(ANY)
def test_markdown_of_any_text_reads_as_it_is(name: str) -> None:
    assert re.sub(r"\\([\\`*|<\[~_])", r"\1", literal(name)) == legible(name)
    assert not re.search(r"(?<!\\)(\\\\)*[`*|<\[]", literal(name))


@given(st.text(st.sampled_from("`ab\n")))
def test_a_log_stays_in_its_block(log: str) -> None:
    first, *_, last = code_block(log).split("\n")
    assert first == last
    assert first not in log


def test_latex_has_no_special_character_of_a_name(comparison: Comparison) -> None:
    text = to_latex(comparison)
    for name in NASTY:
        assert escaped(name) in text
        assert not set(re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\{[\[*]\}", "", escaped(name))) & set('&%$#_{}~^\\"|')
    assert sorted(re.findall(r"DeclareUnicodeCharacter\{(\w+)", text)) == ["65E5", "672C"]


def test_a_report_can_be_written(comparison: Comparison) -> None:
    for text in (to_markdown(comparison), to_html("made", comparison, NO_DETAILS), to_latex(comparison)):
        as_text(text).encode()
    assert json.loads(json.dumps(to_json(comparison, NO_DETAILS)))


def test_figures_take_dollars_for_dollars(tmp_path: Path) -> None:
    """Between two of them matplotlib sees a formula, and this one ends the drawing."""
    names = ("$a^$", "$5", "_x", "[b]", "a\nb")
    figure = new_figure(2, 2, "$a^$ and $b")
    panel = figure.subplots()
    panel.set_xticks(range(5), names)
    panel.set_yscale("log")
    panel.plot([1, 2, 3, 4, 5])
    write(figure, "title", [tmp_path / "x.png", tmp_path / "x.pdf"])
    assert (tmp_path / "x.png").stat().st_size > 1000
    assert any("mathdefault" in label.get_text() for label in panel.get_yticklabels(which="both"))


@pytest.mark.filterwarnings("error")
def test_figures_draw_letters_that_no_font_has_without_a_warning(tmp_path: Path) -> None:
    name = "日本\U000f0000"
    figure = new_figure(2, 2, name)
    figure.subplots().set_xticks(range(1), [name])
    write(figure, name, [tmp_path / "x.png", tmp_path / "x.pdf"])
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predictions_of_files_of_any_name_are_written(suffix: str, tmp_path: Path) -> None:
    paths = [Path("photos") / name.replace("/", "-") for name in NASTY]
    number = len(paths)
    part = Part(
        paths=tuple(paths),
        predictions=Predictions(
            class_ids=np.zeros(number, np.int64),
            names=tuple(NASTY),
            probabilities=np.full((number, 2), 0.5, np.float32),
        ),
        faults=(),
    )
    output = tmp_path / f"out.{suffix}"
    with written_to(output) as writer:
        writer.write_batch(rows_of(part))
    table = (
        pyarrow.csv.read_csv(output, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
        if suffix == "csv"
        else pyarrow.parquet.read_table(output)
    )
    assert table["image"].to_pylist() == [as_text(str(path)) for path in paths]
    assert table["class"].to_pylist() == [as_text(name) for name in NASTY]


def test_an_mlflow_note_reads_as_it_is() -> None:
    name = "**Real| World**"
    failed = record(0, "failed", of=key(target=name), reason="no `x` | here")
    note = study_note(StudySummary(key=key(target=name), stage="search"))
    assert literal(name) in note
    assert r"no \`x\` \| here" in trial_note(failed)
