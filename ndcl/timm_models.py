"""What the networks of timm are and take: `timm:NAME` or `timm:NAME.TAG` as a backbone.

PyTorch Image Models (Wightman 2019, doi 10.5281/zenodo.4414861) is an optional package. What a plan asks of one of its
networks is measured on the network itself, built on the meta device, which takes no memory and about a fifth of a
second. Nothing here imports timm or torch before a network of timm is asked for.
"""

import difflib
import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ndcl.architectures import ARCHITECTURES, Architecture
from ndcl.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm:"
INSTALL = "pip install '.[timm]' in the folder of this project, or pip install timm"


@dataclass(frozen=True, kw_only=True)
class TimmModel:
    """Facts of one network, with its tag's settings for images."""

    architecture: Architecture
    num_features: int
    mean: tuple[float, ...]
    """Of each colour, in [0, 1]."""
    std: tuple[float, ...]


def is_timm(backbone: str) -> bool:
    """Whether a backbone's name means a network of timm."""
    return backbone.startswith(PREFIX)


def architecture_of(backbone: str) -> Architecture:
    """Facts of a backbone, of timm or not. Raises UserError if there is none of that name, or timm is missing."""
    if is_timm(backbone):
        return timm_model(backbone).architecture
    if backbone not in ARCHITECTURES:
        raise UserError(f"model.backbone: {unknown_name('backbone', backbone, ARCHITECTURES)}")
    return ARCHITECTURES[backbone]


def known_architecture(backbone: str) -> Architecture | None:
    """As `architecture_of`, but None for a name that means nothing here."""
    try:
        return architecture_of(backbone)
    except UserError:
        return None


def timm_package() -> Any:
    """timm itself. Raises UserError with the remedy if it is not installed."""
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        missing = error.name or "timm"
        raise UserError(
            f"model.backbone: '{PREFIX}NAME' needs the package {missing}, which is not installed; install it by: "
            f"{INSTALL}"
        ) from None


def pretrained_config(backbone: str) -> Any:
    """timm's settings of a tag, or of a network's first one. Raises UserError if there is no such network or tag."""
    timm, name = timm_package(), backbone.removeprefix(PREFIX)
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "its names are those of timm.list_models()"
        raise UserError(f"model.backbone: timm {timm.__version__} has no network '{architecture}'; {hint}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
        valid = f"valid: {', '.join(sorted(known))}" if known else "it has none"
        raise UserError(f"model.backbone: timm's {architecture} has no tag '{tag}'; {valid}") from None


def require_pretrained(backbone: str) -> None:
    """Raise UserError if timm knows of no weights of that tag, or of a network's first one."""
    config = pretrained_config(backbone)
    if not (config.hf_hub_id or config.url):
        raise UserError(f"model.weights: timm has no weights of '{backbone}'; give none, or the path of a state dict")


@cache
def timm_model(backbone: str) -> TimmModel:
    """The facts of a network of timm. Raises UserError if there is none of that name, or it gives no features."""
    from ndcl.blocks import attention_weights, blocks, norms

    config = pretrained_config(backbone)
    size = int(config.input_size[1])
    network = _on_meta(backbone, (size, size))
    shape = _output_shape(network, (size, size))
    if shape is None or len(shape) != 2:
        raise UserError(
            f"model.backbone: '{backbone}' gives no vector of features for an image, but {shape or 'several tensors'}; "
            "take another network"
        )
    architecture = Architecture(
        image_size=size,
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        num_stages=len(stage_names(network)),
        has_norms=any(True for _ in norms(network)),
        has_attention=any(True for _ in attention_weights(network)),
        has_batchnorm=_has_batchnorm(network),
        has_blocks=any(True for _ in blocks(network)),
    )
    return TimmModel(
        architecture=architecture,
        num_features=int(shape[1]),
        mean=tuple(config.mean),
        std=tuple(config.std),
    )


@cache
def refusal(backbone: str, size: tuple[int, int]) -> str | None:
    """Why a network does not take images of `size` (height, width), in a few words; None if it does."""
    timm_model(backbone)
    try:
        shape = _output_shape(_on_meta(backbone, size), size)
    except UserError:
        raise
    except Exception as error:  # each network has its own way to say it
        return (" ".join(str(error).split()) or type(error).__name__)[:120]
    return None if shape is not None and shape[1] == timm_model(backbone).num_features else "other features come out"


@cache
def has_stochastic_depth(backbone: str) -> bool:
    """Whether a backbone, of timm or not, leaves out blocks at random in training, or can be told to."""
    if not is_timm(backbone):
        return architecture_of(backbone).has_stochastic_depth
    size = timm_model(backbone).architecture.image_size
    assert size is not None, "timm's networks have a size"
    try:
        network = _on_meta(backbone, (size, size), stochastic_depth=0.5)
    except TypeError:  # it has no such argument
        return False
    return any(type(module).__name__ == "DropPath" and module.drop_prob for module in network.modules())


def build(
    backbone: str, size: tuple[int, int], state: "dict[str, Any] | None" = None, stochastic_depth: float | None = None
) -> "nn.Module":
    """timm's network without its classifier, for images of `size` (height, width), with `state` as its weights.

    Dropout is off; `stochastic_depth` is the rate of its last block, by default timm's. Positions are resampled for
    another size than the tag's. Raises what timm raises if `size` or `state` do not fit, and UserError for weights that
    lack something.
    """
    timm, config = timm_package(), pretrained_config(backbone)
    options: dict[str, Any] = {"num_classes": 0}
    if config.fixed_input_size and tuple(config.input_size[1:]) != size:
        options["img_size"] = size
    if stochastic_depth is not None:
        options["drop_path_rate"] = stochastic_depth
    if state is not None:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state, "source": ""}}
    with _noted_loads() as loads:
        network = cast("nn.Module", timm.create_model(backbone.removeprefix(PREFIX), **options))
    if state is not None:
        _require_all(network, loads, config.classifier)
    _turn_dropout_off(network)
    return network


def stage_names(network: "nn.Module") -> list[list[str]]:
    """Names of the parameters of each stage, from the input to the last: by timm's own matcher, where there is one."""
    models = importlib.import_module("timm.models")
    names = [name for name, _ in network.named_parameters()]
    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        return _by_children(network)
    groups = models.group_parameters(network, matcher(coarse=False))
    found = [groups[number] for number in sorted(groups) if groups[number]]
    assert sorted(name for group in found for name in group) == sorted(names)
    return found


def _by_children(network: "nn.Module") -> list[list[str]]:
    """The parts that a network is made of, those of its sequences one by one."""
    from torch import nn

    groups: dict[str, list[str]] = {}
    for name, _ in network.named_parameters():
        head, _, rest = name.partition(".")
        in_sequence = isinstance(getattr(network, head, None), nn.Sequential | nn.ModuleList)
        groups.setdefault(f"{head}.{rest.partition('.')[0]}" if in_sequence else head, []).append(name)
    return list(groups.values())


def _on_meta(backbone: str, size: tuple[int, int], stochastic_depth: float | None = None) -> "nn.Module":
    import torch

    with torch.device("meta"):
        return build(backbone, size, stochastic_depth=stochastic_depth).eval()


def _output_shape(network: "nn.Module", size: tuple[int, int]) -> tuple[int, ...] | None:
    """Of the features of two images; None if there are several tensors."""
    import torch

    with torch.no_grad():
        features = network(torch.empty((2, 3, *size), device="meta"))
    return tuple(features.shape) if isinstance(features, torch.Tensor) else None


def _has_batchnorm(network: "nn.Module") -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(module, _BatchNorm) for module in network.modules())


def _turn_dropout_off(network: "nn.Module") -> None:
    """All but stochastic depth: what a config asks for comes before the head."""
    from torch.nn.modules.dropout import _DropoutNd

    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        if isinstance(getattr(module, "drop_rate", None), float):
            module.drop_rate = 0.0  # type: ignore[assignment]


Loads = list[Any]
"""What `load_state_dict` returned: `missing_keys` and `unexpected_keys`."""


class _noted_loads(AbstractContextManager[Loads]):  # noqa: N801
    """What is loaded meanwhile: timm leaves out what does not fit its network, and only logs it."""

    def __enter__(self) -> Loads:
        from torch import nn

        self._original: Callable[..., Any] = nn.Module.load_state_dict
        loads: Loads = []

        def noted(module: "nn.Module", *args: Any, **kwargs: Any) -> Any:
            loads.append(self._original(module, *args, **kwargs))
            return loads[-1]

        nn.Module.load_state_dict = noted  # type: ignore[assignment, method-assign]
        return loads

    def __exit__(self, *exception: object) -> None:
        from torch import nn

        nn.Module.load_state_dict = self._original  # type: ignore[method-assign]


def _require_all(network: "nn.Module", loads: Loads, classifiers: Any) -> None:
    """Refuse weights that leave a part of the network at random, or are of a deeper one; classifiers may be left."""
    missing = [key for key in loads[-1].missing_keys if not key.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"they lack {len(missing)} of the network's tensors, such as {missing[0]}")
    heads = {
        str(name).partition(".")[0] for name in ([classifiers] if isinstance(classifiers, str) else classifiers or ())
    }
    parts = {name.partition(".")[0] for name, _ in network.named_parameters()} - heads
    others = [key for key in loads[-1].unexpected_keys if key.partition(".")[0] in parts and key.endswith(".weight")]
    if others:
        raise UserError(f"they have {len(others)} layers that the network has not, such as {others[0]}")
