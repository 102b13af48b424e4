"""Which parameters are trained, and how fast."""

from typing import Any

from ndcl.config import OptimizerConfig
from ndcl.models import Network


def parameter_groups(network: Network, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The groups of the optimiser: all parameters that are not frozen, and the learning rate of each group.

    With `layer_decay` below 1 each stage is a group, the head first: a stage that is d stages away from the head has
    learning_rate x layer_decay^d (Bao et al. 2022, BEiT; Howard & Ruder 2018 for the idea). Else there is one group.
    """
    stages = [list(network.parameters())] if config.layer_decay == 1 else network.stages()[::-1]
    groups = [
        {"params": [p for p in stage if p.requires_grad], "lr": config.learning_rate * config.layer_decay**depth}
        for depth, stage in enumerate(stages)
    ]
    return [group for group in groups if group["params"]]
