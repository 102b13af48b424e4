"""NDCL: Negatives-Dominant Contrastive Learning for imbalanced domain generalization (arXiv 2601.21999)."""

__version__ = "0.1.0"
