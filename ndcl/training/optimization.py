"""Which parameters are trained, by which optimiser, and how fast."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ndcl.algorithms import Algorithm
from ndcl.config import OptimizerConfig
from ndcl.models import Network
from ndcl.parallel.sharding import is_part, local_part


def parameter_groups(network: Network, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The groups of the optimiser: all parameters that are not frozen, and the learning rate of each group.

    With `layer_decay` below 1 each stage is a group, the head first: a stage that is d stages away from the head has
    learning_rate x layer_decay^d (Bao et al. 2022, BEiT; Howard & Ruder 2018 for the idea). Else there is one group.
    With `weight_decay_of: weights` the group's parameters that do not decay are one of their own behind it.
    """
    stages = [list(network.parameters())] if config.layer_decay == 1 else network.stages()[::-1]
    groups = [
        {"params": part, "lr": config.learning_rate * config.layer_decay**depth, **decay}
        for depth, stage in enumerate(stages)
        for part, decay in _by_decay([p for p in stage if p.requires_grad], network, config)
    ]
    return [group for group in groups if group["params"]]


def _by_decay(
    parameters: list[nn.Parameter], network: Network, config: OptimizerConfig
) -> list[tuple[list[nn.Parameter], dict[str, float]]]:
    """Those that decay as the optimiser says, and those that do not.

    A layer's weight is called so and has two dimensions at least. Norms' have one; class tokens, positions, tables of
    relative positions and scales of layers have other names.
    """
    if config.weight_decay_of == "all":
        return [(parameters, {})]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decaying = {id(p) for p in parameters if p.ndim > 1 and names[id(p)].endswith("weight")}
    kinds = ([p for p in parameters if (id(p) in decaying) is decays] for decays in (True, False))
    return list(zip(kinds, ({}, {"weight_decay": 0.0}), strict=True))


def build_optimizer(network: Network, config: OptimizerConfig, algorithm: Algorithm) -> torch.optim.Optimizer:
    """The optimiser of the groups of `parameter_groups`, and of what the algorithm owns, at the head's rate."""
    groups, rate, decay = parameter_groups(network, config), config.learning_rate, config.weight_decay
    own = [parameter for parameter in algorithm.parameters() if parameter.requires_grad]
    if own and algorithm.own_optimizer is None:
        groups.append({"params": own, "lr": rate})
    if config.name == "sgd":
        momentum, nesterov = config.momentum, config.nesterov
        # not fused, which torch does not do for sharded parameters
        return torch.optim.SGD(groups, rate, momentum, weight_decay=decay, nesterov=nesterov)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, rate, betas=algorithm.betas, weight_decay=decay, fused=True)


def build_own_optimizer(algorithm: Algorithm) -> torch.optim.Adam | None:
    """The Adam of the algorithm's own networks, if they have one apart."""
    recipe = algorithm.own_optimizer
    if recipe is None:
        return None
    return torch.optim.Adam(
        algorithm.parameters(), recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )


def load_own_optimizer(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Take over the moments of `state`, and keep the optimiser's own rate and decay."""
    own = [{key: group[key] for key in ("lr", "weight_decay", "betas")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, own, strict=True):
        group.update(values)


def rate_factor(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Factor on the learning rates in the step after `step` steps, of `num_steps`: it depends on these alone.

    It rises evenly through the warm-up, 1/W, 2/W and so on, then stays, or falls to 0 at the end: along a line, or half
    a cosine (Loshchilov and Hutter 2017, eq. 5).
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    share = (step - config.warmup_steps) / max(num_steps - config.warmup_steps, 1)
    return 1 - share if config.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2


@contextmanager
def without_gradients(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """The parameters without gradients, so that an optimiser passes them over; afterwards they have them again.

    Workers sum gradients in buffers that these are views of.
    """
    kept = [(parameter, parameter.grad) for parameter in parameters]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


@contextmanager
def without_decay(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The optimiser without weight decay meanwhile."""
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    try:
        yield
    finally:
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay


def clip_gradient(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale the gradient of all parameters together down to `norm`, if it is longer; nothing waits for the device.

    Every worker has the whole gradient, or its part of a sharded one, whose length torch then asks of all.
    """
    found = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [cast(Tensor, parameter.grad) for parameter in found]
    parts, others = ([each for each in gradients if is_part(each) is wanted] for wanted in (True, False))
    if not parts or not others:
        torch.nn.utils.clip_grad_norm_(found, norm)
        return
    of_parts = cast(Any, torch.nn.utils.get_total_norm(parts)).full_tensor()
    total = torch.stack([of_parts, torch.nn.utils.get_total_norm(others)]).norm()
    for gradient in map(local_part, gradients):
        gradient.mul_((norm / (total + 1e-6)).clamp(max=1.0))
