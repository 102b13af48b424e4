"""What builds an algorithm, from the class that its config names."""

import importlib
from functools import partial
from typing import cast

from ndcl.algorithm_configs import ALGORITHM_CONFIGS, AlgorithmConfig, is_own
from ndcl.algorithms.base import Algorithm, SourceDomains
from ndcl.algorithms.own_loss import checked_loss


def algorithm_class(config: type[AlgorithmConfig]) -> type[Algorithm]:
    """The class that implements a config's algorithm."""
    module, _, name = config.class_path().partition(":")
    return cast(type[Algorithm], getattr(importlib.import_module(module), name))


ALGORITHMS = tuple(ALGORITHM_CONFIGS)
"""Names of all algorithms."""


def build_algorithm(config: AlgorithmConfig, sources: SourceDomains) -> Algorithm:
    """The algorithm that `config` names, for these source domains. Raises UserError if it can't be had for them."""
    algorithm = algorithm_class(type(config))(config, sources)
    if is_own(config.name):
        algorithm.loss = partial(checked_loss, algorithm.loss, config.name)  # type: ignore[method-assign]
    return algorithm
