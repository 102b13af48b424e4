"""Parity with numbers recorded from the authors' release in float64."""

import numpy as np
import pytest
import torch

from ndcl.batch import Layout
from ndcl.losses import negatives_dominant_margin, prototype_alignment, reweighted_cross_entropy
from ndcl.mixing import Draws, plan_mixup, quotas
from tests.golden_vectors import archive, assert_gradient, close, fixed_point, index

CPU = torch.device("cpu")


def layout_of(labels: np.ndarray, domains: np.ndarray | None = None) -> Layout:
    labels = labels.astype(np.int64)
    return Layout.of(labels, np.zeros_like(labels) if domains is None else domains.astype(np.int64), CPU)


@pytest.mark.parametrize("name", sorted(archive("margin")))
def test_margin(name: str) -> None:
    case = archive("margin")[name]
    logits = fixed_point(case["logits_q"]).requires_grad_()
    mixed = fixed_point(case["aug_logits_q"]).requires_grad_()
    mixed_labels = torch.from_numpy(case["aug_y"].astype(np.int64))
    has_negatives = torch.from_numpy(np.isin(case["y"], case["aug_y"]))
    loss = negatives_dominant_margin(logits, mixed, mixed_labels, has_negatives, layout_of(case["y"]))
    loss.backward()
    if name.startswith("c"):
        close(loss.item(), case["loss"])
    else:  # hazard: a class without generated rows; the release's value is inf, its gradient finite
        assert np.isfinite(loss.item())
    assert logits.grad is not None
    assert mixed.grad is not None
    assert_gradient(case, "grad", logits.grad)
    assert_gradient(case, "aug_grad", mixed.grad)


@pytest.mark.parametrize("name", sorted(archive("align_ce")))
def test_alignment_and_cross_entropy(name: str) -> None:
    case = archive("align_ce")[name]
    layout = layout_of(case["y"], case["d"])
    weights = fixed_point(case["weights_q"], 64)
    for prefix, loss_of in (
        ("align", lambda x: prototype_alignment(x, layout)),
        ("ce", lambda x: reweighted_cross_entropy(x, layout, weights)),
    ):
        logits = fixed_point(case["logits_q"]).requires_grad_()
        loss = loss_of(logits)
        loss.backward()
        close(loss.item(), case[f"{prefix}_loss"])
        assert_gradient(case, f"{prefix}_grad", logits.grad)


def known_draws(record: dict, layout: Layout, quota) -> Draws:
    betas = np.atleast_1d(np.asarray(record["beta"], dtype=np.float64))
    ranks = quota.most_ranks
    keys = np.arange(ranks) if record["permutation"] == "identity" else np.arange(ranks)[::-1]
    num_extra = int(quota.most_extra_passes.sum())
    needed = 1 + quota.total + len(quota.rows)
    return Draws(np.resize(betas, needed), np.broadcast_to(keys, (2, num_extra, ranks)).astype(np.float64))


@pytest.mark.parametrize("record", index()["mixup"], ids=lambda record: record["case"])
def test_mixup_is_bit_exact(record: dict) -> None:
    case = archive("mixup")[record["case"]]
    layout = layout_of(case["y"])
    quota = quotas(layout, record["mode"], record["batch_size"])
    rows = len(case["aug_y"]) - record["rounding_extra_rows"]
    if layout.num_classes_present == 1:
        assert rows == 0
        return
    plan = plan_mixup(fixed_point(case["logits_q"]), layout, quota, known_draws(record, layout, quota))
    number = torch.arange(1, layout.num_rows + 1, dtype=torch.float64)
    inputs = torch.stack([number, number**2], dim=1).reshape(record["x_shape"])
    mixed = plan.apply(inputs, rows_at_once=5)
    assert mixed.shape[1:] == inputs.shape[1:]
    np.testing.assert_array_equal(plan.labels.numpy(), case["aug_y"][:rows])
    np.testing.assert_array_equal(mixed.reshape(-1, 2).numpy(), case["aug"][:rows])
