"""Imbalance settings: how many training images each source domain keeps of each class, and what follows from it."""

from ndcl.imbalance.settings import SETTINGS, Counts, count_table
from ndcl.imbalance.shots import shot_groups
from ndcl.imbalance.weights import class_weights

__all__ = ["SETTINGS", "Counts", "class_weights", "count_table", "shot_groups"]
