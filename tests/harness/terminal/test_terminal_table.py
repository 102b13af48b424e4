"""Tables on terminals of 60 and 80 columns and in pipes: numbers and words whole, names short but different."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.cli.data.imbalance_table import class_table, summary_table
from harness.cli.data.tables import counts_table
from harness.cli.predictions import SCHEMA, table_of
from harness.cli.progress import study_table
from harness.plan.words import plan_table
from harness.records import StudyKey
from harness.report import compare
from harness.report.text.console import to_console
from harness.state import StudySummary
from harness.terminal.legible import ERRORS
from harness.terminal.shortening import cells_of, shortened
from harness.terminal.table import Table
from ndcl.config import ImbalanceConfig
from ndcl.data.catalogue import CATALOGUE
from ndcl.imbalance import overview
from tests.made.made_records import measured, plan, study

PIPE = 10_000
PACS = CATALOGUE["PACS"]
SETTING = "total_heavy_tail"
ALGORITHMS = ("erm", "ndcl", "balanced_softmax")


def lines_of(shown: object, width: int, encoding: str = "utf-8") -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=ERRORS)
    Console(file=out, width=width).print(shown, crop=False)
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode(encoding).splitlines()


def key(algorithm: str, target: str) -> StudyKey:
    return StudyKey(algorithm=algorithm, dataset="PACS", setting=SETTING, target=target)


def made_report() -> object:
    values = np.random.default_rng(0).uniform(0.3, 0.9, (3, 4, 3))
    return to_console(
        compare(
            [
                measured(algorithm, target, float(values[a, t, seed]), seed=seed + 1)
                for a, algorithm in enumerate(ALGORITHMS)
                for t, target in enumerate(PACS.domains)
                for seed in range(3)
            ]
        )
    )


def made_states() -> object:
    counts = {"running": 1, "finished": 15, "pruned": 12, "failed": 10}
    return study_table(
        [
            StudySummary(key=key(a, t), stage="search", counts=counts, num_planned=45)
            for a in ALGORITHMS
            for t in PACS.domains
        ]
    )


def made_plan() -> object:
    return plan_table(plan(Path("results"), *(study(key=key(a, t)) for a in ALGORITHMS for t in PACS.domains)), [])


def made_views() -> list[object]:
    config = ImbalanceConfig(setting="natural")
    views = [overview(config, PACS.name, PACS.domains, PACS.classes, PACS.counts, domain) for domain in PACS.domains]
    return [class_table(views[0]), summary_table(views, "PACS, natural")]


def made_predictions() -> object:
    rows = [[f"photos/a_long_folder/of_images/{n:05d}.jpg", "art painting of a dog", n, 0.25, 1.5] for n in range(3)]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), SCHEMA.types, strict=True)]
    return table_of([pa.record_batch(columns, SCHEMA)], 3)


def made_counts() -> object:
    entry = CATALOGUE["OfficeHome"]
    return counts_table(entry.domains, entry.classes, entry.counts, "OfficeHome")


TABLES: dict[str, Callable[[], object]] = {
    "plan": made_plan,
    "status": made_states,
    "report": made_report,
    "counts": lambda: counts_table(PACS.domains, PACS.classes, PACS.counts, "PACS"),
    "counts of many classes": made_counts,
    "imbalance by class": lambda: made_views()[0],
    "imbalance": lambda: made_views()[1],
    "predictions": made_predictions,
}


def words_of(lines: Sequence[str]) -> set[str]:
    return {word for line in lines for word in line.split() if any(c.isalnum() for c in word)}


@pytest.mark.parametrize("width", [60, 80, PIPE])
@pytest.mark.parametrize("name", TABLES)
def test_no_line_is_too_wide_and_no_word_is_broken(name: str, width: int) -> None:
    """A word of a narrow table is one of the whole table, or a name that is marked as shortened."""
    made = TABLES[name]()
    whole, lines = words_of(lines_of(made, PIPE)), lines_of(made, width)
    assert max(map(cells_of, lines)) <= width
    assert {word for word in words_of(lines) - whole if "…" not in word} == set()


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_there(name: str, width: int) -> None:
    def numbers(lines: Sequence[str]) -> set[str]:
        return {word for word in words_of(lines) if word.strip("±*+-%")[:1].isdecimal() and "…" not in word}

    made = TABLES[name]()
    assert numbers(lines_of(made, width)) >= numbers(lines_of(made, PIPE))


def test_verdicts_and_intervals_stand_whole() -> None:
    lines = lines_of(made_report(), 80)
    assert any(line.rstrip().endswith(("within noise", "higher", "lower", "too few pairs")) for line in lines)


def test_a_pipe_shortens_nothing() -> None:
    for make in TABLES.values():
        assert not any("…" in line for line in lines_of(make(), PIPE))


def test_a_wide_table_comes_in_parts_each_with_its_names() -> None:
    table = Table(title="made")
    table.add_column("algorithm", "name")
    for number in range(8):
        table.add_column(f"domain_{number}")
    table.add_row("ndcl", *(f"{number}0.0 ±1.5" for number in range(8)))
    lines = lines_of(table, 40)
    assert [line for line in lines if "made" in line] == ["made"]
    assert sum("ndcl" in line for line in lines) == 3
    assert all(any(f"{number}0.0 ±1.5" in line for line in lines) for number in range(8))


def test_a_narrow_head_gives_way_before_numbers_do() -> None:
    table = Table()
    table.add_column("study", "name")
    for name in ("running", "finished", "pruned"):
        table.add_column(name)
    table.add_row("ndcl.PACS.total_heavy_tail.art_painting", "1", "2", "3")
    [head, _, row] = [line for line in lines_of(table, 42) if line.strip()]
    assert row.split() == ["ndcl.P…art_painting", "1", "2", "3"]
    assert head.split() == ["study", "running", "finish…", "pruned"]


def test_nothing_in_a_cell_is_markup_or_moves_the_cursor() -> None:
    table = Table(title="[red]title[/]")
    table.add_column("[bold]head", "name")
    table.add_row("[/]")
    table.add_row(":smile: [link=x]y")
    table.add_row("a\x1b[2Jb\nc")
    assert [line.strip() for line in lines_of(table, 80) if "─" not in line] == [
        "[red]title[/]", "", "[bold]head", "[/]", ":smile: [link=x]y", r"a\x1b[2Jb\nc", "",
    ]  # fmt: skip


def test_an_ascii_terminal_gets_a_straight_table() -> None:
    lines = lines_of(made_report(), 80, "ascii")
    assert all(line.isascii() for line in lines)
    assert any("+-" in line for line in lines)


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Mn", "Me", "Cf", "Zl", "Zp")), min_size=1, max_size=40)


@given(st.lists(NAMES, min_size=1, max_size=20), st.integers(12, 30))
def test_short_names_fit_and_stay_different(names: list[str], width: int) -> None:
    short = shortened(names, [width] * len(names))
    assert all(cells_of(name) <= width for name in short)
    assert len(set(short)) == len(set(names))
    assert [s for s, name in zip(short, names, strict=True) if cells_of(name) <= width] == [
        name for name in names if cells_of(name) <= width
    ]


def test_what_tells_names_apart_is_kept() -> None:
    def both(*names: str, width: int = 14) -> list[str]:
        return shortened(names, [width] * len(names))

    assert both("ndcl.PACS.total_heavy_tail.art_painting", width=24) == ["ndcl.PACS.t…art_painting"]
    assert both("photos/of/2026/0001.png") == ["photo…0001.png"]
    assert both("balanced_softmax") == ["balanced_soft…"]
    assert both("balanced_softmax_1", "balanced_softmax_2") == ["balance…tmax_1", "balance…tmax_2"]
    assert both("a" * 20 + "x" + "b" * 20, "a" * 20 + "y" + "b" * 20) == ["aaaaaaaaaaaa…1", "aaaaaaaaaaaa…2"]
