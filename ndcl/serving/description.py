"""What an exported model says of itself: all that is needed to use it, and where it comes from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ndcl.architectures import Interpolation
from ndcl.config import ModelConfig, Transform
from ndcl.data.facts import DataFacts
from ndcl.data.importing.images import Fit
from ndcl.data.inputs import delivered_shape
from ndcl.data.store.format import Kind
from ndcl.data.transforms import normalization
from ndcl.errors import UserError
from ndcl.evaluation.calibration import Selective
from ndcl.filesystems import require_no_uri
from ndcl.strict import from_dict, to_dict

FILE_NAME = "model.json"
FORMAT_VERSION = 2
READABLE = (1, FORMAT_VERSION)
"""Version 1 knew neither ensembles nor temperatures."""

Format = Literal["safetensors", "onnx", "torch-export"]
FORMATS: tuple[Format, ...] = get_args(Format)
WEIGHTS: dict[Format, str] = {"safetensors": "model.safetensors", "onnx": "model.onnx", "torch-export": "model.pt2"}
"""Name of the file beside FILE_NAME, by format."""
SOURCES_FILE = "sources.safetensors"
"""What `ndcl.serving.sources` keeps of the source domains."""


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
    interpolation: Interpolation = "bilinear"
    """By which they are then brought to the network's size."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """Of an ensemble: its networks, and how their answers become one."""

    models: tuple[ModelConfig, ...]
    """Of each network."""
    of: Literal["probabilities", "logits"]
    """What is averaged, as `ndcl.evaluation.ensembles.Combination` has it."""
    scales: tuple[float, ...]
    """Factor on each network's logits before."""
    transforms: tuple[Transform, ...] = ()
    """What each does to its input vectors first; empty: nothing."""


@dataclass(frozen=True, kw_only=True)
class KnownSources:
    """Of SOURCES_FILE: whose rows they are."""

    domains: tuple[str, ...]
    """The source domains, in the order of its rows."""
    sha256: str
    """Digest of the file."""


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
    """Of the network; of an ensemble, of its first."""
    standardized: bool
    """Whether the network shifts and scales its input vectors first."""
    transform: Transform = "none"
    """What the network does to each feature of its input vectors before that; of an ensemble, what its first does."""
    members: Members | None = None
    """None: a single network."""
    selective: Selective | None = None
    """How many validation images of the source domains are right above which confidence; None: unknown."""
    sources: KnownSources | None = None
    """What the model knows of its source domains; None: nothing, and images of a new site can't be compared."""
    temperature: float = 1.0
    """Divides the logits before they become probabilities, which are then calibrated as far as validation images of the
    source domains can tell; 1: it was not fitted."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: data set and digest, training config, step, sweep and trial, versions."""

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What each network does to its input vectors first."""
        if self.members is None:
            return (self.transform,)
        return self.members.transforms or (self.transform,) * len(self.members.models)

    def write(self, folder: Path) -> None:
        """Write it to a folder."""
        (folder / FILE_NAME).write_text(json.dumps(to_dict(self), indent=1, allow_nan=False))

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """The description in a folder. Raises UserError if there is none, or one of another version."""
        path = folder / FILE_NAME
        if not path.is_file():
            require_no_uri(folder)
            raise UserError(
                f"{folder} holds no exported model ({FILE_NAME} is missing); make one with: ndcl export SWEEP --to DIR"
            )
        try:
            values = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); export the model again") from None
        if not isinstance(values, dict) or values.get("version") not in READABLE:
            versions = " or ".join(map(str, READABLE))
            raise UserError(f"{path} is not of version {versions}, which this ndcl reads; export the model again")
        return from_dict(cls, values, str(path))


def inputs_of(data: DataFacts, image_size: int | None, interpolation: Interpolation = "bilinear") -> Inputs:
    """What a network is given that was trained on this data set with images of `image_size`."""
    shape = delivered_shape(data, image_size)
    mean, std = (None, None) if data.kind == "vectors" else normalization(shape[0])
    return Inputs(
        kind=data.kind,
        shape=shape,
        import_size=data.import_size,
        fit=data.fit,
        mean=mean,
        std=std,
        interpolation=interpolation,
    )
