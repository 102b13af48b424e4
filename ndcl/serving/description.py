"""What an exported model says of itself: all that is needed to use it, and where it comes from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ndcl.config import ModelConfig
from ndcl.data.importing.images import Fit
from ndcl.data.store import Store
from ndcl.data.store_format import Kind
from ndcl.data.transforms import delivered_shape, normalization
from ndcl.errors import UserError
from ndcl.strict import from_dict, to_dict

FILE_NAME = "model.json"
FORMAT_VERSION = 1

Format = Literal["safetensors", "onnx", "torch-export"]
FORMATS: tuple[Format, ...] = get_args(Format)
WEIGHTS: dict[Format, str] = {"safetensors": "model.safetensors", "onnx": "model.onnx", "torch-export": "model.pt2"}
"""Name of the file beside FILE_NAME, by format."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the network takes, and how images become that."""

    kind: Kind
    """How the data set stores its inputs: `raw` and `encoded` images, or `vectors`."""
    shape: tuple[int, ...]
    """Of one input: (H, W, 3) or (F,)."""
    import_size: int | None
    """Height and width that images were given when the data set was imported; None: they were left as they are."""
    fit: Fit
    """How they were given that size."""
    mean: tuple[float, ...] | None
    """Of each colour, in [0, 1]; None for vectors."""
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `model.json`."""

    version: int = FORMAT_VERSION
    format: Format
    sha256: str
    """Digest of the file with the weights."""
    classes: tuple[str, ...]
    """By class id."""
    inputs: Inputs
    model: ModelConfig
    standardized: bool
    """Whether the network shifts and scales its input vectors first."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: data set and digest, training config, step, sweep and trial, versions."""

    def write(self, folder: Path) -> None:
        """Write it to a folder."""
        (folder / FILE_NAME).write_text(json.dumps(to_dict(self), indent=1, allow_nan=False))

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """The description in a folder. Raises UserError if there is none, or one of another version."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise UserError(f"{folder} holds no exported model ({FILE_NAME} is missing); make one with: ndcl export")
        try:
            values = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); export the model again") from None
        if not isinstance(values, dict) or values.get("version") != FORMAT_VERSION:
            raise UserError(f"{path} is not of version {FORMAT_VERSION}, which this ndcl reads; export the model again")
        return from_dict(cls, values, str(path))


def inputs_of(store: Store, image_size: int | None) -> Inputs:
    """What a network is given that was trained on `store` with images of `image_size`."""
    shape = delivered_shape(store, image_size)
    conversion = store.notes.get("conversion") or {}
    mean, std = (None, None) if store.kind == "vectors" else normalization(shape[0])
    return Inputs(
        kind=store.kind,
        shape=shape,
        import_size=conversion.get("size"),
        fit=conversion.get("fit", "stretch"),
        mean=mean,
        std=std,
    )
