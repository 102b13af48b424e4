"""The config of every algorithm, free of torch, so that a plan is cheap: `table.py` has all, `base.py` what one is."""

from ndcl.algorithm_configs.base import AlgorithmConfig, Context, Frequencies, PenalizedConfig, one_of, searched
from ndcl.algorithm_configs.ndcl import NdclConfig
from ndcl.algorithm_configs.table import ALGORITHM_CONFIGS, algorithm_config, config_class, is_own, own_module

__all__ = [
    "ALGORITHM_CONFIGS",
    "AlgorithmConfig",
    "Context",
    "Frequencies",
    "NdclConfig",
    "PenalizedConfig",
    "algorithm_config",
    "config_class",
    "is_own",
    "one_of",
    "own_module",
    "searched",
]
