"""The table of algorithms: name -> class."""

from ndcl.algorithms.base import Algorithm, Loss, Sources
from ndcl.algorithms.baselines import BalancedSoftmax, Erm, Focal, Ldam, Reweight
from ndcl.algorithms.ndcl import Ndcl
from ndcl.config import AlgorithmConfig

ALGORITHMS: dict[str, type[Algorithm]] = {
    "erm": Erm,
    "ndcl": Ndcl,
    "reweight": Reweight,
    "balanced_softmax": BalancedSoftmax,
    "ldam": Ldam,
    "focal": Focal,
}


def build_algorithm(config: AlgorithmConfig, sources: Sources) -> Algorithm:
    """The algorithm that `config` names, for these source domains."""
    return ALGORITHMS[config.name](config, sources)


__all__ = ["ALGORITHMS", "Algorithm", "Loss", "Sources", "build_algorithm"]
