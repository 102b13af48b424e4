"""Hard-negative mixup against plain loops, its quirks, its draws and its memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ndcl.batch import Layout
from ndcl.mixing import MODES, Draws, plan_mixup, quotas
from tests import naive
from tests.memory import PeakMemory

CPU = torch.device("cpu")


def layout_of(labels: list[int] | np.ndarray) -> Layout:
    labels = np.asarray(labels, dtype=np.int64)
    return Layout.of(labels, np.zeros_like(labels), CPU)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 100_000), rows=st.integers(2, 40), classes=st.integers(2, 9),
    mode=st.sampled_from(MODES), sharpness=st.sampled_from([0.0, 0.3, 1.0, 4.0]), skew=st.booleans(),
)  # fmt: skip
def test_plan_equals_the_loops(seed: int, rows: int, classes: int, mode: str, sharpness: float, skew: bool) -> None:
    generator = np.random.default_rng(seed)
    shares = np.geomspace(1, 0.01, classes) if skew else np.ones(classes)
    labels = generator.choice(classes, size=rows, p=shares / shares.sum())
    logits = torch.from_numpy(generator.normal(size=(rows, classes)) * sharpness)
    inputs = torch.from_numpy(generator.normal(size=(rows, 2, 3)))
    layout = layout_of(labels)
    if layout.num_classes_present == 1:
        return
    quota = quotas(layout, mode, batch_size=rows)
    draws = Draws.from_seed(quota, 0.3, seed, 7)
    plan = plan_mixup(logits, layout, quota, draws)
    expected, expected_labels = naive.mixup(inputs, logits, labels.tolist(), quota, draws)
    assert plan.labels.tolist() == expected_labels
    torch.testing.assert_close(plan.apply(inputs, rows_at_once=7), expected, rtol=1e-12, atol=1e-12)


def test_quirk_05_rev_can_leave_a_class_without_rows() -> None:
    sizes = [len(quotas(layout_of(np.arange(n)), "rev", 8).rows) for n in (2, 5, 160)]
    assert sizes == [2, 5, 160]
    emptied = [n for n in range(2, 161) if (quotas(layout_of(np.arange(n)), "rev", 8).rows == 0).any()]
    assert emptied  # such batches exist, and the plan must live with them
    layout = layout_of(np.arange(emptied[0]))
    quota = quotas(layout, "rev", 8)
    logits = torch.randn(emptied[0], emptied[0], generator=torch.Generator().manual_seed(0))
    plan = plan_mixup(logits, layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    assert plan.has_rows.tolist() == (quota.rows > 0).tolist()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 60), min_size=2, max_size=70))
def test_quirk_06_rev_and_mean_generate_exactly_as_many_rows_as_the_batch_has(sizes: list[int]) -> None:
    layout = layout_of(np.repeat(np.arange(len(sizes)), sizes))
    for mode in ("rev", "mean"):
        quota = quotas(layout, mode, batch_size=32)
        assert quota.total == sum(sizes)
        assert (quota.rows >= 0).all()


def test_quirk_07_mean_breaks_ties_of_class_size_by_class_id() -> None:
    quota = quotas(layout_of(np.repeat(np.arange(7), 3)), "mean", batch_size=7)  # 21 rows, 7 classes: no surplus
    assert quota.rows.tolist() == [3] * 7
    quota = quotas(layout_of([0, 0, 1, 1, 2, 2, 3]), "mean", batch_size=7)  # ceil(7/4) = 2: one row too many
    assert quota.rows.tolist() == [2, 2, 2, 1]
    quota = quotas(layout_of([0, 1, 2, 3, 4, 5, 6, 6]), "mean", batch_size=8)
    assert quota.rows.tolist() == [1, 1, 1, 1, 1, 1, 2]


def test_quirk_08_equal_predictions_keep_the_order_of_rows() -> None:
    layout = layout_of([0, 0, 0, 0, 1, 1, 1, 1])
    quota = quotas(layout, "mean", batch_size=8)
    plan = plan_mixup(torch.zeros(8, 2), layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    assert plan.positive[:2].tolist() == [0, 0]
    assert plan.negative[:4].tolist() == [4, 5, 6, 7]


def test_quirk_09_the_shared_coefficient_is_the_releases_beta_and_is_told() -> None:
    layout = layout_of([0, 0, 1, 1])
    quota = quotas(layout, "rev", 4)
    weights = np.array([Draws.from_seed(quota, 0.2, 0, step).betas[0] for step in range(4000)])
    assert 0.18 < (weights > 0.99).mean() < 0.24  # a fifth of the steps mixes next to nothing, as in the release
    draws = Draws.from_seed(quota, 0.2, 0, 0)
    assert plan_mixup(torch.randn(4, 2), layout, quota, draws).shared_weight == draws.betas[0]


def test_quirk_10_draws_depend_on_seed_and_step_alone() -> None:
    quota = quotas(layout_of(np.repeat([0, 1, 2], [30, 3, 1])), "set", 32)
    first = Draws.from_seed(quota, 0.2, seed=3, step=5)
    np.random.seed(1)
    again = Draws.from_seed(quota, 0.2, seed=3, step=5)
    assert np.array_equal(first.betas, again.betas)
    assert np.array_equal(first.keys, again.keys)
    assert not np.array_equal(first.betas, Draws.from_seed(quota, 0.2, seed=3, step=6).betas)
    assert not np.array_equal(first.betas, Draws.from_seed(quota, 0.2, seed=4, step=5).betas)


def test_permutations_of_extra_passes_are_uniform() -> None:
    layout = layout_of([0] * 10 + [1, 1])  # class 0 has two negatives only, so its quota needs extra passes
    quota = quotas(layout, "set", 32)
    logits = torch.zeros(12, 2)
    seconds = []
    for step in range(400):
        plan = plan_mixup(logits, layout, quota, Draws.from_seed(quota, 0.2, 0, step))
        extra = (plan.blend != 1) & (plan.labels == 0)
        seconds += plan.second_negative[extra].tolist()
    shares = np.bincount(seconds, minlength=12)[10:] / len(seconds)
    assert len(seconds) > 400
    np.testing.assert_allclose(shares, 0.5, atol=0.05)


def test_quirk_15_labels_are_integers() -> None:
    layout = layout_of([0, 1, 1])
    quota = quotas(layout, "rev", 3)
    assert plan_mixup(torch.randn(3, 2), layout, quota, Draws.from_seed(quota, 0.2, 0, 0)).labels.dtype == torch.int64


def test_quirk_21_two_classes_fall_back_to_misclassified_rows() -> None:
    # for K = 2 no unsaturated negative reaches probability 2/K = 1, but the misclassified row 2 reaches 1/K
    layout = layout_of([0, 0, 1, 1])
    quota = quotas(layout, "mean", 4)
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    plan = plan_mixup(logits, layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    assert set(plan.negative[plan.labels == 0].tolist()) == {2}


@pytest.mark.parametrize("rows_at_once", [1, 8, 64])
def test_quirk_12_apply_needs_memory_for_a_few_rows_beyond_its_result(rows_at_once: int) -> None:
    generator = np.random.default_rng(0)
    layout = layout_of(generator.integers(6, size=48))
    quota = quotas(layout, "rev", 16)
    plan = plan_mixup(torch.randn(48, 6), layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    inputs = torch.randn(48, 3, 8, 8)
    row_bytes = inputs[0].numel() * 4
    with PeakMemory() as memory:
        mixed = plan.apply(inputs, rows_at_once)
    assert len(mixed) == 48
    # the result, and at most two gathered or weighted chunks of rows beside it
    assert row_bytes * 48 < memory.peak_bytes <= row_bytes * (48 + 2 * rows_at_once) + 1000


def test_apply_keeps_channels_last_and_gives_the_same_rows() -> None:
    layout = layout_of([0, 0, 1, 1, 2])
    quota = quotas(layout, "rev", 5)
    plan = plan_mixup(torch.randn(5, 3), layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    inputs = torch.randn(5, 3, 4, 6)
    last = inputs.contiguous(memory_format=torch.channels_last)
    mixed = plan.apply(last)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, plan.apply(inputs))
    assert torch.equal(mixed, plan.apply(inputs.transpose(2, 3).contiguous().transpose(2, 3)))


def test_quirk_11_with_enough_hard_negatives_only_the_least_confident_positive_is_used() -> None:
    # all 8 rows of class 1 are mistaken for class 0, so one positive of class 0 has negatives enough for its 8 rows
    layout = layout_of([0] * 8 + [1] * 8)
    quota = quotas(layout, "mean", batch_size=8)
    logits = torch.zeros(16, 4)
    logits[:, 0] = torch.linspace(3, 4, 16)
    plan = plan_mixup(logits, layout, quota, Draws.from_seed(quota, 0.2, 0, 0))
    of_zero = plan.labels == 0
    assert of_zero.sum() == 8
    assert set(plan.positive[of_zero].tolist()) == {0}
    assert sorted(plan.negative[of_zero].tolist()) == list(range(8, 16))
    inputs = torch.randn(16, 1000)
    with PeakMemory() as memory:  # and the rows that are not kept are never built
        plan.apply(inputs, rows_at_once=1)
    assert memory.peak_bytes < 4 * 1000 * (16 + 4)
