"""Tables and pictures of a setting: right for a few classes, and readable for hundreds."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from harness.cli.data import imbalance_picture
from harness.cli.data.imbalance_picture import MOST_BARS, draw
from harness.cli.data.imbalance_table import MOST_ROWS, class_table, ratio_text, summary_table, thresholds_text
from ndcl.config import ImbalanceConfig
from ndcl.imbalance import Overview, overview

DOMAINS = ("art", "photo", "sketch")


def views_of(num_classes: int, prefix: str = "class-", domains: tuple[str, ...] = DOMAINS) -> list[Overview]:
    """A shared tail, seen for every target domain; `art` lacks the last class."""
    sizes = np.geomspace(400, 6, num_classes).astype(int)
    available = np.stack([sizes, sizes // 2 + 6, *[sizes * 2] * (len(domains) - 2)])
    available[0, num_classes - 1] = 0
    classes = tuple(f"{prefix}{k}" for k in range(num_classes))
    config = ImbalanceConfig(setting="natural")
    return [overview(config, "made", domains, classes, available, target) for target in domains]


def lines_of(table: object, width: int = 100) -> list[list[str]]:
    """Words of each line."""
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_summary_has_one_row_for_each_target() -> None:
    views = views_of(5)
    lines = lines_of(summary_table(views, "made, natural"))
    assert lines[0] == ["made,", "natural"]
    for view in views:
        counts = view.totals
        row = next(line for line in lines if line[:1] == [view.target])
        ratio = ratio_text(counts.max() / counts.min())
        groups = [str(size) for size in view.group_sizes.values()]
        assert row[1:] == [f"{counts.sum():,}", ratio, f"{view.validation.sum()}", f"{view.num_test:,}", *groups]


def test_all_of_few_classes_are_listed_and_summed() -> None:
    view = views_of(5)[1]
    lines = lines_of(class_table(view))
    assert [line for line in lines if line[:1] == ["1"]] == [["1", "class-0", "395", "795", "1,190", "many"]]
    assert [line for line in lines if line[:1] == ["5"]] == [["5", "class-4", "0", "7", "7", "few"]]
    assert ["images", "584", "1,195", "1,779", "2", "many"] in lines
    assert ["ratio", "32.9", "114", "170", "2", "median"] in lines
    assert ["validation", "20", "25", "45", "1", "few"] in lines
    assert ["classes", "absent", "1", "0", "0"] in lines


def test_absent_classes_are_mentioned_only_where_there_are_any() -> None:
    assert not any("absent" in line for line in lines_of(class_table(views_of(5)[0])))


@pytest.mark.parametrize("num_classes", [MOST_ROWS, MOST_ROWS + 1, 345])
def test_hundreds_of_classes_are_shown_by_their_ends(num_classes: int) -> None:
    view = views_of(num_classes)[0]
    lines = lines_of(class_table(view))
    assert len(lines) <= 3 + MOST_ROWS + 8
    for rank in (1, 8, num_classes - 7, num_classes):
        k = view.order[rank - 1]
        assert [line[:2] for line in lines if line[:1] == [str(rank)]] == [[str(rank), f"class-{k}"]]
    hidden = [line for line in lines if line[:1] == ["..."]]
    assert bool(hidden) == (num_classes > MOST_ROWS)
    if hidden:
        middle = view.counts[0, view.order[8:-8]]
        low, high = middle.min(), middle.max()
        expected = f"{low}" if low == high else f"{low}-{high}"
        assert hidden[0][:4] == ["...", f"{num_classes - 16}", "classes", expected]


def test_a_narrow_terminal_cuts_names_but_no_number() -> None:
    view = views_of(
        345, prefix="a_class_with_a_rather_long_name_", domains=("clipart", "infograph", "quickdraw", "real")
    )[0]
    lines = lines_of(class_table(view), width=70)
    images = next(line for line in lines if line[:1] == ["images"])
    assert images[1:5] == [f"{counts.sum():,}" for counts in (*view.counts, view.totals)]
    assert any("…" in line[1] for line in lines if line[:1] == ["1"])


def test_names_are_not_taken_for_markup() -> None:
    assert any("[red]0" in line for line in lines_of(class_table(views_of(3, prefix="[red]")[0])))


def test_thresholds_are_told() -> None:
    assert "many-shot above 100 training images (mean over source domains), few-shot below 20" in thresholds_text(
        views_of(3)[0]
    )


@pytest.mark.parametrize(
    ("ratio", "text"), [(None, "-"), (65.0, "65"), (12.54, "12.5"), (1234.5, "1,234"), (99.96, "100")]
)
def test_ratios_are_short(ratio: float | None, text: str) -> None:
    assert ratio_text(ratio) == text


@pytest.mark.parametrize("num_classes", [3, MOST_BARS, MOST_BARS + 1, 345])
def test_a_picture_has_a_panel_for_each_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_classes: int
) -> None:
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), savefig(self, *a, **k)))
    views = views_of(num_classes)
    draw(views, DOMAINS, "made, natural", tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as image:
        assert image.width > 1500
        assert len(image.convert("L").getcolors() or []) > 20
    panels = [panel for panel in figures[0].axes if panel.axison]
    assert [panel.get_title(loc="left").split(":")[0] for panel in panels] == [f"target {d}" for d in DOMAINS]
    labels = [text.get_text() for text in panels[0].get_legend().get_texts()]
    counts = views[0].counts[0]
    assert labels[0] == f"photo: {counts.sum():,}, ratio {ratio_text(counts.max() / counts.min())}"
    drawn = (
        [bar.get_height() for bar in panels[0].containers[0]]
        if num_classes <= MOST_BARS
        else [height for _, height in panels[0].collections[0].get_offsets()]
    )
    assert drawn == counts[views[0].order].tolist()
    low, high = panels[0].get_ylim()
    assert low == 0
    assert high > max(view.counts.max() for view in views)


def test_a_domain_has_one_colour_in_all_panels() -> None:
    colours = {domain: imbalance_picture.COLOURS[e] for e, domain in enumerate(DOMAINS)}
    figure = Figure()
    for view, panel in zip(views_of(3), figure.subplots(1, 3), strict=True):
        imbalance_picture._draw_panel(panel, view, colours)
        found = [to_hex(container.patches[0].get_facecolor()) for container in panel.containers]
        assert found == [colours[source].lower() for source in view.sources]


def test_one_target_alone_and_other_formats(tmp_path: Path) -> None:
    draw(views_of(3)[:1], DOMAINS, "made", tmp_path / "made.svg")
    assert "<svg" in (tmp_path / "made.svg").read_text()[:600]
    with pytest.raises(ValueError, match="xyz"):
        draw(views_of(3)[:1], DOMAINS, "made", tmp_path / "made.xyz")
