"""Parity of whole algorithms with the release: losses and gradients of the baselines, five steps of NDCL."""

import numpy as np
import pytest
import torch

from ndcl.algorithm_configs import NdclConfig, algorithm_config
from ndcl.algorithms import Rows, SourceDomains, build_algorithm
from ndcl.algorithms.ndcl import Ndcl
from ndcl.batch import Batch, Layout
from ndcl.config import ModelConfig
from ndcl.mixing import Draws
from ndcl.models import Network, build_network
from tests.golden_vectors import archive, close, fixed_point, index

CPU = torch.device("cpu")
# the release rounds class weights and LDAM's margins to float32
TOLERANCE = {"erm": 1e-10, "bsoftmax": 1e-10, "focal": 1e-10, "reweight": 1e-5, "ldam": 1e-5}
NAMES = {"bsoftmax": "balanced_softmax"}


@pytest.mark.parametrize("name", sorted(TOLERANCE))
@pytest.mark.parametrize("record", index()["baselines"], ids=lambda record: record["case"])
def test_baselines(record: dict, name: str) -> None:
    case = archive("baselines")[record["case"]]
    sources = SourceDomains(frequencies=case["counts"].astype(np.float64), batch_size=record["B"], seed=0)
    algorithm = build_algorithm(algorithm_config({"name": NAMES.get(name, name)}), sources)
    domains = np.repeat(np.arange(record["D"]), record["B"])
    layout = Layout.of(case["y"].astype(np.int64), domains, CPU)
    logits = fixed_point(case["logits_q"]).requires_grad_()
    loss = algorithm.loss(Rows(logits=logits, layout=layout))
    loss.total.backward()
    close(loss.total.item(), case[f"{name}_loss"], TOLERANCE[name])
    close(logits.grad.numpy(), case[f"{name}_grad"], TOLERANCE[name])


def known_draws(quota, mixup: float, seed: int, step: int) -> Draws:
    """Every Beta draw 0.25, every permutation the identity."""
    keys = np.broadcast_to(
        np.arange(quota.most_ranks, dtype=float), (2, int(quota.most_extra_passes.sum()), quota.most_ranks)
    )
    return Draws(np.full(1 + quota.total + len(quota.rows), 0.25), keys)


def golden_network(record: dict, case: dict[str, np.ndarray]) -> Network:
    model = ModelConfig(backbone="mlp", mlp_width=record["width"], mlp_depth=record["depth"])
    network = build_network(model, (record["features"],), record["K"], seed=0).double()
    network.load_state_dict({name: fixed_point(case[f"init/{name}"], 1024) for name in record["params"]})
    return network


@pytest.mark.parametrize("record", index()["update"], ids=lambda record: record["case"])
def test_five_steps_of_ndcl(record: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draws, "from_seed", staticmethod(known_draws))
    case = archive("update")[record["case"]]
    config = NdclConfig(alpha=record["alpha"], beta=record["beta"], mixup_mode=record["mode"])
    sources = SourceDomains(frequencies=np.ones((record["D"], record["K"])), batch_size=record["B"], seed=0)
    algorithm = Ndcl(config, sources)
    algorithm.class_weights = fixed_point(case["weights_q"], 64)
    network = golden_network(record, case)
    optimizer = torch.optim.Adam(network.parameters(), lr=record["lr"], weight_decay=record["weight_decay"], fused=True)
    domains = np.repeat(np.arange(record["D"]), record["B"])
    for step in range(5):
        inputs = fixed_point(case["x_q"][step]).flatten(0, 1)
        layout = Layout.of(case["y"][step].astype(np.int64).reshape(-1), domains, CPU)
        loss = algorithm(network, Batch(inputs=inputs, layout=layout), step)
        values = [loss.terms[name].item() for name in ("total", "cross_entropy", "margin", "alignment")]
        close(values, case["losses"][step], 1e-9)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    for name, parameter in network.state_dict().items():
        close(parameter.numpy(), case[f"final/{name}"], 1e-9)
