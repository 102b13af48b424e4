"""Algorithms by name, and what each must be able to do (`base.py`). `ndcl/algorithm_configs` has the table."""

from ndcl.algorithms.base import Algorithm, Loss, MadeRows, OwnOptimizer, Rows, SourceDomains, joined
from ndcl.algorithms.build import ALGORITHMS, build_algorithm

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Loss",
    "MadeRows",
    "OwnOptimizer",
    "Rows",
    "SourceDomains",
    "build_algorithm",
    "joined",
]
