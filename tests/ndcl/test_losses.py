"""The losses against plain loops, their gradients, their quirks and hazards, and what a step costs."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ndcl.algorithm_configs import NdclConfig
from ndcl.algorithms import Rows, SourceDomains
from ndcl.algorithms.ndcl import Ndcl
from ndcl.batch import Batch, Layout
from ndcl.config import ModelConfig
from ndcl.losses import negatives_dominant_margin, prototype_alignment, reweighted_cross_entropy, soft_cross_entropy
from ndcl.models import build_network
from tests import naive

CPU = torch.device("cpu")


def layout_of(labels: list[int], domains: list[int]) -> Layout:
    return Layout.of(np.array(labels, dtype=np.int64), np.array(domains, dtype=np.int64), CPU)


def random_case(seed: int, rows: int, classes: int, domains: int, mixed: int, dtype: torch.dtype) -> dict:
    generator = np.random.default_rng(seed)
    return {
        "logits": torch.from_numpy(generator.normal(size=(rows, classes)) * 2).to(dtype).requires_grad_(),
        "mixed": torch.from_numpy(generator.normal(size=(mixed, classes)) * 2).to(dtype).requires_grad_(),
        "labels": generator.integers(classes, size=rows).tolist(),
        "domains": np.sort(generator.integers(domains, size=rows)).tolist(),
        "mixed_labels": generator.integers(classes, size=mixed).tolist(),
        "weights": torch.from_numpy(generator.uniform(0.2, 3, size=(domains, classes))).to(dtype),
    }


def fast_margin(case: dict, temperature: float = 1.0) -> Tensor:
    return negatives_dominant_margin(
        case["logits"],
        case["mixed"],
        torch.tensor(case["mixed_labels"], dtype=torch.int64),
        torch.from_numpy(np.isin(case["labels"], case["mixed_labels"])),
        layout_of(case["labels"], case["domains"]),
        temperature,
    )


LOSSES: dict[str, tuple[Callable[[dict], Tensor], Callable[[dict], Tensor]]] = {
    "cross_entropy": (
        lambda c: reweighted_cross_entropy(c["logits"], layout_of(c["labels"], c["domains"]), c["weights"]),
        lambda c: naive.cross_entropy(c["logits"], c["labels"], c["domains"], c["weights"]),
    ),
    "margin": (
        lambda c: fast_margin(c, 0.5),
        lambda c: naive.margin(c["logits"], c["mixed"], c["labels"], c["mixed_labels"], 0.5),
    ),
    "alignment": (
        lambda c: prototype_alignment(c["logits"], layout_of(c["labels"], c["domains"]), 2.0),
        lambda c: naive.alignment(c["logits"], c["labels"], c["domains"], 2.0),
    ),
    "soft_cross_entropy": (
        lambda c: soft_cross_entropy(c["logits"], c["logits"].detach().flip(1) * 0.5, 2.5),
        lambda c: naive.soft_cross_entropy(c["logits"], c["logits"].detach().flip(1) * 0.5, 2.5),
    ),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 12), classes=st.integers(2, 5), domains=st.integers(1, 3),
    mixed=st.integers(1, 8),
)  # fmt: skip
def test_value_and_gradient_equal_the_loops(
    name: str, dtype: torch.dtype, tolerance: float, seed: int, rows: int, classes: int, domains: int, mixed: int
) -> None:
    case = random_case(seed, rows, classes, domains, mixed, dtype)
    inputs = (case["logits"], case["mixed"])
    fast, slow = (form(case) for form in LOSSES[name])
    torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)
    slow_gradient = torch.autograd.grad(slow, inputs, allow_unused=True) if slow.requires_grad else (None, None)
    for got, expected in zip(torch.autograd.grad(fast, inputs, allow_unused=True), slow_gradient, strict=True):
        expected = torch.zeros(()) if expected is None else expected
        torch.testing.assert_close(
            torch.zeros(()) if got is None else got, expected.to(dtype).expand_as(got) if got is not None else expected,
            rtol=tolerance, atol=tolerance, check_dtype=False,
        )  # fmt: skip


def test_margin_of_hand_placed_points() -> None:
    # rows 0 and 1 predict class 0 alike, the negative points the other way: cosines 1 and (almost) 0
    case = random_case(0, 3, 2, 1, 1, torch.float64) | {
        "logits": torch.tensor([[40.0, -40.0], [40.0, -40.0], [-40.0, 40.0]], dtype=torch.float64),
        "mixed": torch.tensor([[-40.0, 40.0]], dtype=torch.float64),
        "labels": [0, 0, 1], "domains": [0, 0, 0], "mixed_labels": [0],
    }  # fmt: skip
    # (1/2) log(1 + e^-1 / e^0): class 0 has two rows of this loss each, class 1 a single row and so 0
    assert fast_margin(case).item() == pytest.approx(0.5 * np.log1p(np.exp(-1)), abs=1e-12)


def test_quirk_05_a_class_without_generated_rows_contributes_zero_and_still_counts() -> None:
    case = random_case(3, 6, 3, 1, 2, torch.float64) | {"labels": [0, 0, 1, 1, 2, 2], "mixed_labels": [0, 0]}
    loss = fast_margin(case)
    alone = fast_margin(case | {"logits": case["logits"][:2], "labels": [0, 0], "domains": [0, 0]})
    assert loss.item() == pytest.approx(alone.item() / 3, rel=1e-12)
    loss.backward()
    assert torch.isfinite(case["logits"].grad).all()


def test_quirk_14_losses_keep_the_precision_of_the_logits_and_are_scalars() -> None:
    for dtype in (torch.float32, torch.float64):
        for fast, _ in LOSSES.values():
            loss = fast(random_case(1, 8, 3, 2, 4, dtype))
            assert (loss.dtype, loss.dim()) == (dtype, 0)


def test_quirk_18_half_precision_logits_are_computed_on_in_float32() -> None:
    case = random_case(1, 12, 4, 2, 6, torch.float32)
    half = case | {key: case[key].detach().bfloat16() for key in ("logits", "mixed")}
    full = case | {key: half[key].float() for key in ("logits", "mixed")}
    for fast, _ in LOSSES.values():
        assert fast(half).dtype == torch.float32
        assert torch.equal(fast(half), fast(full))


@pytest.mark.parametrize("name", ["margin", "alignment"])
def test_quirk_18_tiny_temperatures_do_not_underflow(name: str) -> None:
    case = random_case(5, 10, 3, 2, 6, torch.float32)
    layout = layout_of(case["labels"], case["domains"])
    loss = fast_margin(case, 1e-3) if name == "margin" else prototype_alignment(case["logits"], layout, 1e-3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(case["logits"].grad).all()
    assert case["logits"].grad.abs().sum() > 0


def test_quirk_19_nan_logits_make_every_loss_nan() -> None:
    case = random_case(2, 8, 3, 2, 4, torch.float32) | {
        "labels": [0, 0, 1, 1, 0, 0, 1, 1],
        "domains": [0] * 4 + [1] * 4,
    }
    case |= {"mixed_labels": [0, 0, 1, 1], "logits": torch.full((8, 3), torch.nan)}
    for fast, _ in LOSSES.values():
        assert torch.isnan(fast(case))


def test_quirk_20_one_domain_one_class_and_single_rows_give_exactly_zero() -> None:
    one_domain = random_case(1, 6, 3, 1, 4, torch.float32)
    assert prototype_alignment(one_domain["logits"], layout_of(one_domain["labels"], [0] * 6)).item() == 0
    singles = random_case(1, 3, 3, 1, 4, torch.float32) | {"labels": [0, 1, 2], "mixed_labels": [0, 1, 2, 2]}
    assert fast_margin(singles).item() == 0


def ndcl_step(classes: int, rows_per_domain: int = 16, seed: int = 0) -> tuple[Ndcl, Batch, torch.nn.Module]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=3 * rows_per_domain)
    sources = SourceDomains(frequencies=np.ones((3, classes)), batch_size=rows_per_domain, seed=0)
    network = build_network(ModelConfig(backbone="mlp", mlp_width=8, mlp_depth=2), (6,), classes, seed=0)
    batch = Batch(
        inputs=torch.from_numpy(generator.normal(size=(len(labels), 6))).float(),
        layout=Layout.of(labels, np.repeat(np.arange(3), rows_per_domain), CPU),
    )
    return Ndcl(NdclConfig(alpha=0.5, beta=0.5, logit_adjustment=1.0), sources), batch, network


class Operations(TorchDispatchMode):
    """Counts the operations that reach a device, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.counts[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


# what makes the host wait for a GPU: reading a value, or an output whose shape depends on values
SYNCHRONISING = {"_local_scalar_dense", "item", "nonzero", "masked_select", "_unique2", "unique_dim", 
                 "unique_consecutive", "is_nonzero", "equal", "bincount", "repeat_interleave"}  # fmt: skip


def operations_of_a_step(classes: int) -> Counter[str]:
    algorithm, batch, network = ndcl_step(classes)
    with Operations() as operations:
        algorithm(network, batch, 0).total.backward()
    return operations.counts


def test_quirk_17_a_step_never_waits_for_the_device() -> None:
    counts = operations_of_a_step(10)
    assert sum(counts.values()) > 100  # the counter does count
    assert not SYNCHRONISING & set(counts)
    # an index by a boolean mask would wait as well; indices here are integers
    with Operations() as control:
        torch.arange(4)[torch.tensor([True, False, True, False])].sum().item()
    assert {"_local_scalar_dense"} <= set(control.counts)


def test_operations_do_not_grow_with_the_number_of_classes() -> None:
    few, many = (sum(operations_of_a_step(classes).values()) for classes in (7, 345))
    assert many <= few  # fewer where classes are so rare that no extra pass of mixup can be needed


def test_quirk_16_everything_lies_on_the_device_of_the_logits() -> None:
    algorithm, batch, network = ndcl_step(5)
    plan = algorithm.plan(Rows(logits=network(batch.inputs), layout=batch.layout))
    assert plan is not None
    assert {value.device for value in vars(plan).values() if isinstance(value, Tensor)} == {CPU}


def test_quirk_13_the_plan_adds_nothing_to_the_graph() -> None:
    algorithm, batch, network = ndcl_step(5)
    plan = algorithm.plan(Rows(logits=network(batch.inputs), layout=batch.layout))
    assert plan is not None
    assert not any(value.requires_grad for value in vars(plan).values() if isinstance(value, Tensor))


def test_the_gradient_of_the_whole_step_is_that_of_its_values() -> None:
    algorithm, batch, network = ndcl_step(4, rows_per_domain=4)
    network, inputs = network.double(), batch.inputs.double()
    plan = algorithm.plan(Rows(logits=network(inputs), layout=batch.layout))
    head = network[1].weight

    def value(weight: Tensor) -> Tensor:
        parameters = {name: p.detach() for name, p in network.named_parameters()} | {"1.weight": weight}
        logits = torch.func.functional_call(network, parameters, inputs)
        mixed = torch.func.functional_call(network, parameters, plan.apply(inputs))
        loss = algorithm.loss(Rows(logits=logits, layout=batch.layout, made_logits=mixed, made=plan))
        # the hardness of the cross-entropy is a constant by definition, so only the other two are differentiable
        return 0.5 * loss_term(logits, mixed) + loss.total * 0

    def loss_term(logits: Tensor, mixed: Tensor) -> Tensor:
        return negatives_dominant_margin(logits, mixed, plan.labels, plan.has_rows, batch.layout) + prototype_alignment(
            logits, batch.layout
        )

    assert torch.autograd.gradcheck(value, head.detach().clone().requires_grad_())
