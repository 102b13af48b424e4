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

from ndcl.data.loading.loader import EVALUATION_BYTES, EVALUATION_ROWS
from ndcl.errors import UserError
from ndcl.models import Network
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import WEIGHTS, Description
from ndcl.serving.ensemble import Ensemble
from ndcl.serving.formats import Answers, read_weights
from ndcl.serving.images import to_batch


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of n inputs."""

    class_ids: NDArray[np.int64]
    """[n] the class with the highest probability."""
    names: tuple[str, ...]
    """Of these classes."""
    probabilities: NDArray[np.float32]
    """[n, K] of each class; calibrated, if the model has a temperature."""
    disagreement: NDArray[np.float32] | None = None
    """[n] how far the answers of an ensemble's members are apart, from 0, all alike, to 1; None: a single network."""

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

    def __init__(self, description: Description, answers: Answers, device: torch.device) -> None:
        self.description = description
        self.classes = description.classes
        self.device = device
        self._answers = answers

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> "Model":
        """The model in a folder that `ndcl export` made. On another device than the CPU only safetensors are run.

        Raises UserError if there is none, or it is damaged.
        """
        description = Description.read(folder)
        answers = read_weights(folder / WEIGHTS[description.format], description)
        if not isinstance(answers, (Classifier, Ensemble)):
            return cls(description, answers, torch.device("cpu"))
        return cls(description, answers.to(device), torch.device(device))

    def predict(self, inputs: Any) -> Predictions:
        """The classes of `inputs`: paths, files' contents or uint8 arrays [h, w, 3], one or many; or vectors [n, F].

        Raises UserError for what cannot be read as an image, or does not suit the model.
        """
        return self.predict_batch(self.prepare(inputs))

    def prepare(self, inputs: Any) -> Tensor:
        """What the network takes of `inputs`: uint8 [n, H, W, 3] or float32 [n, F]. Safe in threads.

        Raises UserError as `predict` does.
        """
        batch = to_batch([inputs] if isinstance(inputs, (str, Path, bytes)) else inputs, self.description.inputs)
        if "sqrt" in self.description.transforms and batch.numel() and (lowest := float(batch.min())) < 0:
            raise UserError(
                f"this model takes the square root of features (data.transform: sqrt), and one is {lowest:.4g}; give "
                "vectors of the network that it was trained on"
            )
        return batch

    def predict_batch(self, batch: Tensor) -> Predictions:
        """The classes of inputs that `prepare` has made."""
        logits, disagreement = self._computed(batch)
        class_ids = logits.argmax(dim=1).numpy()
        return Predictions(
            class_ids=class_ids,
            names=tuple(self.classes[k] for k in class_ids),
            probabilities=(logits / self.description.temperature).softmax(dim=1).numpy(),
            disagreement=None if disagreement is None else disagreement.numpy(),
        )

    def examine(self, batch: Tensor) -> tuple[Predictions, Tensor]:
        """The classes of inputs that `prepare` has made, and their features float32 [n, P]: what the head sees of them.

        Of an ensemble these are the features of its first network. Raises UserError if the model is a graph.
        """
        head = self._first_network()[1]
        seen = [torch.empty((0, self.num_features))]
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().float().cpu()))
        try:
            predictions = self.predict_batch(batch)
        finally:
            hook.remove()
        return predictions, torch.cat(seen)

    @property
    def num_features(self) -> int:
        """P: what the head of the (first) network sees. Raises UserError if the model is a graph."""
        return self._first_network().num_features

    def _first_network(self) -> Network:
        answers = self._answers.members[0] if isinstance(self._answers, Ensemble) else self._answers
        if not isinstance(answers, Classifier):
            raise UserError(
                f"a model of format {self.description.format} is a graph, which gives no features; export it as "
                "safetensors"
            )
        return answers.network

    def logits(self, batch: Tensor) -> Tensor:
        """float32 [n, K] of inputs that `prepare` has made, in parts as large as an evaluation's.

        They are those of the network, or of the ensemble, before they are divided by the temperature.
        """
        return self._computed(batch)[0]

    @torch.inference_mode()
    def _computed(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits [n, K], and the disagreement [n] of an ensemble."""
        is_ensemble = self.description.members is not None
        logits = [torch.empty((0, len(self.classes)))]
        apart = [torch.empty(0)]
        for part in self._parts(batch):
            found = self._answers(part.to(self.device))
            if isinstance(found, Tensor):
                logits.append(found.cpu())
            else:
                logits.append(found[0].cpu())
                apart.append(found[1].cpu())
        return torch.cat(logits), torch.cat(apart) if is_ensemble else None

    def _parts(self, batch: Tensor) -> Iterator[Tensor]:
        input_bytes = math.prod(batch.shape[1:]) * batch.element_size()
        rows = max(1, min(EVALUATION_ROWS, EVALUATION_BYTES // input_bytes))
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]
