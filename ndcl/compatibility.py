"""Whether a network exists and takes a data set's inputs: known without torch, before anything is built."""

from collections.abc import Sequence

from ndcl.architectures import NAMED, PRETRAINED, Architecture, named_weights
from ndcl.config import ModelConfig, TrainConfig
from ndcl.errors import UserError
from ndcl.timm_models import architecture_of, has_stochastic_depth, is_timm, refusal, require_pretrained

BATCHNORM_IN_PIECES = (
    "model.freeze_batchnorm: false works with one worker only, without micro_batch_size and without "
    "activation_checkpointing, because BatchNorm must see the whole batch once; set it to true, "
    "or model.norm to group (null means false where model.weights is none)"
)
NO_BLOCKS = (
    "activation_checkpointing: this backbone has no blocks whose activations could be computed again; set it to false, "
    "or set micro_batch_size"
)
NO_CHANNELS = (
    "model.backbone: the algorithm gives images another channel, and this backbone does not begin with a convolution "
    "of colours; set it to small_cnn or to one of torchvision, or choose another algorithm"
)
WHOLE_BATCH = (
    "algorithm.name: {name} shows each row what its domain's whole batch is like, which no one of several workers has; "
    "train with one worker, or choose another algorithm"
)
COMPILED_PARTS = (
    "compile: together with sharding it needs a backbone that is made of blocks, as those of torchvision are; set "
    "compile to false, or sharding to none"
)


def require_fit(config: ModelConfig, input_shape: Sequence[int]) -> None:
    """Raise UserError if there is no such backbone, it does not take inputs of `input_shape` ((H, W, 3) or (F,)), or
    has fewer stages than are to be frozen. Reads no weights.
    """
    architecture = architecture_of(config.backbone)
    require_known_weights(config)
    if architecture.needs_images:
        _require_images(architecture, config, tuple(input_shape))
    if config.train == "norms" and not architecture.has_norms:
        raise UserError(f"model.train: '{config.backbone}' has no norms, so that nothing would learn; set all or head")
    if config.train == "lora" and not architecture.has_attention:
        raise UserError(
            f"model.train: lora changes linear layers of attention, of which '{config.backbone}' has none; set all, "
            "head or norms, or take a transformer"
        )
    if config.stochastic_depth is not None and not has_stochastic_depth(config.backbone):
        raise UserError(
            f"model.stochastic_depth: '{config.backbone}' leaves out no blocks in training; remove it, or take an "
            "EfficientNet, ConvNeXt or Swin, or a network of timm"
        )
    num_stages = config.mlp_depth if architecture.num_stages is None else architecture.num_stages
    if config.freeze_stages > num_stages:
        raise UserError(
            f"model.freeze_stages: '{config.backbone}' has {num_stages} stages before its head, so that "
            f"{config.freeze_stages} cannot be frozen; lower it"
        )


def require_known_weights(config: ModelConfig) -> None:
    """Raise UserError if `config.weights` is a name that means nothing for its backbone; paths are not looked at."""
    if is_timm(config.backbone) and config.weights == "imagenet":
        raise UserError(
            f"model.weights: 'imagenet' means torchvision's; for '{config.backbone}' give pretrained, none, or the "
            "path of a state dict"
        )
    if config.weights != "none" and config.backbone not in PRETRAINED and not is_timm(config.backbone):
        raise UserError(
            f"model.weights: '{config.backbone}' takes no weights; set none, or use a backbone of torchvision, such as "
            "resnet50 (docs/backbones.md)"
        )
    if config.weights == "pretrained" and is_timm(config.backbone):
        require_pretrained(config.backbone)
    known = named_weights(config.backbone)
    if config.weights.startswith(NAMED) and config.weights not in known:
        has = f"has {', '.join(known)}" if known else "has none"
        raise UserError(f"model.weights: '{config.backbone}' {has}, not {config.weights}; give one of those, or a path")
    if config.weights == "pretrained" and not is_timm(config.backbone):
        raise UserError(
            f"model.weights: 'pretrained' means those of a backbone of timm; for '{config.backbone}' give imagenet, "
            "none, or the path of a state dict"
        )


def _require_images(architecture: Architecture, config: ModelConfig, shape: tuple[int, ...]) -> None:
    name, size, least = config.backbone, architecture.image_size, architecture.least_size
    if len(shape) != 3:
        raise UserError(f"model.backbone: '{name}' needs images, got inputs of shape {shape}; use 'linear' or 'mlp'")
    patch = architecture.patch_size
    if patch is not None and (shape[0] != shape[1] or shape[0] % patch):
        raise UserError(
            f"data.image_size: '{name}' takes square images of whole patches of {patch} x {patch}, got {shape[0]} x "
            f"{shape[1]}; remove it, or set it to a multiple of {patch}, such as {size}"
        )
    if min(shape[:2]) < least:
        raise UserError(
            f"data.image_size: '{name}' needs images of at least {least} x {least}, got {shape[0]} x {shape[1]}; set "
            "it to that or more"
        )
    reason = refusal(name, (shape[0], shape[1])) if is_timm(name) and shape[:2] != (size, size) else None
    if reason is not None:
        raise UserError(
            f"data.image_size: '{name}' does not take images of {shape[0]} x {shape[1]} ({reason}); remove it, or set "
            f"it to {size}"
        )


def require_steps(config: TrainConfig, *, on_several: bool) -> None:
    """Raise UserError for what a step can't do with a network that `require_fit` has let pass: BatchNorm that is not
    frozen where it would not see the whole batch once, as `on_several` workers; an algorithm that needs it whole; and
    of a network without blocks activation checkpointing, or compilation in parts.
    """
    architecture, model = architecture_of(config.model.backbone), config.model
    if config.algorithm.context is not None and not architecture.needs_images:
        raise UserError(NO_CHANNELS)
    if config.algorithm.context is not None and on_several:
        raise UserError(WHOLE_BATCH.format(name=config.algorithm.name))
    if not (on_several or in_pieces(config)):
        return
    has_batchnorm = architecture.has_batchnorm and model.norm == "batch"
    if has_batchnorm and not model.keeps_batchnorm and not _all_frozen(architecture, model):
        raise UserError(BATCHNORM_IN_PIECES)
    if config.activation_checkpointing and not architecture.has_blocks:
        raise UserError(NO_BLOCKS)
    if config.compile and on_several and config.sharding != "none" and not architecture.has_blocks:
        raise UserError(COMPILED_PARTS)


def _all_frozen(architecture: Architecture, model: ModelConfig) -> bool:
    return model.train == "head" or model.freeze_stages == architecture.num_stages


def in_pieces(config: TrainConfig) -> bool:
    """Whether rows go through the network in several passes, or several times."""
    return config.micro_batch_size is not None or config.activation_checkpointing
