"""natural and long_tail, the keys each setting uses, and the supply of images."""

import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ndcl.config import ImbalanceConfig
from ndcl.errors import UserError
from ndcl.imbalance import SETTINGS, Counts, count_table
from ndcl.imbalance.generators import GENERATORS
from ndcl.imbalance.long_tail import class_ranks, tail_counts
from ndcl.strict import from_dict

DOMAINS = ("art", "photo", "sketch")
CLASSES = tuple("abcde")
PLENTY = np.full((3, 5), 105)


def table(imbalance: ImbalanceConfig, available: np.ndarray = PLENTY, target: str = "photo") -> Counts:
    return count_table(imbalance, "made", DOMAINS, CLASSES[: available.shape[1]], available, target)


def test_natural_is_all_images_but_the_validation_ones() -> None:
    available = np.arange(15).reshape(3, 5) + 6
    got = table(ImbalanceConfig(setting="natural", validation=4), available)
    assert np.array_equal(got.counts, available[[0, 2]] - 4)
    assert (got.validation, got.many_above, got.few_below) == (4, 100, 20)


def test_natural_keeps_classes_that_a_domain_lacks_empty() -> None:
    available = np.array([[9, 0], [9, 9], [0, 9]])
    assert table(ImbalanceConfig(setting="natural"), available).counts.tolist() == [[4, 0], [0, 4]]


@pytest.mark.parametrize("order", ["global", "per_domain"])
def test_counts_ask_nothing_of_a_class_that_a_domain_lacks(order: Any) -> None:
    available = np.array([[9, 0, 9], [9, 9, 9], [0, 9, 9]])
    imbalance = ImbalanceConfig(setting="long_tail", counts=(3, 2, 1), class_order=order, validation=2)
    got = table(imbalance, available).counts
    assert (got[0, 1], got[1, 0]) == (0, 0)
    assert (np.delete(got[0], 1) > 0).all()
    assert (np.delete(got[1], 0) > 0).all()


@given(st.integers(1, 1000), st.floats(1, 1000), st.integers(2, 60))
@settings(max_examples=200, deadline=None)
def test_a_tail_has_the_ratio_asked_for(limit: int, ratio: float, num_classes: int) -> None:
    if limit < ratio:
        return
    counts = tail_counts(limit, ratio, num_classes)
    assert len(counts) == num_classes
    assert (np.diff(counts) <= 0).all()
    assert 1 <= counts[-1] <= counts[0] <= limit
    assert abs(counts[0] - ratio * counts[-1]) <= 0.5  # as near as a whole number allows
    assert counts[0] > limit / 2 - 1  # and few images are wasted for it


def test_a_tail_falls_by_equal_factors() -> None:
    assert tail_counts(100, 16, 5).tolist() == [96, 48, 24, 12, 6]
    assert tail_counts(100, 1, 3).tolist() == [100, 100, 100]


def test_long_tail_ranks_classes_alike_or_each_domain_its_own_way() -> None:
    shared = table(ImbalanceConfig(ratio=20)).counts
    assert np.array_equal(shared[0], shared[1])
    assert sorted(shared[0].tolist(), reverse=True) == tail_counts(100, 20, 5).tolist()
    own = table(ImbalanceConfig(ratio=20, class_order="per_domain")).counts
    assert np.array_equal(np.sort(own), np.sort(shared))
    assert not np.array_equal(own[0], own[1])


def test_the_class_order_is_random_by_the_seed_alone() -> None:
    orders = {tuple(table(ImbalanceConfig(ratio=20, seed=seed)).counts[0].tolist()) for seed in range(20)}
    assert len(orders) > 10
    np.random.seed(1)
    first = table(ImbalanceConfig(ratio=20)).counts
    np.random.seed(2)
    assert np.array_equal(table(ImbalanceConfig(ratio=20)).counts, first)


def test_a_domain_keeps_its_images_whichever_domain_is_the_target() -> None:
    config = ImbalanceConfig(ratio=20, class_order="per_domain")
    assert np.array_equal(table(config, target="art").counts[1], table(config, target="photo").counts[1])
    assert np.array_equal(class_ranks(3, 5, 0, per_domain=True)[2], class_ranks(4, 5, 0, per_domain=True)[2])


def test_long_tail_takes_counts_by_rank() -> None:
    got = table(ImbalanceConfig(counts=(0, 7, 100, 30, 2))).counts
    assert sorted(got[0].tolist()) == [0, 2, 7, 30, 100]
    assert got[0].argmax() == table(ImbalanceConfig(ratio=20)).counts[0].argmax()


def test_generated_draws_follow_the_targets_in_order() -> None:
    """As in the release, one stream serves all targets; the same target gets the same table each time."""
    config = ImbalanceConfig(setting="imbalanced_classes", parameters={"total": 60})
    tables = [table(config, target=target).counts for target in DOMAINS]
    again = [table(config, target=target).counts for target in reversed(DOMAINS)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(tables, again, strict=True))
    assert not np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], table(replace(config, seed=1), target="art").counts)


def test_generators_leave_the_validation_images_out() -> None:
    config = ImbalanceConfig(setting="imbalanced_domains", validation=25, parameters={"test_fraction": 0.0})
    assert table(config).counts.tolist() == [[80] * 5] * 2


@pytest.mark.parametrize("setting", [name for name in SETTINGS if not name.startswith("released/")])
def test_quirk_29_no_setting_writes_to_the_callers_table(setting: str) -> None:
    available = PLENTY + np.arange(15).reshape(3, 5)
    before = available.copy()
    config = ImbalanceConfig(
        setting=setting,
        ratio=5 if setting == "long_tail" else None,
        parameters={"total": 50} if setting == "imbalanced_classes" else {},
    )
    first = table(config, available)
    assert np.array_equal(available, before)
    assert np.array_equal(table(config, available).counts, first.counts)
    assert first.counts.shape == (2, 5)
    assert first.counts.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setting": "long_tial"}, "unknown imbalance setting 'long_tial'; did you mean 'long_tail'"),
        ({}, "the setting long_tail needs either a ratio or counts; give one"),
        ({"ratio": 5, "counts": (1, 2, 3, 4, 5)}, "takes a ratio or counts, not both; remove one"),
        ({"counts": (1, 2)}, r"imbalance.counts: 2 numbers for 5 classes"),
        (
            {"ratio": 101},
            "imbalance.ratio: 101 needs 101 training images of every class, but domain 'art' has only 100",
        ),
        ({"ratio": 5, "parameters": {"a": 1}}, "imbalance.parameters: the setting long_tail does not use it"),
        ({"setting": "natural", "ratio": 5}, "imbalance.ratio: the setting natural does not use it; remove it"),
        ({"setting": "cross", "class_order": "per_domain"}, "imbalance.class_order: the setting cross does not use it"),
        ({"setting": "released/cross", "counts": (1,)}, "imbalance.counts: the setting released/cross does not use it"),
        ({"setting": "released/cross"}, "no table was released for the data set 'made'"),
        (
            {"counts": (101, 1, 1, 1, 1)},
            r"asks for 101 training and 5 validation images of class '.' in domain 'art', which has 105; lower",
        ),
        ({"counts": (0, 0, 0, 0, 0)}, "leaves domain 'art' without training images"),
        ({"setting": "natural", "validation": 106}, "asks for 0 training and 106 validation images of class 'a'"),
        ({"setting": "natural", "validation": 105}, "leaves domain 'art' without training images"),
        ({"setting": "natural", "seed": 2**32}, "imbalance.seed: 4294967296 is out of range; it must be below"),
    ],
)
def test_mistakes_are_named_with_their_remedy(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        table(ImbalanceConfig(**changes))
    assert "\n" not in str(caught.value)


def test_an_unknown_target_lists_the_valid_ones() -> None:
    with pytest.raises(
        UserError, match=r"unknown target domain of made: 'foto'; did you mean 'photo'\? Valid: art, ph"
    ):
        table(ImbalanceConfig(ratio=5), target="foto")


def test_another_process_makes_the_same_table() -> None:
    code = (
        "import numpy as np; from ndcl.config import ImbalanceConfig; from ndcl.imbalance import count_table;"
        "config = ImbalanceConfig(setting='duality', seed=3);"
        "print(count_table(config, 'made', ('art', 'photo', 'sketch'), 'abcde', np.full((3, 5), 105), 'photo')"
        ".counts.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    here = table(ImbalanceConfig(setting="duality", seed=3)).counts
    assert run.stdout.strip() == str(here.tolist()), run.stderr


def test_every_example_of_the_guide_is_valid() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "imbalance.md").read_text()
    examples = re.findall(r"^imbalance: (\{.*\})$", guide, re.MULTILINE)
    assert len(examples) >= 8
    for example in examples:
        config = from_dict(ImbalanceConfig, yaml.safe_load(example))
        if not config.setting.startswith("released/"):
            counts = count_table(config, "digits", ("a", "b", "c", "d"), "0123456789", np.full((4, 10), 87), "a").counts
            assert counts.shape == (3, 10)


def test_the_guide_names_every_setting_and_parameter() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "imbalance.md").read_text()
    keys = [field.name for field in fields(ImbalanceConfig)]
    parameters = [field.name for _, kind in GENERATORS.values() for field in fields(kind)]
    for name in (*SETTINGS, *keys, *parameters):
        assert f"`{name}`" in guide, name
