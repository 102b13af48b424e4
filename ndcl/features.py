"""Features of a frozen network, on which heads train in seconds: written as a data set of vectors, and standardised.

Legend: n images or vectors, m of them in a batch, F features.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.config import DataConfig, ModelConfig, Transform
from ndcl.data import Store, StoreWriter
from ndcl.data.delivery import delivered
from ndcl.data.inputs import delivered_shape, require_vectors
from ndcl.data.loading.ahead import done_ahead
from ndcl.data.problem import Problem
from ndcl.data.transforms import to_inputs
from ndcl.data.vectors import require_transformable, transformed
from ndcl.errors import UserError
from ndcl.models import Network, build_network
from ndcl.models.backbone import Backbone, Stage

CPU = torch.device("cpu")
Dtype = Literal["float16", "float32"]
DTYPES: tuple[Dtype, ...] = ("float16", "float32")
NOTE = "features"
"""Key of the notes under which it stands what a data set's features were made from."""
STATISTICS_ROWS = 4096
"""Vectors in memory at once while their mean is taken."""
LEAST_DEVIATION = 0.01
"""Share of the average deviation that a feature is taken to have at least; else its noise would be blown up."""


def embed(
    source: Store,
    folder: Path,
    model: ModelConfig,
    *,
    dtype: Dtype = "float16",
    image_size: int | None = None,
    batch_size: int = 64,
    device: torch.device = CPU,
    replace: bool = False,
) -> Iterator[int]:
    """Write the features of all images of `source` to `folder`; yields how many are done after each batch.

    The network is frozen and sees each image once, as an evaluation does: no augmentation, no dropout, `image_size`
    as in a DataConfig. The data set is named after `folder` and appears when the iterator ends, or not at all. Same
    source, model, batch size and machine: same digest. Its notes say what it was made from. With `replace` it takes the
    place of a data set that lies in `folder`.

    Raises UserError if `source` holds features already, `folder` exists, the model cannot be built, or a feature is not
    finite in `dtype`.
    """
    if source.kind == "vectors":
        raise UserError(f"{source.name} holds features already; embed a data set of images")
    extractor = Extractor(source, model, image_size, device)
    paths = source.paths()
    with StoreWriter(
        folder,
        name=folder.name,
        classes=source.classes,
        domains=source.domains,
        kind="vectors",
        shape=(extractor.num_features,),
        dtype=dtype,
        notes={NOTE: extractor.origin() | {"batch_size": batch_size}},
        replace=replace,
    ) as writer:
        batches = (
            np.arange(start, min(start + batch_size, len(source))) for start in range(0, len(source), batch_size)
        )
        for rows, images in done_ahead(extractor.images, batches):
            features = _rounded(extractor(images), dtype)
            labels, domains = source.labels[rows].tolist(), source.domain_ids[rows].tolist()
            writer.append(features, labels, domains, None if paths is None else [paths[row] for row in rows])
            yield int(rows[-1]) + 1


class Extractor:
    """A frozen network without its head: the images of a store to features [m, F]."""

    def __init__(
        self, source: Store, model: ModelConfig, image_size: int | None = None, device: torch.device = CPU
    ) -> None:
        """Raises UserError if the model does not exist, or does not fit the images of `source`."""
        self._source, self._model, self._device = source, model, device
        shape = delivered_shape(source, image_size or model.image_size)
        self._size = (shape[0], shape[1])
        network = build_network(model, shape, len(source.classes), seed=0)
        self._network: Network = network.to(device).eval()
        self.num_features = int(network[0].num_features)  # type: ignore[arg-type]

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """The images at `rows` [m] as an evaluation has them, uint8 [m, H, W, 3]."""
        return delivered(self._source, rows, (*self._size, 3), self._model.interpolation)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        """Features [m, F] of uint8 [m, H, W, 3]."""
        # The fastest convolution may be another one at the next start, and TF32 keeps but 10 bits of a factor.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with exact:
            features = self._network[0](to_inputs(images.to(self._device)))
        values: NDArray[np.float32] = features.float().cpu().numpy()
        return values

    def origin(self) -> dict[str, Any]:
        """What the features are made from, for the notes of their data set."""
        return {
            "source": self._source.name,
            "source_digest": self._source.digest,
            "source_notes": self._source.notes,
            "image_size": list(self._size),
            "backbone": self._model.backbone,
            "weights": self._model.weights,
            "weights_digest": weights_digest(self._network[0].state_dict()),
            "torch": torch.__version__,
        }


class Standardized(Backbone):
    """A network's features of inputs [n, F] that are shifted and scaled first, so that it can be applied as it is."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Backbone, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.features = features
        self.num_features = features.num_features
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of raw inputs [n, F]."""
        return cast(Tensor, self.features((inputs - self.mean) * self.scale))

    def stages(self) -> list[Stage]:
        """Those of the network's features; mean and deviation are not trained."""
        return self.features.stages()


class SquareRoots(Backbone):
    """A network's features of the square roots of its inputs [n, F], so that it can be applied as it is."""

    def __init__(self, features: Backbone) -> None:
        super().__init__()
        self.features = features
        self.num_features = features.num_features

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of raw inputs [n, F]; what is below 0 counts as 0, and is refused where inputs come in."""
        return cast(Tensor, self.features(transformed(inputs, "sqrt")))

    def stages(self) -> list[Stage]:
        """Those of the network's features."""
        return self.features.stages()


def take_vectors(network: Network, problem: Problem, data: DataConfig) -> None:
    """Let `network` transform its inputs, and then standardise them, as far as `data` has it.

    Raises UserError for images, and for a transform that the vectors don't allow.
    """
    if data.transform != "none":
        require_transformable(problem.store)
    if data.standardize:
        standardize(network, problem, data.transform)
    if data.transform == "sqrt":
        network[0] = SquareRoots(cast(Backbone, network[0]))


def standardize(network: Network, problem: Problem, transform: Transform = "none") -> None:
    """Let `network` standardise its inputs by the training vectors of the source domains, and those alone.

    They are measured after the `transform`. The validation images and the target domain have no part in it. The
    statistics become part of the network and of its checkpoints. Raises UserError for images.
    """
    require_vectors(problem.store)
    mean, scale = source_statistics(problem.store, np.concatenate(problem.train), transform)
    device = next(network.parameters()).device
    network[0] = Standardized(cast(Backbone, network[0]), mean.to(device), scale.to(device))


def source_statistics(store: Store, rows: NDArray[np.int64], transform: Transform = "none") -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation of each feature over `rows`, after the `transform`, float32 [F], [F].

    A feature that is the same in all rows teaches nothing and gets the scale 0: whatever the target domain makes of it
    would be noise. A deviation below LEAST_DEVIATION of the average one is raised to that.
    """
    shift = transformed(
        store.inputs(rows[:1]), transform
    ).double()  # near the mean, so that the sums of squares do not cancel
    sums, squares = torch.zeros_like(shift[0]), torch.zeros_like(shift[0])
    for start in range(0, len(rows), STATISTICS_ROWS):
        vectors = store.inputs(np.sort(rows)[start : start + STATISTICS_ROWS])
        part = transformed(vectors, transform).double() - shift
        sums += part.sum(0)
        squares += part.square().sum(0)
    mean = sums / len(rows)
    deviation = (squares / len(rows) - mean.square()).clamp(min=0).sqrt()
    least = LEAST_DEVIATION * deviation.mean()
    scale = torch.where(deviation > 0, 1 / deviation.clamp(min=least), 0.0)
    return (mean + shift[0]).float(), scale.float()


def weights_digest(state: dict[str, Tensor]) -> str:
    """SHA-256 over the names and values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {list(state[name].shape)}".encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _rounded(features: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """`features` as `dtype`. Raises UserError if that leaves a number that is not finite."""
    if not np.isfinite(features).all():
        raise UserError("model.weights: the network gives features that are NaN or infinite; use other weights")
    with np.errstate(over="ignore"):
        rounded = features.astype(dtype)
    if not np.isfinite(rounded).all():
        raise UserError(
            f"dtype: a feature of {np.abs(features).max():.4g} is beyond the range of {dtype} (65504); use float32"
        )
    return rounded
