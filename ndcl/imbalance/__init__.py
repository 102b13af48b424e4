"""Imbalance settings: how many training images each source domain keeps of each class, and what follows from it."""

from ndcl.imbalance.overview import Overview, imbalance_ratio, overview
from ndcl.imbalance.settings import SETTINGS, Counts, count_table
from ndcl.imbalance.shots import shot_groups
from ndcl.imbalance.weights import class_weights

__all__ = [
    "SETTINGS",
    "Counts",
    "Overview",
    "class_weights",
    "count_table",
    "imbalance_ratio",
    "overview",
    "shot_groups",
]
