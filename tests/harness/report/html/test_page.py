"""The HTML page: well-formed, of itself alone, readable by everyone, and with the numbers of report.json."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.html.charts import nice_ticks
from harness.report.html.confusions import NAMED_CLASSES
from harness.report.html.page import style, to_html
from harness.report.html.parts import MINUS, minus
from harness.report.text.json_file import to_json
from tests.made.made_large_sweep import plans, sweep_records
from tests.made.made_records import measured, record

VOID = {"meta", "link", "input", "br", "wbr"}


class Page(HTMLParser):
    """A parser that keeps what the tests look at, and insists on balanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def html(records, plan=(), name="made") -> str:
    return to_html(name, compare(records, studies=[study.key for study in plan]), details_of(records, plan, None))


@pytest.fixture(scope="module")
def whole() -> str:
    return html(sweep_records(), plans())


@pytest.fixture(scope="module")
def page(whole) -> Page:
    return Page(whole)


def test_it_needs_nothing_but_itself(whole, page):
    assert not page.of("script") + page.of("iframe") + page.of("img")
    assert [link["href"] for link in page.of("link")] == ["data:,"]
    assert not re.findall(r"https?://|@import|url\(", whole)
    (policy,) = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_identifiers_are_unique_and_links_and_labels_lead_to_one(page):
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    assert all(link["href"][1:] in ids for link in page.of("a"))
    assert all(label["for"] in ids for label in page.of("label"))


def test_every_table_has_a_caption_and_scoped_heads_and_every_picture_a_text(page):
    assert len(page.of("table")) == len(page.of("caption")) > 3 * 5
    assert {head["scope"] for head in page.of("th")} == {"col", "row"}
    pictures = page.of("svg")
    assert len(pictures) > 100
    assert all(p.get("aria-hidden") == "true" or (p["role"] == "img" and p["aria-label"]) for p in pictures)
    assert page.of("html") == [{"lang": "en"}]
    assert {region["tabindex"] for region in page.of("div") if region.get("role") == "region"} == {"0"}


def test_every_tab_group_has_one_open_panel(page):
    groups = Counter(button["name"] for button in page.of("input"))
    checked = Counter(button["name"] for button in page.of("input") if "checked" in button)
    assert set(checked.values()) == {1}
    assert set(checked) == set(groups)
    assert sorted(groups.values()) == [3, 3, 3, 3, 5, 5, 5]  # settings of four sections; metrics of three settings


def shown_numbers(data: dict) -> list[str]:
    """How a page has to show the numbers of report.json."""
    cells = [
        cell
        for table in data["tables"]
        for metric in table["metrics"].values()
        for by_target in metric["cells"].values()
        for cell in by_target.values()
    ]
    contrasts = [c for table in data["tables"] for metric in table["metrics"].values() for c in metric["contrasts"]]
    numbers = [f"{100 * cell['mean']:.1f}" for cell in cells]
    numbers += [f"±{100 * cell['error']:.1f}" for cell in cells if cell["error"] is not None]
    numbers += [minus(f"{100 * end:+.1f}") for c in contrasts if c["result"] for end in c["result"]["interval"]]
    numbers += [
        minus(f"{value:+.2f}")
        for diagnosis in data["diagnostics"]
        for measure in diagnosis["correlations"].values()
        for found in measure["by_algorithm"].values()
        for value in (found["rho"], found["within"])
    ]
    numbers += [f"{100 * share:.0f}" for s in data["studies"] for share in (s["importance"] or {}).values()]
    return numbers


def test_the_page_holds_the_numbers_of_the_json(page):
    records, plan = sweep_records(), plans()
    comparison = compare(records, studies=[study.key for study in plan])
    data = to_json(comparison, details_of(records, plan, None))
    numbers, words = shown_numbers(data), page.words.split()
    assert len(numbers) > 500
    assert not set(numbers) - set(words)
    assert all(minus(table["finding"]) in page.words for table in data["tables"])


def test_best_and_second_of_each_column_are_marked(whole):
    table = whole.split("digits, long_tail-65: overall accuracy")[2]
    assert table.split("</tbody>")[0].count('class="best') == 5
    assert table.split("</tbody>")[0].count('class="second') == 5


def test_what_is_missing_and_what_failed_is_told(page):
    assert "The sweep has not ended: 4 of 48 studies are not complete" in page.words
    assert "search 7 of 12, final runs 0 of 3" in page.words
    assert "1 training failed" in page.words
    assert "NonFiniteLossError: the loss became NaN" in page.words
    assert "raise NonFiniteLossError(...)" in page.words  # the end of its log
    assert "UNEQUAL BUDGET on sign" in page.words
    complete = Page(html([measured(name, "scan", 0.5, seed=seed) for name in ("erm", "ndcl") for seed in (1, 2)]))
    assert "has not ended" not in complete.words


def confused(counts: list[list[int]], classes: list[str]) -> str:
    """The page of one final run with this matrix."""
    made = measured("erm", "scan", 0.5)
    told = tuple(point | {"target_confusion": counts} for point in made.evaluations)
    return html([replace(made, evaluations=told, environment={"data": {"classes": classes}})])


def test_classes_go_by_their_names_on_both_sides_of_their_counts():
    text = confused([[1, 3], [0, 4]], ["dog<", "a very long name"])
    assert "dog&lt; taken for a very long name: 75\N{NO-BREAK SPACE}%" in text
    matrix = text[text.index('<svg class="matrix"') : text.index("</svg>", text.index('<svg class="matrix"'))]
    assert matrix.count(">dog&lt;</text>") == 2
    assert matrix.count(">a very long…</text>") == 2
    assert re.findall(r'class="(count[^"]*)" x="([\d.]+)" y="([\d.]+)" text-anchor="middle">(\d+)<', matrix) == [
        ("count", "0.5", "0.64", "1"), ("count dark", "1.5", "0.64", "3"), ("count dark", "1.5", "1.64", "4")
    ]  # fmt: skip
    assert "classes in order" not in text


def test_many_classes_are_named_below_their_matrices():
    size = NAMED_CLASSES + 1
    counts = [[5 * (j == k) for j in range(size)] for k in range(size)]
    text = confused(counts, [f"class {k}" for k in range(size)])
    assert f"<summary>The {size} classes in order</summary><p>class 0, class 1" in text
    assert '<text class="count' not in text
    assert "classes in order" not in confused(counts, [str(k) for k in range(size)]), "they are called by their numbers"


def test_margins_by_class_go_by_the_names_of_classes():
    named = [f"kind {letter}" for letter in "abcdefghij"]
    own = [replace(each, environment={"data": {"classes": named}}) for each in sweep_records()]
    chart = html(own).split("<b>by class, target</b>")[1].split("</svg>")[0]
    assert [name for name in named if f">{name}</text>" in chart] == named
    assert ">class</text>" in chart
    numbers = html(sweep_records()).split("<b>by class, target</b>")[1].split("</svg>")[0]
    assert ">9</text>" in numbers


def test_the_oracle_is_marked_everywhere():
    oracle = Page(html(sweep_records(oracle=True)))
    assert "ORACLE: selected with labels of the target domain" in oracle.words
    assert "Checkpoints and trials are selected by oracle_accuracy." in oracle.words
    captions = re.findall(r"<h2[^>]*>([^<]*)", html(sweep_records(oracle=True)))
    assert captions
    assert all(caption.startswith("ORACLE, ") for caption in captions)


@pytest.mark.parametrize("records", [[], [record(0, "failed", steps=())], [record(0, "running")]])
def test_a_sweep_without_results_has_a_page(records):
    assert "<h1>made</h1>" in html(records)
    Page(html(records))


def test_names_are_text_never_markup():
    strange = [replace(measured("<b>&", "<i>", 0.5), reason="<u>"), measured("erm", "<i>", 0.4)]
    text = html([replace(r, state="failed") for r in strange] + strange, name="<script>alert(1)</script>")
    assert not {"b", "i", "u", "script"} & {tag for tag, _ in Page(text).tags if tag != "b"}
    assert "<b>&amp;" not in text.replace("<b>&lt;", "")
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 12, [0, 5, 10]), (0, 0.8, [0, 0.2, 0.4, 0.6, 0.8]), (57.3, 71, [60, 65, 70]), (5, 5, [5])],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_negative_numbers_have_a_minus_sign_and_names_keep_theirs():
    assert minus("-0.3 to (-1) in long_tail-65") == f"{MINUS}0.3 to ({MINUS}1) in long_tail-65"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_have_contrast(theme):
    """WCAG 2.2, AA: 4.5 for text, 3 for what is drawn."""
    block = style().split(":root {")[1 + theme].split("}")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    needed = {"ink": 7.0, **dict.fromkeys(("muted", "good", "bad", "accent"), 4.5), **{f"s{n}": 3.0 for n in range(8)}}
    for name, least in needed.items():
        for ground in ("paper", "raised"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)
