"""Backbones, heads and BatchNorm: a network is a feature extractor followed by a linear head.

Two forwards happen in an NDCL step, the second on mixed rows. BatchNorm that is not frozen uses its running statistics
in the second one and leaves them as they are, so that mixed rows never shift what the network knows of real images.
"""

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.errors import UserError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator


class SmallCnn(nn.Module):
    """Three convolutions, each halving the image, for images of about 28 x 28: [n, 3, H, W] -> [n, 64 (H/8) (W/8)].

    Without normalisation layers, which cost as much as the convolutions at this size, and without global pooling, which
    would give away where in a digit its strokes lie.
    """

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape[:2]) < 8:
            raise UserError(
                f"model.backbone: 'small_cnn' needs images of at least 8 x 8, got inputs of shape {input_shape}; "
                "use 'linear' or 'mlp'"
            )
        height, width, channels = input_shape
        self.num_features = 64 * (height // 8) * (width // 8)
        self.layers = nn.Sequential(*_convolution(channels, 16), *_convolution(16, 32), *_convolution(32, 64))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.layers(inputs).flatten(1)))


class Linear(nn.Module):
    """The inputs themselves, flattened, so that the network is its linear head: [n, ...] -> [n, F]."""

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_features = math.prod(input_shape)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [n, ...] as vectors."""
        return cast(Tensor, self.dropout(inputs.flatten(1)))


class Mlp(nn.Module):
    """Linear layers with ReLU and dropout between, none after the last: [n, ...] -> [n, mlp_width]."""

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        width = self.num_features = config.mlp_width
        self.input = nn.Linear(math.prod(input_shape), width)
        self.hiddens = nn.ModuleList(nn.Linear(width, width) for _ in range(config.mlp_depth - 2))
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of inputs [n, ...], flattened."""
        hidden = torch.relu(self.dropout(self.input(inputs.flatten(1))))
        for layer in self.hiddens:
            hidden = torch.relu(self.dropout(layer(hidden)))
        return cast(Tensor, self.output(hidden))


class TorchvisionResnet(nn.Module):
    """A torchvision ResNet without its classifier: [n, 3, H, W] -> [n, num_features]."""

    def __init__(self, name: str, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise UserError(
                f"model.backbone: '{name}' needs images, got inputs of shape {input_shape}; use 'linear' or 'mlp'"
            )
        import torchvision  # here, because importing it takes a second that small networks need not wait

        self.backbone = torchvision.models.get_model(name)
        self.num_features = int(self.backbone.fc.in_features)
        self.backbone.fc = nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        state = _pretrained(name, config.weights)
        if state is not None:
            _load(self.backbone, state, config.weights)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.backbone(inputs)))


class Network(nn.Sequential):
    """Features, then a linear head: [n, ...] -> logits [n, K]."""

    def __init__(self, features: nn.Module, num_features: int, num_classes: int, freeze_batchnorm: bool) -> None:
        super().__init__(features, nn.Linear(num_features, num_classes))
        self.freeze_batchnorm = freeze_batchnorm
        self.batchnorms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.has_dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.modules())

    def train(self, mode: bool = True) -> "Network":
        """As `nn.Module.train`, but frozen BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.freeze_batchnorm:
            for layer in self.batchnorms:
                layer.eval()
        return self

    def forward_mixed(self, inputs: Tensor) -> Tensor:
        """Logits of generated rows, with BatchNorm's running statistics used and left unchanged."""
        with self._running_statistics():
            return cast(Tensor, self(inputs))

    @contextmanager
    def _running_statistics(self) -> "Iterator[None]":
        training = [layer for layer in self.batchnorms if layer.training]
        for layer in training:
            layer.eval()
        try:
            yield
        finally:
            for layer in training:
                layer.train()


def _torchvision(name: str) -> Callable[[ModelConfig, tuple[int, ...]], nn.Module]:
    return lambda config, input_shape: TorchvisionResnet(name, config, input_shape)


BACKBONES: dict[str, Callable[[ModelConfig, tuple[int, ...]], nn.Module]] = {
    "small_cnn": SmallCnn,
    "linear": Linear,
    "mlp": Mlp,
    "resnet18": _torchvision("resnet18"),
    "resnet50": _torchvision("resnet50"),
}

PRETRAINED = ("resnet18", "resnet50")
"""Backbones that take `weights`."""


def build_network(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int, seed: int) -> Network:
    """The network for inputs of `input_shape` ((H, W, 3) or (F,)), initialised from `seed` alone, channels last.

    Raises UserError for an unknown backbone, weights that cannot be had or do not fit, inputs of the wrong kind.
    """
    _require_known(config)
    if config.weights != "none" and config.backbone not in PRETRAINED:
        raise UserError(
            f"model.weights: '{config.backbone}' takes no weights; set none, or use {', '.join(PRETRAINED)}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = BACKBONES[config.backbone](config, input_shape)
        network = Network(features, int(features.num_features), num_classes, config.freeze_batchnorm)  # type: ignore[arg-type]
    return network.to(memory_format=torch.channels_last)


def require_fit(config: ModelConfig, input_shape: tuple[int, ...]) -> None:
    """Raise UserError if there is no such backbone, or it does not take inputs of `input_shape`.

    Costs no memory and reads no weights: a plan asks this for each of its models.
    """
    _require_known(config)
    with torch.device("meta"):
        BACKBONES[config.backbone](replace(config, weights="none"), input_shape)


def _require_known(config: ModelConfig) -> None:
    if config.backbone not in BACKBONES:
        raise UserError(f"model.backbone: {unknown_name('backbone', config.backbone, BACKBONES)}")


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    # pooling first gives the same values as ReLU first, at a quarter of ReLU's cost
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]


def _pretrained(name: str, weights: str) -> dict[str, Tensor] | None:
    """State dict of `weights`: `none`, `imagenet` (torchvision's IMAGENET1K_V1, as the field uses) or a path."""
    if weights == "none":
        return None
    if weights != "imagenet":
        return _read_state(Path(weights))
    from torchvision.models import get_model_weights

    entry = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except OSError as error:  # URLError, a full disk, no permission
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise UserError(
            f"model.weights: the ImageNet weights of {name} could not be downloaded ({error}); put the file "
            f"{Path(entry.url).name} at {place}, or set model.weights to its path"
        ) from None


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"model.weights: no file '{path}'; give imagenet, none, or the path of a state dict")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"model.weights: '{path}' is not a state dict that can be read safely ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"model.weights: '{path}' holds a {type(state).__name__}, not a state dict of tensors")
    return dict(state.get("state_dict", state))


def _load(backbone: nn.Module, state: dict[str, Tensor], weights: str) -> None:
    """Load `state` into the backbone; its classifier, where it has one, is left out."""
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    try:
        backbone.load_state_dict(body)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.weights: '{weights}' does not fit the backbone: {reason}") from None
