"""Keys of a training's config that have no effect with what the rest of it chooses, by name, and why.

They are looked for where a user's file is read, not where a config is built: what earlier versions wrote is still read,
and a search may try values together of which one makes another idle.
"""

from collections.abc import Iterable

from ndcl.algorithm_configs import NdclConfig
from ndcl.algorithm_configs.long_tail import ReweightConfig
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.timm_models import known_architecture


def unused_keys(config: TrainConfig) -> dict[str, str]:
    """Dotted keys whose value changes nothing in this training, each with the reason."""
    parts = (_of_the_model, _of_the_optimizer, _of_the_averaging, _of_the_data, _of_the_algorithm)
    return {key: reason for part in parts for key, reason in part(config).items()}


def refuse_unused(config: TrainConfig, written: Iterable[str]) -> None:
    """Raise UserError for the first of the dotted keys that a user has `written` and that changes nothing."""
    unused = unused_keys(config)
    for key in written:
        if key in unused:
            raise UserError(f"{key}: {unused[key]}; remove it")


def unused_for_vectors(config: TrainConfig) -> str | None:
    """The first key of `config.data` that is set but changes nothing where the data are feature vectors, and why."""
    data = config.data
    for key, is_set, reason in (
        ("image_size", data.image_size is not None, "they have no image size"),
        ("augment", data.augment != "default", "they are never augmented"),
        ("augment_on", data.augment_on != "auto", "they are never augmented"),
    ):
        if is_set:
            return f"data.{key}: {data.name} holds feature vectors, and {reason}; remove it"
    return None


def _of_the_model(config: TrainConfig) -> dict[str, str]:
    backbone, keys = config.model.backbone, dict[str, str]()
    if backbone != "mlp":
        keys |= dict.fromkeys(("model.mlp_width", "model.mlp_depth"), f"backbone {backbone} does not use it, only mlp")
    if backbone == "linear":
        keys["optimizer.layer_decay"] = "backbone linear has a single layer, so there is no stage before it"
        keys["model.head_warmup_steps"] = "backbone linear has a single layer, the head"
        keys["model.train"] = "backbone linear is its head alone"
    if config.model.train == "head":
        keys["optimizer.layer_decay"] = "with model.train: head there is no stage before it that learns"
        keys["model.head_warmup_steps"] = "with model.train: head it is trained alone anyway"
        keys["model.freeze_stages"] = "with model.train: head no stage learns anyway"
        keys["model.freeze_batchnorm"] = "with model.train: head its statistics don't change anyway"
    if config.model.train != "lora":
        lora = ("model.lora_rank", "model.lora_alpha")
        keys |= dict.fromkeys(lora, f"model.train: {config.model.train} does not use it, only lora")
    architecture = known_architecture(backbone)
    if architecture is not None and config.model.freeze_stages == (architecture.num_stages or config.model.mlp_depth):
        keys["model.head_warmup_steps"] = "all stages are frozen, so that the head is always trained alone"
    if architecture is not None and not architecture.has_batchnorm:
        keys |= dict.fromkeys(("model.freeze_batchnorm", "model.norm"), f"backbone {backbone} has no BatchNorm")
    elif config.model.norm == "group":
        keys["model.freeze_batchnorm"] = "with model.norm: group there is no BatchNorm"
    return keys


def _of_the_optimizer(config: TrainConfig) -> dict[str, str]:
    optimizer, keys = config.optimizer, dict[str, str]()
    if optimizer.name != "sgd":
        of_sgd = ("optimizer.momentum", "optimizer.nesterov")
        keys |= dict.fromkeys(of_sgd, f"{optimizer.name} does not use it, only sgd")
    if optimizer.weight_decay == 0:
        keys["optimizer.weight_decay_of"] = "with optimizer.weight_decay: 0 nothing decays"
    return keys


def _of_the_averaging(config: TrainConfig) -> dict[str, str]:
    name = config.averaging.name
    reason = "nothing is averaged with averaging.name: none" if name == "none" else f"{name} does not use it"
    used = {"none": (), "ema": ("decay",), "swad": ("start_patience", "end_patience", "tolerance")}
    keys = [key for each in used.values() for key in each if key not in used[name]]
    return dict.fromkeys((f"averaging.{key}" for key in keys), reason)


def _of_the_data(config: TrainConfig) -> dict[str, str]:
    data, keys = config.data, dict[str, str]()
    if data.augment == "none":
        keys["data.augment_on"] = "with data.augment: none nothing is augmented"
    if "/" in data.name or data.name.startswith(("~", ".")):
        keys["data.folder"] = "data.name is a path or URI itself"
    return keys


def _of_the_algorithm(config: TrainConfig) -> dict[str, str]:
    algorithm, keys = config.algorithm, dict[str, str]()
    keys |= {f"algorithm.{key}": reason for key, reason in algorithm.idle_keys().items()}
    if isinstance(algorithm, ReweightConfig) and algorithm.class_weight_exponent == 0:
        keys["algorithm.frequencies"] = "with algorithm.class_weight_exponent: 0 there are no class weights"
    if isinstance(algorithm, NdclConfig):
        if algorithm.alpha == 0:
            of_the_margin = tuple(
                f"algorithm.{key}" for key in ("margin_temperature", "mixup", "mixup_mode", "mixup_at")
            )
            keys |= dict.fromkeys(of_the_margin, "with algorithm.alpha: 0 there is no margin loss")
        elif config.model.backbone == "linear":
            keys["algorithm.mixup_at"] = "to backbone linear the inputs are the features"
        if algorithm.beta == 0:
            keys["algorithm.alignment_temperature"] = "with algorithm.beta: 0 there is no alignment loss"
        if algorithm.cross_entropy == "rows":
            keys["algorithm.hardness"] = "with algorithm.cross_entropy: rows all rows count alike"
        if algorithm.class_weight_exponent == 0 and algorithm.logit_adjustment == 0:
            keys["algorithm.frequencies"] = "there are neither class weights nor a logit adjustment"
    return keys
