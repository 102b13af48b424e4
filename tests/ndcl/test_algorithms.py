"""One contract for every algorithm in the table: what is added to the table is tested without a new test."""

import warnings

import numpy as np
import pytest
import torch

from ndcl.algorithms import ALGORITHMS, Algorithm, Sources, build_algorithm
from ndcl.batch import Batch, Layout
from ndcl.config import ALGORITHM_CONFIGS, ModelConfig, NdclConfig, algorithm_config
from ndcl.errors import UserError
from ndcl.models import Network, build_network

CPU = torch.device("cpu")
NAMES = sorted(ALGORITHMS)
CLASSES, DOMAINS, ROWS = 5, 3, 8


def sources(absent: bool = False) -> Sources:
    frequencies = np.random.default_rng(0).dirichlet(np.ones(CLASSES), size=DOMAINS)
    if absent:
        frequencies[1, 2] = 0
    return Sources(frequencies=frequencies, batch_size=ROWS, seed=1)


def make(name: str, absent: bool = False) -> tuple[Algorithm, Network, Batch]:
    generator = np.random.default_rng(1)
    labels = generator.integers(CLASSES, size=DOMAINS * ROWS)
    domains = np.repeat(np.arange(DOMAINS), ROWS)
    if absent:
        labels[(domains == 1) & (labels == 2)] = 3
    batch = Batch(
        inputs=torch.from_numpy(
            2 * generator.normal(size=(CLASSES, 4))[labels] + generator.normal(size=(len(labels), 4)) / 4
        ).float(),
        layout=Layout.of(labels, domains, CPU),
    )
    network = build_network(ModelConfig(backbone="mlp", mlp_width=8, mlp_depth=3), (4,), CLASSES, seed=0)
    return build_algorithm(algorithm_config({"name": name}), sources(absent)), network, batch


def test_the_table_of_classes_and_that_of_configs_agree() -> None:
    assert set(ALGORITHMS) == set(ALGORITHM_CONFIGS)
    assert all(config().name == name for name, config in ALGORITHM_CONFIGS.items())


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_a_finite_scalar_with_named_terms(name: str) -> None:
    algorithm, network, batch = make(name)
    loss = algorithm(network, batch, step=0)
    assert loss.total.dim() == 0
    assert torch.isfinite(loss.total)
    assert loss.terms["total"].item() == loss.total.item()
    assert all(term.dim() == 0 and not term.requires_grad for term in loss.terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    algorithm, network, batch = make(name)
    algorithm(network, batch, step=0).total.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_and_step_give_the_same_loss(name: str) -> None:
    (first, network, batch), (second, _, _) = make(name), make(name)
    first(network, batch, step=3)  # what happened before plays no part
    assert first(network, batch, step=7).total.item() == second(network, batch, step=7).total.item()


@pytest.mark.parametrize("name", NAMES)
def test_minimising_the_loss_fits_a_small_batch(name: str) -> None:
    algorithm, network, batch = make(name)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(200):
        optimizer.zero_grad()
        algorithm(network, batch, step).total.backward()
        optimizer.step()
    right = (network(batch.inputs).argmax(1) == batch.layout.labels).float().mean()
    assert right > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_quirk_03_a_class_that_a_domain_lacks_gives_no_nan(name: str) -> None:
    algorithm, network, batch = make(name, absent=True)
    loss = algorithm(network, batch, step=0)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert all(not torch.isnan(buffer).any() for buffer in algorithm.buffers())


@pytest.mark.parametrize("name", NAMES)
def test_quirk_04_the_callers_frequencies_are_left_alone(name: str) -> None:
    given = sources()
    before = given.frequencies.copy()
    algorithm, network, batch = build_algorithm(algorithm_config({"name": name}), given), *make(name)[1:]
    algorithm(network, batch, step=0)
    np.testing.assert_array_equal(given.frequencies, before)


def test_quirk_01_class_weights_are_one_buffer_in_the_order_of_domains() -> None:
    algorithm = build_algorithm(NdclConfig(), sources())
    inverse = 1 / sources().frequencies
    expected = CLASSES * inverse / inverse.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(algorithm.class_weights.numpy(), expected, rtol=1e-12)


def test_quirk_20_a_batch_of_one_class_generates_nothing() -> None:
    algorithm, network, batch = make("ndcl")
    one = Layout.of(np.zeros(DOMAINS * ROWS, dtype=np.int64), np.repeat(np.arange(DOMAINS), ROWS), CPU)
    assert algorithm.plan(network(batch.inputs), one, 0) is None
    loss = algorithm(network, Batch(inputs=batch.inputs, layout=one), 0)
    assert loss.terms["margin"].item() == 0
    assert loss.terms["alignment"].item() == 0
    assert loss.total.item() > 0


def test_logit_adjustment_is_the_log_of_the_prior_and_zero_is_the_published_form() -> None:
    _, network, batch = make("ndcl")
    logits = network(batch.inputs)
    plain, none = (build_algorithm(NdclConfig(logit_adjustment=t, alpha=0), sources()) for t in (0.0, 0.0))
    full = build_algorithm(NdclConfig(logit_adjustment=1.0, alpha=0), sources())
    shift = torch.from_numpy(np.log(sources().frequencies)).float()[batch.layout.domains]
    by_hand = plain.loss(logits + shift, batch.layout, None, None).terms["cross_entropy"]
    assert none.logit_offsets is None
    assert full.loss(logits, batch.layout, None, None).terms["cross_entropy"].item() == pytest.approx(by_hand.item())


def test_alpha_zero_skips_the_second_forward() -> None:
    algorithm, network, batch = make("ndcl")
    without = build_algorithm(NdclConfig(alpha=0), sources())
    assert algorithm.plan(network(batch.inputs), batch.layout, 0) is not None
    assert without.plan(network(batch.inputs), batch.layout, 0) is None


def test_quirk_02_ndcl_is_in_the_table_and_dead_options_are_refused() -> None:
    assert "ndcl" in ALGORITHMS
    with pytest.raises(UserError, match="aug_scaler: unknown key"):
        algorithm_config({"name": "ndcl", "aug_scaler": 1.0})


def test_quirk_30_ldam_keeps_the_precision_of_the_logits() -> None:
    algorithm, _, batch = make("ldam")
    logits = torch.randn(DOMAINS * ROWS, CLASSES, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = algorithm.loss(logits, batch.layout, None, None).total
    assert loss.dtype == torch.float64
    rounded = algorithm.loss(logits.float(), batch.layout, None, None).total
    assert loss.item() != rounded.double().item()
    assert loss.item() == pytest.approx(rounded.item(), rel=1e-4)
