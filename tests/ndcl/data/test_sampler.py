"""The sampler: a pure function of seed and step, of the size asked, with the frequencies promised."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndcl.data.loading.sampler import DomainSampler, resampled_frequencies

LABELS = [np.repeat([0, 1, 2], [60, 30, 10]), np.repeat([0, 2], [5, 15]), np.repeat([2, 1, 0], [1, 2, 40])]


def test_rows_depend_on_seed_and_step_alone() -> None:
    first, second = (DomainSampler(LABELS, 8, 3, None) for _ in range(2))
    ahead = [first.rows(step) for step in range(6)]
    back = [second.rows(step) for step in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(ahead, back, strict=True))
    assert not np.array_equal(ahead[0], ahead[1])
    assert not np.array_equal(ahead[0], DomainSampler(LABELS, 8, 4, None).rows(0))
    assert not np.array_equal(ahead[0][0] % 20, ahead[0][1] % 20)  # domains do not share draws


def test_another_process_draws_the_same_rows() -> None:
    code = (
        "import numpy as np; from ndcl.data.loading.sampler import DomainSampler;"
        "print(DomainSampler([np.repeat([0, 1], [60, 30])], 8, 3, 1.5).rows(7).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    here = DomainSampler([np.repeat([0, 1], [60, 30])], 8, 3, 1.5).rows(7)
    assert run.stdout.strip() == str(here.tolist()), run.stderr


def test_quirk_23_a_domain_smaller_than_the_batch_fills_it() -> None:
    sampler = DomainSampler([np.zeros(40, int), np.array([0])], 41, 0, None)
    rows = sampler.rows(0)
    assert rows.shape == (2, 41)
    assert rows.dtype == np.int64
    assert rows[0].min() >= 0
    assert rows[0].max() < 40
    assert (rows[1] == 0).all()


def test_as_it_is_every_image_is_equally_likely() -> None:
    sampler = DomainSampler(LABELS, 100, 0, None)
    drawn = np.concatenate([sampler.rows(step)[0] for step in range(400)])
    hits = np.bincount(drawn, minlength=100)
    # 400 expected each; chi-squared with 99 degrees of freedom is below 161 with probability 0.9999.
    assert ((hits - 400) ** 2 / 400).sum() < 161
    assert sampler.frequencies[0] == pytest.approx([0.6, 0.3, 0.1])


@pytest.mark.parametrize("ratio", [None, 1.0, 2.0, 7.0])
def test_drawn_classes_have_the_expected_frequencies(ratio: float | None) -> None:
    sampler = DomainSampler(LABELS, 200, 1, ratio)
    rows = np.concatenate([sampler.rows(step) for step in range(100)], axis=1)
    for e, labels in enumerate(LABELS):
        drawn = np.bincount(labels[rows[e]], minlength=3) / 20000
        expected = sampler.frequencies[e]
        deviation = np.sqrt(expected * (1 - expected) / 20000)
        assert (np.abs(drawn - expected) <= 4.5 * deviation + 1e-12).all()


def test_images_of_a_class_are_equally_likely_after_resampling() -> None:
    sampler = DomainSampler([np.repeat([0, 1], [50, 10])], 300, 1, 1.0)
    rows = np.concatenate([sampler.rows(step)[0] for step in range(100)])
    hits = np.bincount(rows, minlength=60)
    assert ((hits[:50] - 300) ** 2 / 300).sum() < 101  # 49 degrees of freedom, 0.9999 quantile is 97
    assert ((hits[50:] - 1500) ** 2 / 1500).sum() < 34  # 9 degrees of freedom


@given(
    st.lists(st.integers(0, 500), min_size=2, max_size=8).filter(any),
    st.one_of(st.none(), st.floats(1, 1000)),
)
@settings(max_examples=200, deadline=None)
def test_the_ratio_of_expected_frequencies_is_the_smaller_of_the_two(counts: list[int], ratio: float | None) -> None:
    frequencies = resampled_frequencies(np.array([counts]), ratio)[0]
    present = np.array(counts) > 0
    own = max(counts) / min(count for count in counts if count)
    assert frequencies.sum() == pytest.approx(1)
    assert (frequencies[~present] == 0).all()
    expected = own if ratio is None else min(own, ratio)
    assert frequencies[present].max() / frequencies[present].min() == pytest.approx(expected)


def test_ratio_one_is_class_balanced_over_the_classes_present() -> None:
    frequencies = DomainSampler(LABELS, 4, 0, 1.0).frequencies
    assert frequencies == pytest.approx(np.array([[1 / 3] * 3, [0.5, 0, 0.5], [1 / 3] * 3]))


def test_frequencies_cover_classes_that_no_domain_has_if_told() -> None:
    assert DomainSampler(LABELS, 4, 0, None, num_classes=5).frequencies.shape == (3, 5)


def test_from_a_step_on_batches_are_balanced_and_before_it_nothing_changes() -> None:
    plain, balanced = DomainSampler(LABELS, 40, 3, None), DomainSampler(LABELS, 40, 3, 1.0)
    changing = DomainSampler(LABELS, 40, 3, None, balanced_from=5)
    for step in range(10):
        expected = (plain if step < 5 else balanced).rows(step)
        assert np.array_equal(changing.rows(step), expected)
    assert not np.array_equal(plain.rows(5), balanced.rows(5))
    assert np.array_equal(changing.frequencies, plain.frequencies)
