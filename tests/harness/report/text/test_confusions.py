"""Confusions in numbers: all unseen domains of an algorithm together, under the names of the classes."""

from dataclasses import replace

from harness.report import compare
from harness.report.analysis.details import details_of
from harness.report.figures.confusion import draw_confusion
from harness.report.text.confusion_grid import MOST_CLASSES, confusion_grids
from harness.report.text.markdown import to_markdown
from tests.made.made_records import measured


def final(algorithm: str, target: str, counts: list[list[int]], classes: list[str]):
    made = measured(algorithm, target, 0.5)
    told = tuple(point | {"target_confusion": counts} for point in made.evaluations)
    return replace(made, evaluations=told, environment={"data": {"classes": classes}})


def test_domains_are_added_up_by_algorithm():
    names = ["dog", "giraffe"]
    records = [
        final("erm", "scan", [[1, 3], [0, 4]], names),
        final("erm", "sign", [[2, 2], [1, 3]], names),
        final("ndcl", "scan", [[4, 0], [0, 4]], names),
    ]
    text = to_markdown(compare(records), details_of(records, (), None))
    erm, ndcl = (part.splitlines() for part in text.split("confusions of ")[1:])
    assert [erm[2], *erm[4:6]] == [
        "| class, taken for | dog | giraffe |", "| dog | **3** | 5 |", "| giraffe | 1 | **7** |"
    ]  # fmt: skip
    assert ndcl[4] == "| dog | **4** | 0 |"


def test_of_many_classes_there_is_no_table():
    size = MOST_CLASSES + 1
    records = [final("erm", "scan", [[1] * size] * size, [str(k) for k in range(size)])]
    (table,) = compare(records).tables
    assert not list(confusion_grids(table, details_of(records, (), None)))


def test_the_picture_has_names_on_both_sides_and_counts(tmp_path):
    records = [final("erm", "scan", [[11, 3], [0, 4]], ["dog", "giraffe"])]
    (study,) = details_of(records, (), None).studies
    draw_confusion(study.confusion, "made", [tmp_path / "made.svg"])
    picture = (tmp_path / "made.svg").read_text()
    assert [picture.count(f"<!-- {text} -->") for text in ("dog", "giraffe", "11", "3", "0")] == [2, 2, 1, 1, 0]
