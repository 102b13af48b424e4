"""What the inputs of a data set are: their shape as a network is given them, photographs or not. Without torch."""

from typing import Protocol

from ndcl.config import DataConfig
from ndcl.data.store.format import Kind
from ndcl.errors import UserError

IMAGENET_SIZE = 64
"""Images of at least this height are normalised as ImageNet's, since networks pretrained on it are used for them."""
LARGEST_SIZE = 224
"""Larger images are reduced to this height and width unless another size is asked for, as the field does."""


class Inputs(Protocol):
    """What a store and the facts of one say of its inputs."""

    @property
    def name(self) -> str:
        """Of the data set."""

    @property
    def kind(self) -> Kind:
        """How they are stored."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one: (H, W, 3) or (F,)."""


def delivered_shape(store: Inputs, image_size: int | None) -> tuple[int, ...]:
    """Shape of one input as a network is given it, channels last: (H, W, 3), or (F,) for vectors."""
    if store.kind == "vectors":
        return store.input_shape
    if image_size is not None:
        return (image_size, image_size, 3)
    height, width, channels = store.input_shape
    return (min(height, LARGEST_SIZE), min(width, LARGEST_SIZE), channels)


def holds_photos(store: Inputs) -> bool:
    """Whether the inputs are photographs, to be augmented as such, rather than small images or vectors."""
    if store.kind == "vectors":
        return False
    return store.kind == "encoded" or min(store.input_shape[:2]) >= IMAGENET_SIZE


def augments_on_gpu(store: Inputs, config: DataConfig, *, on_gpu: bool) -> bool:
    """Whether photographs are cropped and augmented on the GPU, if the training runs `on_gpu`.

    Raises UserError if they are to be but cannot.
    """
    can = on_gpu and store.kind == "raw" and holds_photos(store)
    if config.augment == "augmix":  # which would draw from the GPU's generator
        if config.augment_on == "gpu":
            raise UserError("data.augment_on: 'gpu' was asked for, but augmix needs the CPU; set it to auto or cpu")
        can = False
    if config.augment_on == "gpu" and not can:
        reason = f"{store.name} holds no raw photographs" if on_gpu else "the training runs on the CPU"
        raise UserError(f"data.augment_on: 'gpu' was asked for, but {reason}; set it to auto or cpu")
    return can and config.augment_on != "cpu"


def require_vectors(store: Inputs, key: str = "standardize") -> None:
    """Raise UserError if `store` holds something that is not standardised, or not transformed, as `key` asks for."""
    if store.kind != "vectors":
        raise UserError(f"data.{key}: {store.name} holds images, which have a fixed normalisation; remove it")
