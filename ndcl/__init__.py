"""NDCL: Negatives-Dominant Contrastive Learning for imbalanced domain generalization (arXiv 2601.21999)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ndcl.serving.model import Model

__version__ = "0.1.0"


def load_model(folder: str | Path, device: str = "cpu") -> "Model":
    """The model that `ndcl export` wrote to `folder`; see `ndcl.serving.Model`. Raises UserError if there is none."""
    from ndcl.serving.model import Model  # imports torch

    return Model.load(Path(folder), device)
