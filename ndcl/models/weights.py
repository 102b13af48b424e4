"""Weights from files: torchvision's for ImageNet, in torch's own cache, or any state dict. Nothing in them is run."""

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ndcl.architectures import is_known_weights
from ndcl.errors import UserError

State = dict[str, Tensor]

_WITHOUT_V1 = {"vit_h_14": "IMAGENET1K_SWAG_LINEAR_V1", "regnet_y_128gf": "IMAGENET1K_SWAG_LINEAR_V1"}
"""What `imagenet` means for the backbones for which there is no IMAGENET1K_V1, the weights that the field uses."""


def imagenet_entry(name: str, weights: str = "imagenet") -> Any:
    """torchvision's entry of weights by their name, or of those that `imagenet` stands for: url, transforms, facts."""
    from torchvision.models import get_model_weights

    return get_model_weights(name)[_WITHOUT_V1.get(name, "IMAGENET1K_V1") if weights == "imagenet" else weights]


def imagenet_file(name: str, weights: str = "imagenet") -> Path:
    """Where ImageNet weights of a backbone lie, or are put when they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(imagenet_entry(name, weights).url).name


def read_weights(name: str, weights: str) -> State:
    """The state dict that `weights`, `imagenet`, a name of torchvision's or a path, means for the backbone `name`.

    Raises UserError if it cannot be had, is damaged, or is not a state dict.
    """
    return _imagenet_state(name, weights) if is_known_weights(weights) else read_state(Path(weights).expanduser())


def load_body(backbone: nn.Module, state: State, head: str, weights: str) -> None:
    """Load `state` into the backbone, without what it has for the classifier, the module `head`.

    Raises UserError if it does not fit; `weights` is what the user called it.
    """
    body = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    try:
        backbone.load_state_dict(body)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.weights: '{weights}' does not fit the backbone: {reason}") from None


def _imagenet_state(name: str, weights: str) -> State:
    file = imagenet_file(name, weights)
    digest = file.stem.rpartition("-")[2]
    if file.is_file():
        require_whole(file, digest)
    else:
        _download(name, imagenet_entry(name, weights).url, file, digest)
    return read_state(file)


def _download(name: str, url: str, file: Path, digest: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), digest, progress=False)
    except (OSError, RuntimeError) as error:  # URLError, a full disk, no permission; RuntimeError: another digest
        raise UserError(
            f"model.weights: the ImageNet weights of {name} could not be downloaded ({error}); put the file "
            f"{file.name} at {file}, or set model.weights to its path"
        ) from None


def require_whole(file: Path, expected: str) -> None:
    """Refuse a file that is not what its name says: torch looks at the digest of what it downloads alone."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise UserError(
            f"model.weights: {file} is damaged or another file: its SHA-256 begins with {digest[: len(expected)]}, not "
            f"with {expected}; put the right one there, or remove it to have it downloaded"
        )


def read_state(path: Path, valid: str = "imagenet, none, or the path of a state dict") -> State:
    """The state dict in a file; `valid` is what may be given instead. Raises UserError if there is none."""
    if not path.is_file():
        raise UserError(f"model.weights: no file '{path}'; give {valid}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:  # its message tells how to execute what is in the file
        raise UserError(f"model.weights: '{path}' is damaged, or holds more than tensors; give a state dict") from None
    except Exception as error:  # torch and safetensors raise many kinds for a damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"model.weights: '{path}' is not a state dict that can be read safely ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"model.weights: '{path}' holds a {type(state).__name__}, not a state dict of tensors")
    return dict(state.get("state_dict", state))
