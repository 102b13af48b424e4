"""One contract for every algorithm in the table: what is added to the table is tested without a new test."""

import copy
import dataclasses
import warnings

import numpy as np
import pytest
import torch

from ndcl.algorithm_configs import ALGORITHM_CONFIGS, AlgorithmConfig, NdclConfig, algorithm_config
from ndcl.algorithms import ALGORITHMS, Algorithm, Rows, SourceDomains, build_algorithm
from ndcl.algorithms.build import algorithm_class
from ndcl.batch import Batch, Layout
from ndcl.config import DataConfig, OptimizerConfig, TrainConfig
from ndcl.errors import UserError
from ndcl.models import Network
from tests.made.made_networks import made_inputs, made_network
from tests.made.made_steps import Steps
from tests.ndcl.test_losses import SYNCHRONISING, Operations

CPU = torch.device("cpu")
NAMES = sorted(ALGORITHMS)
CLASSES, DOMAINS, ROWS, FEATURES, STEPS = 5, 3, 8, 8, 10


def sources(absent: bool = False, domains: int = DOMAINS, rows: int = ROWS) -> SourceDomains:
    frequencies = np.random.default_rng(0).dirichlet(np.ones(CLASSES), size=domains)
    if absent:
        frequencies[1, 2] = 0
    return SourceDomains(
        frequencies=frequencies,
        batch_size=rows,
        seed=1,
        num_steps=STEPS,
        num_features=FEATURES,
        counts=np.round(100 * frequencies).astype(np.int64),
    )


def batch_of(labels: np.ndarray, domains: int = DOMAINS) -> Batch:
    generator = np.random.default_rng(1)
    centers, noise = generator.normal(size=(CLASSES, 4)), generator.normal(size=(len(labels), 4)) / 4
    layout = Layout.of(labels, np.repeat(np.arange(domains), len(labels) // domains), CPU)
    return Batch(inputs=torch.from_numpy(2 * centers[labels] + noise).float(), layout=layout)


def batch_for(config: AlgorithmConfig, labels: np.ndarray, domains: int = DOMAINS) -> Batch:
    batch = batch_of(labels, domains)
    return dataclasses.replace(batch, inputs=made_inputs(config, batch.inputs))


def make(name: str, absent: bool = False, **values: object) -> tuple[Algorithm, Network, Batch]:
    labels = np.random.default_rng(1).integers(CLASSES, size=DOMAINS * ROWS)
    if absent:
        labels[(np.repeat(np.arange(DOMAINS), ROWS) == 1) & (labels == 2)] = 3
    config = algorithm_config({"name": name, **values})
    network = made_network(config, 4, FEATURES, CLASSES, DOMAINS)
    return build_algorithm(config, sources(absent)), network, batch_for(config, labels)


def steps_of(algorithm: Algorithm, network: Network, name: str, rate: float = 0.02) -> Steps:
    config = TrainConfig(
        data=DataConfig(name="made", target="unseen"),
        algorithm=algorithm_config({"name": name}),
        optimizer=OptimizerConfig(learning_rate=rate),
        num_steps=STEPS,
    )
    steps = Steps(network, algorithm, config, CLASSES)
    steps.training._show_all = lambda: show(steps)
    return steps


def show(steps: Steps) -> None:
    """Features of some images of every class and domain but one."""
    cells = np.arange(1, DOMAINS * CLASSES)
    features = torch.randn(len(cells), FEATURES, generator=torch.Generator().manual_seed(0))
    domains, labels = torch.from_numpy(cells // CLASSES), torch.from_numpy(cells % CLASSES)
    steps.training.algorithm.look(features, labels, domains, steps.training.step)


def test_every_config_has_its_class_and_says_what_it_is() -> None:
    assert set(ALGORITHMS) == set(ALGORITHM_CONFIGS)
    for name, config in ALGORITHM_CONFIGS.items():
        assert config().name == name
        assert issubclass(algorithm_class(config), Algorithm)
        assert config.__doc__
        assert config.title
        assert config.paper


@pytest.mark.parametrize("name", NAMES)
def test_every_range_holds_values_that_the_config_takes(name: str) -> None:
    for key, parameter in ALGORITHM_CONFIGS[name].search_space().items():
        ends = parameter.get("choices", [parameter.get("low"), parameter.get("high")])
        for value in (*ends, parameter["default"]):
            algorithm_config({"name": name, key: value})
        if "low" in parameter:
            assert parameter["low"] <= parameter["default"] <= parameter["high"], key


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_finite_scalars_with_named_terms(name: str) -> None:
    algorithm, network, batch = make(name)
    steps = steps_of(algorithm, network, name)
    for _ in range(STEPS):
        loss = steps.take(batch)
        assert loss.total.dim() == 0
        assert torch.isfinite(loss.total)
        assert loss.terms["total"].item() == loss.total.item()
        assert all(term.dim() == 0 and not term.requires_grad for term in loss.terms.values())
    assert all(torch.isfinite(p).all() for p in [*network.parameters(), *algorithm.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    algorithm, network, batch = make(name)
    steps = steps_of(algorithm, network, name)
    every = dict(network.named_parameters(prefix="network")) | dict(algorithm.named_parameters(prefix="own"))
    before = {key: parameter.detach().clone() for key, parameter in every.items()}
    for _ in range(STEPS):
        steps.take(batch)
    # Adam moves what has a gradient, and without decay nothing else
    missing = [key for key, parameter in every.items() if torch.equal(parameter, before[key])]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_two_trainings_with_the_same_seed_are_the_same(name: str) -> None:
    totals = []
    for _ in range(2):
        algorithm, network, batch = make(name)
        steps = steps_of(algorithm, network, name)
        torch.randn(3)  # what is drawn elsewhere plays no part
        totals.append([steps.take(batch).total.item() for _ in range(STEPS)])
    assert totals[0] == totals[1]


@pytest.mark.parametrize("name", NAMES)
def test_training_fits_a_small_batch(name: str) -> None:
    # at the start of each penalty's range, so that fitting is what is tried
    values = {key: value for key, value in GENTLE.items() if key in ALGORITHM_CONFIGS[name].search_space()}
    algorithm, network, batch = make(name, **values)
    steps = steps_of(algorithm, network, name)
    for _ in range(300):
        steps.take(batch)
    right = (network(batch.inputs).argmax(1) == batch.layout.labels).float().mean()
    assert right > LEAST_RIGHT.get(name, 0.9)


LEAST_RIGHT = {"mtl": 0.8}  # it answers by the mean of the domains' means, with which it was not trained
GENTLE = {"penalty_weight": 0.01, "irm_weight": 0.01, "macro_weight": 0.1, "tau": 0.5, "learning_rate_factor": 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_quirk_03_a_class_that_a_domain_lacks_gives_no_nan(name: str) -> None:
    algorithm, network, batch = make(name, absent=True)
    steps = steps_of(algorithm, network, name)
    for _ in range(STEPS):
        assert torch.isfinite(steps.take(batch).total)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert all(not torch.isnan(buffer).any() for buffer in algorithm.buffers())


@pytest.mark.parametrize(("domains", "rows", "kind"), [(1, 6, "one domain"), (3, 1, "one row"), (3, 4, "one class")])
@pytest.mark.parametrize("name", NAMES)
def test_small_batches_give_no_nan(name: str, domains: int, rows: int, kind: str) -> None:
    config = algorithm_config({"name": name})
    network = made_network(config, 4, FEATURES, CLASSES, domains)
    algorithm = build_algorithm(config, sources(domains=domains, rows=rows))
    labels = np.zeros(domains * rows, np.int64) if kind == "one class" else np.arange(domains * rows) % CLASSES
    batch, steps = batch_for(config, labels, domains), steps_of(algorithm, network, name)
    steps.training._show_all = lambda: None
    for _ in range(STEPS):
        assert torch.isfinite(steps.take(batch).total)
    assert all(torch.isfinite(p).all() for p in [*network.parameters(), *algorithm.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_state_and_networks_go_on_from_a_state_dict(name: str) -> None:
    algorithm, network, batch = make(name)
    steps = steps_of(algorithm, network, name)
    for _ in range(4):
        steps.take(batch)
    other, other_network, _ = make(name)
    others = steps_of(other, other_network, name)
    other.load_state_dict(copy.deepcopy(algorithm.state_dict()))
    other_network.load_state_dict(copy.deepcopy(network.state_dict()))
    for kind in ("optimizer", "own_optimizer"):
        if getattr(steps.training, kind) is not None:
            getattr(others.training, kind).load_state_dict(copy.deepcopy(getattr(steps.training, kind).state_dict()))
    others.training.step = 4
    for _ in range(STEPS - 4):
        assert others.take(batch).total.item() == steps.take(batch).total.item()


def form(name: str, **values: object) -> list[tuple[int, ...]]:
    """Of the state of the algorithm and the network, and of what the optimisers step."""
    algorithm, network, _ = make(name, **values)
    steps = steps_of(algorithm, network, name).training
    state = [tuple(value.shape) for part in (algorithm, network) for value in part.state_dict().values()]
    optimizers = [each for each in (steps.optimizer, steps.own_optimizer) if each is not None]
    return state + [(len(group["params"]),) for each in optimizers for group in each.param_groups]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_training_cannot_change_is_said(name: str) -> None:
    config, others = ALGORITHM_CONFIGS[name], {}
    for field in dataclasses.fields(config):
        searched = config.search_space().get(field.name)
        if searched is not None:
            ends = searched.get("choices") or [searched["low"], searched["high"]]
            others[field.name] = next(value for value in ends if value != field.default)
        elif isinstance(field.default, bool):
            others[field.name] = not field.default
        elif isinstance(field.default, int):
            others[field.name] = field.default + 1
    found = {key for key, value in others.items() if form(name, **{key: value}) != form(name)}
    assert found == set(config.structure)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name: str) -> None:
    algorithm, network, batch = make(name)
    steps = steps_of(algorithm, network, name)
    steps.take(batch)
    for _ in range(STEPS - 2):
        loads = algorithm.looks_at_all(steps.training.step)  # which a data set's pass answers
        with Operations() as operations:
            steps.take(batch)
        assert loads or not set(operations.counts) & SYNCHRONISING, operations.counts


@pytest.mark.parametrize("name", NAMES)
def test_quirk_04_the_callers_frequencies_are_left_alone(name: str) -> None:
    given = sources()
    before = given.frequencies.copy()
    algorithm, network, batch = build_algorithm(algorithm_config({"name": name}), given), *make(name)[1:]
    steps_of(algorithm, network, name).take(batch)
    np.testing.assert_array_equal(given.frequencies, before)


def test_quirk_01_class_weights_are_one_buffer_in_the_order_of_domains() -> None:
    algorithm = build_algorithm(NdclConfig(), sources())
    inverse = 1 / sources().frequencies
    expected = CLASSES * inverse / inverse.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(algorithm.class_weights.numpy(), expected, rtol=1e-12)


def test_quirk_20_a_batch_of_one_class_generates_nothing() -> None:
    algorithm, network, batch = make("ndcl")
    one = Layout.of(np.zeros(DOMAINS * ROWS, dtype=np.int64), np.repeat(np.arange(DOMAINS), ROWS), CPU)
    assert algorithm.plan(Rows(logits=network(batch.inputs), layout=one)) is None
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
    by_hand = plain.loss(Rows(logits=logits + shift, layout=batch.layout)).terms["cross_entropy"]
    assert none.logit_offsets is None
    assert full.loss(Rows(logits=logits, layout=batch.layout)).terms["cross_entropy"].item() == pytest.approx(
        by_hand.item()
    )


ROWS_ALONE = {"alpha": 0.0, "beta": 0.0, "class_weight_exponent": 0.0, "cross_entropy": "rows"}


@pytest.mark.parametrize(("adjustment", "rival"), [(0.0, "erm"), (1.0, "balanced_softmax")])
@pytest.mark.parametrize("frequencies", ["per_domain", "pooled"])
def test_ndcl_by_rows_contains_its_rivals(adjustment: float, rival: str, frequencies: str) -> None:
    config = NdclConfig(**ROWS_ALONE, logit_adjustment=adjustment, frequencies=frequencies)
    own = {} if rival == "erm" else {"frequencies": frequencies}
    first = build_algorithm(config, sources())
    second = build_algorithm(algorithm_config({"name": rival, **own}), sources())
    layout = make("ndcl")[2].layout
    logits = torch.randn(DOMAINS * ROWS, CLASSES, dtype=torch.float64, requires_grad=True)
    losses = [each.loss(Rows(logits=logits, layout=layout)).total for each in (first, second)]
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_hardness_0_is_the_plain_mean_of_each_class() -> None:
    layout = make("ndcl")[2].layout
    logits = torch.randn(DOMAINS * ROWS, CLASSES, dtype=torch.float64)
    plain = build_algorithm(NdclConfig(hardness=0.0, class_weight_exponent=0.0, alpha=0), sources())
    losses = torch.nn.functional.cross_entropy(logits, layout.labels, reduction="none")
    means = [losses[layout.labels == k].mean() for k in layout.labels.unique()]
    found = plain.loss(Rows(logits=logits, layout=layout)).terms["cross_entropy"]
    assert found.item() == pytest.approx(torch.stack(means).mean().item(), abs=1e-12)


@pytest.mark.parametrize("name", ["ndcl", "reweight", "balanced_softmax", "ldam"])
def test_pooled_frequencies_are_those_of_all_batches_together(name: str) -> None:
    given = sources()
    pooled = dataclasses.replace(given, frequencies=np.tile(given.frequencies.mean(axis=0), (DOMAINS, 1)))
    values = {"name": name, **({"logit_adjustment": 1.0} if name == "ndcl" else {})}
    first = build_algorithm(algorithm_config(values | {"frequencies": "pooled"}), given)
    second = build_algorithm(algorithm_config(values), pooled)
    buffers = dict(second.named_buffers())
    assert buffers
    for key, value in first.named_buffers():
        torch.testing.assert_close(value, buffers[key], rtol=0, atol=1e-15)
    alone = build_algorithm(algorithm_config(values), given)
    assert any(not torch.equal(value, buffers[key]) for key, value in alone.named_buffers())


def test_alpha_zero_skips_the_second_forward() -> None:
    algorithm, network, batch = make("ndcl")
    without = build_algorithm(NdclConfig(alpha=0), sources())
    assert algorithm.plan(Rows(logits=network(batch.inputs), layout=batch.layout)) is not None
    assert without.plan(Rows(logits=network(batch.inputs), layout=batch.layout)) is None


def test_quirk_02_ndcl_is_in_the_table_and_dead_options_are_refused() -> None:
    assert "ndcl" in ALGORITHMS
    with pytest.raises(UserError, match="aug_scaler: unknown key"):
        algorithm_config({"name": "ndcl", "aug_scaler": 1.0})


def test_quirk_30_ldam_keeps_the_precision_of_the_logits() -> None:
    algorithm, _, batch = make("ldam")
    logits = torch.randn(DOMAINS * ROWS, CLASSES, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = algorithm.loss(Rows(logits=logits, layout=batch.layout)).total
    assert loss.dtype == torch.float64
    rounded = algorithm.loss(Rows(logits=logits.float(), layout=batch.layout)).total
    assert loss.item() != rounded.double().item()
    assert loss.item() == pytest.approx(rounded.item(), rel=1e-4)
