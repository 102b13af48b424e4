"""Accuracy over the imbalance ratio: which settings make a curve, its numbers, its table and its picture."""

from dataclasses import replace
from itertools import product

import pytest
from PIL import Image

from harness.report import compare
from harness.report.analysis.curves import ratio_of
from harness.report.figures.ratio import draw_curves
from harness.report.text.markdown import to_markdown
from tests.harness.report.text.test_report import printed
from tests.made.made_records import measured

RATIOS = (10, 200, 65)
TARGETS = ("scan", "sign")


def accuracy(algorithm: str, target: str, ratio: float, seed: int) -> float:
    return 0.9 - 0.001 * ratio + 0.1 * (algorithm == "ndcl") + 0.02 * (target == "sign") + 0.01 * seed


def sweep(ratios=RATIOS, targets=TARGETS, algorithms=("erm", "ndcl")):
    return [
        measured(algorithm, target, accuracy(algorithm, target, ratio, seed), seed=seed, ratio=ratio)
        for ratio, algorithm, target, seed in product(ratios, algorithms, targets, (1, 2))
    ]


def with_imbalance(records, **changes):
    """The records under a setting of another name that differs in `changes`."""
    label = "-".join(map(str, changes.values()))
    return [
        replace(
            record,
            study=replace(record.study, setting=label),
            config={**record.config, "imbalance": {**record.config["imbalance"], **changes}},
        )
        for record in records
    ]


def only_curve(records):
    (curve,) = compare(records).curves
    return curve


@pytest.mark.parametrize(
    ("imbalance", "ratio"),
    [
        ({"setting": "long_tail", "ratio": 65}, 65),
        ({"setting": "long_tail", "ratio": None, "counts": [50, 10, 5, 0]}, 10),
        ({"setting": "natural", "ratio": None, "counts": None}, None),
        ({"setting": "released/cross"}, None),
    ],
)
def test_the_ratio_of_a_setting(imbalance, ratio):
    assert ratio_of(imbalance) == ratio


def test_points_are_means_over_targets_by_rising_ratio():
    curve = only_curve(sweep())
    assert (curve.dataset, curve.kind, list(curve.ratios.values())) == ("digits", "long_tail", [10, 65, 200])
    assert [metric.metric for metric in curve.metrics] == ["overall", "balanced", "few"]
    for setting, ratio in curve.ratios.items():
        cell = curve.metrics[2].cells["ndcl", setting]
        expected = [accuracy("ndcl", target, ratio, seed) for target in TARGETS for seed in (1, 2)]
        assert cell.mean == pytest.approx(sum(expected) / 4)
        assert cell.error == pytest.approx(0.005 / 2**0.5)
        assert cell.num_seeds == 2


def test_counts_stand_on_the_curve_by_their_ratio():
    counts = with_imbalance(sweep(ratios=(65,)), ratio=None, counts=[60, 20, 3])
    assert list(only_curve([*sweep(ratios=(65,)), *counts]).ratios.values()) == [20, 65]


def test_settings_that_differ_otherwise_are_on_no_common_curve():
    other = with_imbalance(sweep(ratios=(10,)), class_order="per_domain")
    assert compare([*sweep(ratios=(65,)), *other]).curves == ()
    natural = with_imbalance(sweep(ratios=(10,)), setting="natural", ratio=None)
    assert compare([*sweep(ratios=(65,)), *natural]).curves == ()
    assert compare(sweep(ratios=(65,))).curves == ()


def test_all_points_are_over_the_same_targets():
    records = [r for r in sweep() if (r.study.setting, r.study.target) != ("long_tail-65", "sign")]
    metric = only_curve(records).metrics[0]
    assert metric.mean_over == ("scan",)
    assert metric.cells["erm", "long_tail-10"].mean == pytest.approx(accuracy("erm", "scan", 10, 1.5))
    assert "overall: the mean is over scan only" in to_markdown(compare(records)).split("over the imbalance ratio")[1]


def test_a_ratio_without_few_shot_classes_leaves_a_gap():
    records = sweep()
    for record in records:
        if record.study.setting == "long_tail-10":
            record.evaluations[0]["target"]["few"] = None
    few = only_curve(records).metrics[2]
    assert few.mean_over == TARGETS
    assert {setting for _, setting in few.cells} == {"long_tail-65", "long_tail-200"}
    row = to_markdown(compare(records)).split("over the imbalance ratio")[1].split("| few |")[1].splitlines()[0]
    assert row.split(" | ")[:2] == [" erm", "-"]


def test_without_a_common_target_there_are_no_points():
    records = [*sweep(ratios=(10,), targets=("scan",)), *sweep(ratios=(65,), targets=("sign",))]
    assert compare(records).curves == ()
    assert "over the imbalance ratio" not in printed(records)


def test_the_table_and_the_picture_are_in_the_report():
    markdown = to_markdown(compare(sweep()))
    assert "### digits, long_tail: accuracy over the imbalance ratio in %" in markdown
    assert "| metric | algorithm | 10 | 65 | 200 |" in markdown
    assert "| overall | erm | 91.5 ±0.4 | 86.0 ±0.4 | 72.5 ±0.4 |" in markdown.replace("**", "")
    assert "![accuracy over the imbalance ratio](accuracy_over_ratio.png)" in markdown
    assert "86.0 ±0.4" in printed(sweep(ratios=(10, 65))).split("over the imbalance ratio")[1]
    assert "accuracy_over_ratio" not in to_markdown(compare(sweep(ratios=(65,))))


def test_the_picture_has_every_algorithm_and_both_formats(tmp_path):
    curves = compare(sweep(algorithms=("erm", "ndcl", "focal"))).curves
    paths = [tmp_path / "curves.png", tmp_path / "curves.pdf"]
    draw_curves(curves, "Accuracy", paths)
    assert paths[1].read_bytes().startswith(b"%PDF")
    with Image.open(paths[0]) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=1 << 20)}
    assert {(0, 0, 0), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    draw_curves(compare(sweep(algorithms=("erm",))).curves, "Accuracy", paths[:1])
    with Image.open(paths[0]) as image:
        assert (0x00, 0x72, 0xB2) not in {c for _, c in image.convert("RGB").getcolors(maxcolors=1 << 20)}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({10: "own-10", 200: "own-200", 65: "own-65"}, "own"),
        ({10: "mild", 200: "hard", 65: "usual"}, "long_tail (mild, usual, hard)"),
    ],
)
def test_titles_name_the_label(names, kind):
    other = [
        replace(
            record,
            study=replace(record.study, setting=names[record.config["imbalance"]["ratio"]]),
            config={**record.config, "imbalance": {**record.config["imbalance"], "class_order": "per_domain"}},
        )
        for record in sweep()
    ]
    comparison = compare([*sweep(), *other])
    assert [curve.kind for curve in comparison.curves] == ["long_tail", kind]
    text = to_markdown(comparison)
    for title in ("long_tail", kind):
        assert f"digits, {title}: accuracy over the imbalance ratio in %" in text
    assert f"digits, {names[10]}: accuracy on the unseen domain" in text
