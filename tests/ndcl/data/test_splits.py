"""Splits: the release's, disjoint, complete, and the same everywhere."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndcl.data.splits import seed_hash, split_domain
from ndcl.errors import UserError
from tests.golden_vectors import protocol_cases


@pytest.mark.parametrize("case", protocol_cases()["split"], ids=lambda case: str(case["seed"]))
def test_splits_equal_the_releases(case: dict) -> None:
    split = split_domain(np.array(case["targets"]), np.array(case["counts"]), case["validation"], case["seed"])
    assert split.train.tolist() == case["train"]
    assert split.validation.tolist() == case["val"]
    assert split.test.tolist() == case["test"]


@pytest.mark.parametrize("case", protocol_cases()["seed_hash"], ids=lambda case: str(case["args"]))
def test_seed_hashes_equal_the_releases(case: dict) -> None:
    assert seed_hash(*case["args"]) == case["value"]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 3), st.integers(0, 2**31 - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_every_image_is_in_one_part_and_the_numbers_are_as_asked(
    sizes: list[int], validation: int, seed: int, data: st.DataObject
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    np.random.RandomState(seed).shuffle(labels)
    held = [min(validation, size) for size in sizes]
    counts = [data.draw(st.integers(0, size - h)) for size, h in zip(sizes, held, strict=True)]
    split = split_domain(labels, np.array(counts), np.array(held), seed)
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(len(labels)))
    assert np.bincount(labels[split.train], minlength=len(sizes)).tolist() == counts
    assert np.bincount(labels[split.validation], minlength=len(sizes)).tolist() == held


def test_quirk_24_a_class_may_be_used_up_whole() -> None:
    """The release asserts count + validation < available; 9 + 5 of 14 bird images are fine."""
    split = split_domain(np.zeros(14, int), np.array([9]), 5, seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (9, 5, 0)
    with pytest.raises(UserError, match=r"class 0 has 14 images; 10 to train and 5 to validate are too many"):
        split_domain(np.zeros(14, int), np.array([10]), 5, seed=0)


def test_quirk_25_every_class_is_shuffled_with_the_seed_itself() -> None:
    """So equal classes get the same pattern; validation is class-balanced and the test part is the remainder."""
    labels = np.tile([0, 1], 10)
    split = split_domain(labels, np.array([6, 6]), 2, seed=3)
    assert (split.train[6:] - split.train[:6] == 1).all()
    assert np.bincount(labels[split.validation]).tolist() == [2, 2]
    assert len(split.test) == 4


def test_neither_the_global_generator_nor_the_arguments_are_touched() -> None:
    labels, counts = np.array([0, 0, 0, 1, 1]), np.array([1, 1])
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()
    split_domain(labels, counts, 1, seed=0)
    assert np.random.get_state()[1].tolist() == state
    assert labels.tolist() == [0, 0, 0, 1, 1]
    assert counts.tolist() == [1, 1]


def test_another_process_splits_alike() -> None:
    code = (
        "import numpy as np; from ndcl.data.splits import split_domain, seed_hash;"
        "print(split_domain(np.tile([0, 1, 2], 9), np.array([3, 2, 1]), 2, seed_hash(4, 1)).train.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    here = split_domain(np.tile([0, 1, 2], 9), np.array([3, 2, 1]), 2, seed_hash(4, 1))
    assert run.stdout.strip() == str(here.train.tolist())
