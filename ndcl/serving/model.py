"""A model to use: images in, classes out.

Legend: n inputs, K classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.data.loader import EVALUATION_BYTES, EVALUATION_ROWS
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import WEIGHTS, Description
from ndcl.serving.formats import Logits, read_weights
from ndcl.serving.images import to_batch


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of n inputs."""

    class_ids: NDArray[np.int64]
    """[n] the class with the highest probability."""
    names: tuple[str, ...]
    """Of these classes."""
    probabilities: NDArray[np.float32]
    """[n, K] of each class."""

    @property
    def confidences(self) -> NDArray[np.float32]:
        """[n] probability of the predicted class."""
        return np.asarray(self.probabilities.max(axis=1, initial=0))

    @property
    def margins(self) -> NDArray[np.float32]:
        """[n] by how much it exceeds the probability of the next class."""
        nothing = np.zeros((len(self.probabilities), 1), np.float32)  # so that a single class has a next one
        two = np.sort(np.concatenate([self.probabilities, nothing], axis=1), axis=1)[:, -2:]
        return np.asarray(two[:, 1] - two[:, 0])

    def __len__(self) -> int:
        return len(self.class_ids)


class Model:
    """An exported model, with its preprocessing: what goes in are images of any size, or vectors of features."""

    def __init__(self, description: Description, logits: Logits, device: torch.device) -> None:
        self.description = description
        self.classes = description.classes
        self.device = device
        self._logits = logits

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> "Model":
        """The model in a folder that `ndcl export` made. On another device than the CPU only safetensors are run.

        Raises UserError if there is none, or it is damaged.
        """
        description = Description.read(folder)
        logits = read_weights(folder / WEIGHTS[description.format], description)
        device = torch.device(device if isinstance(logits, Classifier) else "cpu")
        return cls(description, logits.to(device) if isinstance(logits, Classifier) else logits, device)

    def predict(self, inputs: Any) -> Predictions:
        """The classes of `inputs`: paths, files' contents or uint8 arrays [h, w, 3], one or many; or vectors [n, F].

        Raises UserError for what cannot be read as an image, or does not suit the model.
        """
        return self.predict_batch(self.prepare(inputs))

    def prepare(self, inputs: Any) -> Tensor:
        """What the network takes of `inputs`: uint8 [n, H, W, 3] or float32 [n, F]. Safe in threads.

        Raises UserError as `predict` does.
        """
        return to_batch([inputs] if isinstance(inputs, (str, Path, bytes)) else inputs, self.description.inputs)

    def predict_batch(self, batch: Tensor) -> Predictions:
        """The classes of inputs that `prepare` has made."""
        logits = self.logits(batch)
        class_ids = logits.argmax(dim=1).numpy()
        names = tuple(self.classes[k] for k in class_ids)
        return Predictions(class_ids=class_ids, names=names, probabilities=logits.softmax(dim=1).numpy())

    @torch.inference_mode()
    def logits(self, batch: Tensor) -> Tensor:
        """float32 [n, K] of inputs that `prepare` has made, in parts as large as an evaluation's."""
        parts = [self._logits(part.to(self.device)).cpu() for part in self._parts(batch)]
        return torch.cat(parts) if parts else torch.empty((0, len(self.classes)))

    def _parts(self, batch: Tensor) -> Iterator[Tensor]:
        input_bytes = math.prod(batch.shape[1:]) * batch.element_size()
        rows = max(1, min(EVALUATION_ROWS, EVALUATION_BYTES // input_bytes))
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]
