"""What a model makes of many images without labels (features, classes, confidence), and how far two of these are apart.

Legend: n images, K classes, P features that the head sees.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.serving.model import Model


@dataclass(frozen=True, kw_only=True)
class Look:
    """A model's answers to the images of one place."""

    num_images: int
    shares: NDArray[np.float64]
    """[K] of the images for which each class is predicted."""
    confidence: float
    """Mean probability of the predicted class."""
    disagreement: float | None
    """Mean over the images; None: a single network."""
    mean: Tensor
    """float64 [P] of each feature."""
    variance: Tensor
    """float64 [P] of each feature, without bias; 0 of a single image."""


class Looker:
    """A look at images that come in batches, of which none is kept."""

    def __init__(self, model: Model) -> None:
        """Raises UserError if the model is a graph, which gives no features."""
        self._model = model
        self.num_images = 0
        self._counts = np.zeros(len(model.classes))
        self._confidence = self._disagreement = 0.0
        self._mean = torch.zeros(model.num_features, dtype=torch.float64)
        self._squares = torch.zeros_like(self._mean)

    def add(self, batch: Tensor) -> None:
        """Look at inputs that `Model.prepare` has made."""
        if not len(batch):
            return
        predictions, features = self._model.examine(batch)
        self._counts += np.bincount(predictions.class_ids, minlength=len(self._counts))
        self._confidence += float(predictions.confidences.sum())
        if predictions.disagreement is not None:
            self._disagreement += float(predictions.disagreement.sum())
        before, self.num_images = self.num_images, self.num_images + len(batch)
        rows = features.double()
        mean = rows.mean(dim=0)
        step = mean - self._mean  # Chan et al. 1983: sums of squares of parts, each about its own mean
        self._mean += step * len(batch) / self.num_images
        self._squares += (rows - mean).square().sum(dim=0) + step.square() * before * len(batch) / self.num_images

    def look(self) -> Look:
        """What all the images so far, at least one, have shown."""
        assert self.num_images > 0
        is_ensemble = self._model.description.members is not None
        return Look(
            num_images=self.num_images,
            shares=self._counts / self.num_images,
            confidence=self._confidence / self.num_images,
            disagreement=self._disagreement / self.num_images if is_ensemble else None,
            mean=self._mean.clone(),
            variance=self._squares / max(self.num_images - 1, 1),
        )


def distance(one: Look, other: Look) -> float:
    """The Fréchet distance between the features of two looks, taken as independent normals; at least 0.

    sqrt(sum_p (mean_p - mean'_p)^2 + (deviation_p - deviation'_p)^2) (Dowson and Landau 1982; Heusel et al. 2017 with
    whole covariances, which need more images than features). What two looks at one distribution are apart by having few
    images is taken off: the variance over n for the mean, half of that for the deviation. So looks at different numbers
    of images can be compared.
    """
    means = (one.mean - other.mean).square().sum()
    deviations = (one.variance.sqrt() - other.variance.sqrt()).square().sum()
    chance = float(one.variance.sum()) / one.num_images + float(other.variance.sum()) / other.num_images
    return float((means + deviations - 1.5 * chance).clamp(min=0).sqrt())
