"""What one training needs to know. Frozen, validated when built, and free of torch, so that a plan is cheap."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ndcl.errors import UserError, unknown_name
from ndcl.input_sizes import INPUT_SIZES
from ndcl.strict import from_dict, to_dict

Criterion = Literal[
    "validation_accuracy",
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "oracle_accuracy",
    "last_step",
]
"""What a checkpoint is judged by; `ndcl.evaluation.CRITERIA` says how each is measured."""


def require(ok: bool, key: str, value: object, rule: str) -> None:
    """Refuse a value out of range: the key, the value received, the rule. Raises UserError."""
    if not ok:
        raise UserError(f"{key}: {value!r} is out of range; {rule}")


def _at_least(low: float, key: str, value: float) -> None:
    require(math.isfinite(value) and value >= low, key, value, f"it must be a number of at least {low:g}")


def _positive(key: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, key, value, "it must be greater than 0")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and which domain stays unseen."""

    name: str
    """A data set in the data folder, `digits`, which is built on first use, or a store's path or URI."""
    target: str
    """The unseen target domain; all others are source domains."""
    folder: str | None = None
    """Where data sets lie, a path or a URI; default: the environment's NDCL_DATA, else ~/.cache/ndcl."""
    augment: bool = True
    """Whether training images are augmented at random."""
    image_size: int | None = None
    """Height and width of the images that the network sees; default: what the backbone was made for, else as stored,
    but at most 224."""
    workers: int | None = None
    """Processes that prepare batches; 0: none, the training does it itself; default: by the data set and the cores.
    It doesn't change the batches."""
    augment_on: Literal["auto", "cpu", "gpu"] = "auto"
    """Where images are augmented; `auto`: on the GPU if the training runs on one and the images are stored raw."""
    standardize: bool = False
    """Bring feature vectors to mean 0 and deviation 1, as measured on the training vectors of the source domains."""

    def __post_init__(self) -> None:
        if self.image_size is not None:
            _at_least(8, "image_size", self.image_size)
        if self.workers is not None:
            _at_least(0, "workers", self.workers)


@dataclass(frozen=True, kw_only=True)
class ImbalanceConfig:
    """How the source domains are thinned (the problem's difficulty; never tuned)."""

    setting: str = "long_tail"
    """`natural`, `long_tail`, a released table (`released/total_heavy_tail`, `released/cross`, `released/duality`,
    `released/idg`) or a generator (`total_heavy_tail`, `cross`, `duality`, `imbalanced_domains`,
    `imbalanced_classes`)."""
    ratio: float | None = None
    """long_tail: count of the largest class over that of the smallest, at least 1."""
    counts: tuple[int, ...] | None = None
    """long_tail: images per source domain by class rank, instead of a ratio."""
    class_order: Literal["shared", "per_domain"] = "shared"
    """long_tail: whether all source domains rank the classes alike. The order is random, by `seed`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Generator settings by name (see docs/imbalance.md)."""
    validation: int | None = None
    """Images per class and source domain kept for model selection; default: the released table's, else 5."""
    many_above: float | None = None
    """A class with more images than this (mean over source domains) is many-shot; default: the table's, else 100."""
    few_below: float | None = None
    """A class with fewer images than this is few-shot; default: the table's, else 20."""
    seed: int = 0
    """Seed of the class order and of a generator's random draws."""

    def __post_init__(self) -> None:
        if self.ratio is not None:
            _at_least(1, "ratio", self.ratio)
        for count in self.counts or ():
            _at_least(0, "counts", count)
        if self.validation is not None:
            _at_least(1, "validation", self.validation)
        _at_least(0, "seed", self.seed)


@dataclass(frozen=True, kw_only=True)
class ErmConfig:
    """Empirical risk minimisation (Vapnik 1998): the mean cross-entropy."""

    name: Literal["erm"] = "erm"


@dataclass(frozen=True, kw_only=True)
class ReweightConfig:
    """Cross-entropy weighted by inverse class frequency per domain."""

    name: Literal["reweight"] = "reweight"
    class_weight_exponent: float = 1.0
    """0: no weights; 1: inverse class frequency."""

    def __post_init__(self) -> None:
        _at_least(0, "class_weight_exponent", self.class_weight_exponent)


@dataclass(frozen=True, kw_only=True)
class BalancedSoftmaxConfig:
    """Balanced softmax (Ren et al. 2020): the log of the class counts is added to the logits."""

    name: Literal["balanced_softmax"] = "balanced_softmax"


@dataclass(frozen=True, kw_only=True)
class LdamConfig:
    """Label-distribution-aware margins (Cao et al. 2019)."""

    name: Literal["ldam"] = "ldam"
    max_margin: float = 0.5
    """Margin of the rarest class."""
    scale: float = 30.0
    """Factor on the logits."""

    def __post_init__(self) -> None:
        _positive("max_margin", self.max_margin)
        _positive("scale", self.scale)


@dataclass(frozen=True, kw_only=True)
class FocalConfig:
    """Focal loss (Lin et al. 2017)."""

    name: Literal["focal"] = "focal"
    gamma: float = 1.5
    """Exponent of (1 - p); 0 is plain cross-entropy."""

    def __post_init__(self) -> None:
        _at_least(0, "gamma", self.gamma)


@dataclass(frozen=True, kw_only=True)
class NdclConfig:
    """Negatives-Dominant Contrastive Learning (Cao, Liu and Chen, arXiv 2601.21999)."""

    name: Literal["ndcl"] = "ndcl"
    alpha: float = 1.0
    """Weight of the negatives-dominant margin loss."""
    beta: float = 0.1
    """Weight of the prototype alignment loss."""
    margin_temperature: float = 1.0
    """Temperature of the margin loss; 1 is the published form."""
    alignment_temperature: float = 1.0
    """Temperature of the alignment loss; 1 is the published form."""
    mixup: float = 0.2
    """Parameter of the Beta(mixup, mixup) that mixes hard negatives."""
    mixup_mode: Literal["rev", "mean", "set"] = "rev"
    """How many negatives are generated per class; see ndcl/mixing.py."""
    class_weight_exponent: float = 1.0
    """0: no class weights; 1: inverse class frequency, the published form."""
    logit_adjustment: float = 0.0
    """Factor on the log of the training prior added to the logits in the cross-entropy (Menon et al. 2021)."""

    def __post_init__(self) -> None:
        for key in ("alpha", "beta", "class_weight_exponent", "logit_adjustment"):
            _at_least(0, key, getattr(self, key))
        for key in ("margin_temperature", "alignment_temperature", "mixup"):
            _positive(key, getattr(self, key))


AlgorithmConfig = ErmConfig | NdclConfig | ReweightConfig | BalancedSoftmaxConfig | LdamConfig | FocalConfig

ALGORITHM_CONFIGS: dict[str, type[AlgorithmConfig]] = {
    "erm": ErmConfig,
    "ndcl": NdclConfig,
    "reweight": ReweightConfig,
    "balanced_softmax": BalancedSoftmaxConfig,
    "ldam": LdamConfig,
    "focal": FocalConfig,
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: a backbone from `ndcl.models.BACKBONES` and a linear head."""

    backbone: str = "small_cnn"
    """Name in `ndcl.models.BACKBONES`."""
    weights: str = "none"
    """`imagenet`, `none` (random), or the path of a state dict saved by torch or safetensors."""
    dropout: float = 0.0
    """Dropout rate before the head."""
    freeze_stages: int = 0
    """Stages, counted from the input, that keep their weights; the head is none of them."""
    freeze_batchnorm: bool = True
    """Keep BatchNorm in evaluation mode, as the field does for pretrained networks; never used without BatchNorm."""
    mlp_width: int = 256
    """Hidden width of the `mlp` backbone."""
    mlp_depth: int = 3
    """Number of linear layers of the `mlp` backbone, at least 2."""

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "dropout", self.dropout, "it must be in [0, 1)")
        _at_least(0, "freeze_stages", self.freeze_stages)
        _at_least(1, "mlp_width", self.mlp_width)
        _at_least(2, "mlp_depth", self.mlp_depth)

    @property
    def image_size(self) -> int | None:
        """Height and width of the images that the backbone was made for; None: any."""
        return INPUT_SIZES.get(self.backbone)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam, as in the release; weight decay is L2 added to the gradient."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    """Factor on the learning rate from each stage of the network to the one before it; 1: the same rate for all."""

    def __post_init__(self) -> None:
        _positive("learning_rate", self.learning_rate)
        _at_least(0, "weight_decay", self.weight_decay)
        require(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "it must be in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training, complete: the same config and seed give the same parameters on the same machine."""

    data: DataConfig
    algorithm: AlgorithmConfig
    imbalance: ImbalanceConfig = field(default_factory=ImbalanceConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: int = 32
    """Rows per source domain in a batch."""
    num_steps: int = 300
    """Optimiser steps."""
    evaluate_every: int = 50
    """Steps between evaluations, each of which is also a checkpoint; the last step is always evaluated."""
    resampling_ratio: float | None = None
    """Largest over smallest class frequency in the batches: 1 is class-balanced, none leaves the data as they are."""
    seed: int = 0
    """Seed of everything random in the training: initial weights, batches, augmentation, mixup, dropout."""
    select_by: tuple[Criterion, ...] = ("validation_accuracy",)
    """What the best checkpoint is chosen by; of several, their mean. With `leave_one_domain_out_accuracy` the training
    is one per source domain, each without that domain (`ndcl/cross_validation.py`)."""
    oracle: bool = False
    """Also evaluate on a validation part of the *target* domain. Only for model selection by oracle."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    micro_batch_size: int | None = None
    """Rows that are in the network at once; default: all. Less memory for about a third more time, same gradient."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the network's multiplications; parameters and losses are float32 in either case."""
    activation_checkpointing: bool = False
    """Compute activations inside the backbone's blocks twice instead of keeping them: less memory, same gradient."""
    sharding: Literal["none", "full"] = "none"
    """`full`: each of several workers keeps a part of the parameters, of their gradients and of the optimiser's state,
    for networks that one GPU can't hold. Same gradient; one worker alone keeps everything."""
    compile: bool = False
    """Compile the network by torch.compile: a faster step after a first one that takes a minute."""

    def __post_init__(self) -> None:
        for key in ("batch_size", "num_steps", "evaluate_every"):
            _at_least(1, key, getattr(self, key))
        _at_least(0, "seed", self.seed)
        if self.resampling_ratio is not None:
            _at_least(1, "resampling_ratio", self.resampling_ratio)
        if self.micro_batch_size is not None:
            _at_least(1, "micro_batch_size", self.micro_batch_size)
        if self.sharding == "full" and self.compile:
            raise UserError("compile: it does not work together with sharding: full; set it to false")
        require(len(self.select_by) > 0, "select_by", self.select_by, "it must name at least one criterion")
        if "oracle_accuracy" in self.select_by and not self.oracle:
            raise UserError("select_by: oracle_accuracy sees the target domain; set oracle: true as well to allow it")

    @property
    def is_cross_validation(self) -> bool:
        """Whether each source domain is left out in turn."""
        return "leave_one_domain_out_accuracy" in self.select_by

    @property
    def image_size(self) -> int | None:
        """Height and width of the images that the network sees; None: as stored, but at most 224."""
        return self.data.image_size or self.model.image_size

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "") -> "TrainConfig":
        """Strict: an unknown key, wrong type or value out of range raises UserError with the key's full path."""
        values = dict(values)
        prefix = f"{where}." if where else ""
        values["algorithm"] = algorithm_config(values.get("algorithm", {}), f"{prefix}algorithm")
        return from_dict(cls, values, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries with JSON types, accepted by `from_dict`."""
        return to_dict(self)


def algorithm_config(values: Any, where: str = "algorithm") -> AlgorithmConfig:
    """The config of the algorithm that `values["name"]` names. Raises UserError if there is none of that name."""
    if not isinstance(values, dict) or "name" not in values:
        raise UserError(f"{where}.name: a value is required; valid: {', '.join(sorted(ALGORITHM_CONFIGS))}")
    if values["name"] not in ALGORITHM_CONFIGS:
        raise UserError(f"{where}.name: {unknown_name('algorithm', values['name'], ALGORITHM_CONFIGS)}")
    cls: Callable[..., AlgorithmConfig] = ALGORITHM_CONFIGS[values["name"]]
    return from_dict(cls, values, where)  # type: ignore[arg-type]
