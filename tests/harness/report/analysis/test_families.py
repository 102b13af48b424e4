"""Groups of algorithms that work alike, in every form of the report."""

import io
import re

import pytest
from rich.console import Console

from harness.report import compare
from harness.report.analysis.details import NO_DETAILS
from harness.report.analysis.families import MOST_UNGROUPED, in_families
from harness.report.html.page import to_html
from harness.report.text.accuracy_grids import accuracy_grid
from harness.report.text.console import to_console
from harness.report.text.contrast_grids import contrast_grid
from harness.report.text.findings import MOST_TOLD, finding
from harness.report.text.latex import to_latex
from harness.report.text.markdown import to_markdown
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithm_configs.families import OTHERS, OWN, family_of
from tests.harness.report.text.test_paper import records, variants

NAMES = [*ALGORITHM_CONFIGS, "my_losses:Gap"]
SHUFFLED = sorted(NAMES, key=lambda name: name[::-1])


@pytest.fixture(scope="module")
def many():
    return compare(records({name: 0.3 + 0.004 * place for place, name in enumerate(SHUFFLED)}))


def test_every_algorithm_has_a_family():
    families = {name: family_of(name) for name in ALGORITHM_CONFIGS}
    assert OTHERS not in families.values()
    assert OWN not in families.values()
    assert (families["ndcl"], families["boda"], families["mldg"]) == (
        "class imbalance", "features alike", "gradients of domains"
    )  # fmt: skip
    assert (family_of("my_losses:Gap"), family_of("of_a_later_version")) == (OWN, OTHERS)


def test_the_reference_stands_first_and_families_together(many):
    (table,) = many.tables
    groups = in_families(table.algorithms, table.families)
    assert groups[0] == ("", ["erm"])
    headings = [family for family, _ in groups]
    assert len(headings) == len(set(headings)), "each family in one piece"
    assert sorted(name for _, names in groups for name in names) == sorted(NAMES)
    assert many.algorithms == list(table.algorithms)


def test_a_variant_is_of_the_family_of_its_algorithm():
    own = records(dict.fromkeys(NAMES[:MOST_UNGROUPED], 0.4))
    comparison = compare([*own, *variants(records({"no_alignment": 0.4}), "ndcl")])
    assert comparison.families["no_alignment"] == "class imbalance"


def test_few_are_one_list():
    few = compare(records(dict.fromkeys(NAMES[:MOST_UNGROUPED], 0.4)))
    assert few.families == {}
    assert few.algorithms == NAMES[:MOST_UNGROUPED]
    assert set(accuracy_grid(few.tables[0]).headings) == {""}


def test_another_reference_stands_above_its_family():
    comparison = compare(records(dict.fromkeys(NAMES, 0.4)), reference="mldg")
    (table,) = comparison.tables
    assert in_families(table.algorithms, table.families)[0] == ("", ["mldg"])
    assert comparison.families["erm"] == "class imbalance"


def test_each_block_of_a_grid_is_of_one_family(many):
    (table,) = many.tables
    for heading, rows in contrast_grid(table).headed_blocks:
        assert {family_of(row.labels[1]) for row in rows} == {heading}
    own = [heading for heading, rows in accuracy_grid(table).headed_blocks if rows[0].labels[0] == "overall"]
    assert own[0] == ""
    assert own[-1] == "differences from erm"
    assert set(own[1:-1]) == {family_of(name) for name in NAMES}


def test_headings_stand_in_terminal_markdown_page_and_latex(many):
    out = io.StringIO()
    Console(file=out, width=100).print(to_console(many))
    for text, heading in (
        (out.getvalue(), "\nfeatures alike"),
        (to_markdown(many), "| *features alike* |"),
        (to_html("many", many, NO_DETAILS), ">features alike</th>"),
        (to_latex(many), r"{l}{\emph{features alike}}"),
    ):
        assert heading in text
        assert text.index(heading) < text.index("coral")


def test_of_many_the_page_shows_mean_difference_and_rank_first(many):
    page = to_html("many", many, NO_DETAILS)
    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page[page.index('<table class="long">') :])
    assert heads[:5] == ["algorithm", "mean", "from erm", "rank", "scan"]
    assert f"{len(NAMES)} algorithms on 4 unseen domains" in page
    assert "<summary>Differences by domain</summary>" in page
    few = to_html("few", compare(records({"erm": 0.4, "ndcl": 0.5})), NO_DETAILS)
    assert 'class="long"' not in few
    assert "erm, ndcl on 4 unseen domains" in few


def test_of_many_that_differ_the_sentence_names_the_highest(many):
    told = finding(many.tables[0])
    assert told.count("95 % interval") == MOST_TOLD
    assert re.search(r"of the others \d+ are higher", told)
