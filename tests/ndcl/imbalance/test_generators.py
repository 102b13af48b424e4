"""The generators against the release's own tables, and what a user may do wrong."""

import json
from typing import Any

import numpy as np
import pytest

from ndcl.errors import UserError
from ndcl.imbalance.generators import generate, tail_ratios
from ndcl.imbalance.sources import SourceCounts
from tests.golden_vectors import FOLDER

GOLDEN = json.loads((FOLDER / "count_tables.json").read_text())
OUTPUTS = np.load(FOLDER / "count_tables.npz", allow_pickle=False)
SETTINGS = {
    "TotalHeavyTail": "total_heavy_tail",
    "Cross": "cross",
    "Duality": "duality",
    "ImbalancedDomains": "imbalanced_domains",
    "ImbalancedClasses": "imbalanced_classes",
}
NAMES = {"test": "test_fraction", "c": "tail_shape", "lower": "smallest_count", "middle": "middle_share"}
NAMES |= {"middle_range": "middle_total", "num": "counts", "upper": "total"}


def parameters_of(case: dict[str, Any], target: str) -> dict[str, Any]:
    """The case's parameters under our names; two of the release's are given per target."""
    given = {NAMES[key]: value for key, value in case["params"].items() if key in NAMES}
    return {key: value[target] if isinstance(value, dict) else value for key, value in given.items()}


def setting_of(case: dict[str, Any]) -> str:
    """The release's two modes called `max` are one."""
    return "imbalanced_domains" if case["params"].get("mode") == "max" else SETTINGS[case["generator"]]


def sources_of(table: dict[str, Any], counts: np.ndarray, target: int, validation: int) -> SourceCounts:
    kept = [e for e in range(len(counts)) if e != target]
    return SourceCounts(
        target=table["domains"][target],
        domains=tuple(table["domains"][e] for e in kept),
        classes=tuple(table["classes"]),
        available=counts[kept].astype(np.int64) - validation,
    )


def made_sources(available: list[list[int]], target: str = "z") -> SourceCounts:
    array = np.array(available, np.int64)
    classes = tuple(f"class{k}" for k in range(array.shape[1]))
    return SourceCounts(target=target, domains=tuple("abcde"[: len(array)]), classes=classes, available=array)


def random_state() -> np.random.RandomState:
    return np.random.RandomState(0)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['case']}-{case['generator']}")
def test_generators_equal_the_releases_cell_for_cell(case: dict[str, Any]) -> None:
    table, counts = GOLDEN["tables"][case["table"]], OUTPUTS[f"counts/{case['table']}"]
    rng = np.random.RandomState(case["np_seed"])
    for target, name in enumerate(table["domains"]):
        sources = sources_of(table, counts, target, case["params"]["valid"])
        got = generate(setting_of(case), parameters_of(case, name), sources, rng)
        assert np.array_equal(got, np.delete(OUTPUTS[f"out/{case['case']}"][target], target, axis=0))


def test_quirk_29_the_callers_table_is_left_alone_and_a_second_call_gives_the_same() -> None:
    for setting, parameters in (
        *((name, {}) for name in list(SETTINGS.values())[:4]),
        ("imbalanced_classes", {"total": 9}),
    ):
        sources = made_sources([[20, 30, 25], [40, 50, 22], [70, 60, 80]])
        before = sources.available.copy()
        first = generate(setting, parameters, sources, random_state())
        assert np.array_equal(sources.available, before)
        assert np.array_equal(generate(setting, parameters, sources, random_state()), first)


@pytest.mark.parametrize("setting", ["cross", "duality"])
def test_quirk_29_one_source_domain_is_a_clear_error(setting: str) -> None:
    with pytest.raises(UserError, match=f"{setting} needs at least 2 source domains, not 1"):
        generate(setting, {}, made_sources([[20, 30, 25]]), random_state())


def test_quirk_29_imbalanced_classes_is_never_silently_balanced() -> None:
    with pytest.raises(UserError, match=r"imbalance\.parameters\.total: a value is required"):
        generate("imbalanced_classes", {}, made_sources([[20, 30, 25]]), random_state())
    counts = generate("imbalanced_classes", {"total": 60}, made_sources([[90, 90, 90]] * 2), random_state())
    assert all(len(set(row)) == 3 for row in counts.tolist())


def test_the_global_generator_is_neither_used_nor_changed() -> None:
    sources = made_sources([[20, 30, 25], [40, 50, 22], [70, 60, 80]])
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        state = np.random.get_state()[1].tolist()
        results.append(generate("duality", {}, sources, random_state()).tolist())
        assert np.random.get_state()[1].tolist() == state
    assert results[0] == results[1]


def test_a_tail_falls_and_is_flatter_for_a_larger_shape() -> None:
    flat, steep = tail_ratios(4, 7), tail_ratios(2, 7)
    for tail in (flat, steep):
        assert tail.sum() == pytest.approx(1)
        assert (np.diff(tail) < 0).all()
    assert steep[0] / steep[-1] > flat[0] / flat[-1]


def test_tail_ratios_equal_the_closed_form() -> None:
    x = np.linspace(np.sin(np.pi / 3) / (np.pi / 3), 99 ** (1 / 3), 5)
    density = 3 * x**2 / (1 + x**3) ** 2
    assert tail_ratios(3, 5) == pytest.approx(density / density.sum(), rel=1e-12)


def test_cross_reverses_the_class_order_of_the_larger_source() -> None:
    counts = generate("cross", {}, made_sources([[50, 40, 30], [200, 200, 200], [10, 10, 10]]), random_state())
    assert counts[0].argmax() == 0
    assert counts[1].argmax() == 2
    assert len(set(counts[2].tolist())) == 1


def test_imbalanced_domains_takes_counts_by_name() -> None:
    sources = made_sources([[50, 40], [60, 70]])
    got = generate("imbalanced_domains", {"counts": {"b": 7, "z": 3}, "test_fraction": 0.5}, sources, random_state())
    assert got.tolist() == [[20, 20], [7, 7]]  # z is the target: its number waits for another one
    with pytest.raises(UserError, match=r"unknown domain in imbalance\.parameters\.counts: 'bb'; did you mean 'b'\?"):
        generate("imbalanced_domains", {"counts": {"bb": 7}}, sources, random_state())


def test_a_class_that_no_source_has_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"with target 'z' no source domain has one of class 'class1'"):
        generate("total_heavy_tail", {}, made_sources([[20, 0], [30, 0]]), random_state())


@pytest.mark.parametrize(
    ("setting", "parameters", "message"),
    [
        (
            "total_heavy_tail",
            {"tail_shpe": 2},
            r"imbalance.parameters.tail_shpe: unknown key; did you mean 'tail_shape'",
        ),
        ("total_heavy_tail", {"tail_shape": 1}, r"imbalance.parameters.tail_shape: 1.0 is out of range; .* than 1"),
        ("total_heavy_tail", {"smallest_count": 0}, "smallest_count: 0 is out of range"),
        ("cross", {"test_fraction": 1.0}, "test_fraction: 1.0 is out of range"),
        ("cross", {"middle_share": 0}, "middle_share: 0.0 is out of range"),
        ("duality", {"middle_total": [50, 40]}, "middle_total: .50, 40. is out of range"),
        ("imbalanced_domains", {"counts": {"a": 0}}, "counts.a: 0 is out of range"),
        ("imbalanced_classes", {"total": 0}, "total: 0 is out of range"),
        ("crosss", {}, "unknown generator 'crosss'; did you mean 'cross'"),
    ],
)
def test_wrong_parameters_are_named(setting: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(setting, parameters, made_sources([[20, 30], [30, 40]]), random_state())
