"""What one training needs to know. Frozen, validated when built, and free of torch, so that a plan is cheap."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ndcl.algorithm_configs import AlgorithmConfig, algorithm_config
from ndcl.algorithm_configs.gradients import GRADIENT_OF_EACH_DOMAIN, SECOND_DERIVATIVES
from ndcl.architectures import Interpolation, named_weights
from ndcl.criteria import CROSS_VALIDATED, DEFAULT_OBJECTIVE, Criterion
from ndcl.errors import UserError
from ndcl.ranges import at_least, positive, require
from ndcl.strict import from_dict, to_dict
from ndcl.timm_models import known_architecture

NO_TARGET = "none"
"""A target that leaves no domain out: for the site that nobody has labels for."""

Transform = Literal["none", "sqrt"]
"""What is done to each feature of a vector before anything else."""

MAX_STEPS = 10**12
"""Decades, of the fastest steps."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and which domain stays unseen."""

    name: str
    """A data set in the data folder, `digits`, which is built on first use, or a store's path or URI."""
    target: str
    """The unseen target domain; all others are source domains. NO_TARGET, if no domain has that name: all are."""
    folder: str | None = None
    """Where data sets lie, a path or a URI; default: the environment's NDCL_DATA, else ~/.cache/ndcl."""
    augment: bool | Literal["none", "default", "trivial", "randaugment", "augmix"] = "default"
    """How training images are changed at random: `default`, as the field has it for the data set, or a policy in place
    of its changes of colour: TrivialAugment (Müller and Hutter 2021), RandAugment (Cubuk et al. 2020) or AugMix
    (Hendrycks et al. 2020), each of its paper's strength. `true` is `default`, `false` is `none`."""
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
    transform: Transform = "none"
    """`sqrt`: the square root of each feature, before they are standardised; for features that are never negative."""

    def __post_init__(self) -> None:
        if isinstance(self.augment, bool):
            object.__setattr__(self, "augment", "default" if self.augment else "none")
        if self.image_size is not None:
            at_least(8, "image_size", self.image_size)
        if self.workers is not None:
            at_least(0, "workers", self.workers)


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
            at_least(1, "ratio", self.ratio)
        for count in self.counts or ():
            at_least(0, "counts", count)
        if self.validation is not None:
            at_least(1, "validation", self.validation)
        at_least(0, "seed", self.seed)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: a backbone and a linear head."""

    backbone: str = "small_cnn"
    """Name in `ndcl.models.build.BACKBONES`, or `timm:NAME` or `timm:NAME.TAG`, a network of timm."""
    weights: str = "none"
    """`imagenet`, or torchvision's name of weights, such as `IMAGENET1K_V2`; of a backbone of timm `pretrained`;
    `none` (random), or the path of a state dict saved by torch or safetensors."""
    dropout: float = 0.0
    """Dropout rate before the head."""
    stochastic_depth: float | None = None
    """Rate at which the last block is left out for a row (stochastic depth, Huang et al. 2016, arXiv 1603.09382), those
    before it in proportion as the backbone has it; default: the backbone's own."""
    train: Literal["all", "head", "norms", "lora"] = "all"
    """What learns beside the head: all of the backbone, nothing, the scales and shifts of its norms, or low-rank
    changes of its attention (LoRA, Hu et al. 2022)."""
    lora_rank: int = 8
    """Rank of each change."""
    lora_alpha: float = 16.0
    """A change counts `lora_alpha` / `lora_rank` times."""
    freeze_stages: int = 0
    """Stages, counted from the input, that keep their weights; the head is none of them."""
    head_warmup_steps: int = 0
    """Steps in which the head is trained alone, before all is (LP-FT, Kumar et al. 2022, arXiv 2202.10054)."""
    head_seed: int | None = None
    """Seed of the head's first weights, and of batches, augmentation and dropout in the `head_warmup_steps`, so that
    trainings of several seeds leave these with one head (DiWA, Rame et al. 2022, arXiv 2205.09739); default: the
    training's own."""
    freeze_batchnorm: bool | None = None
    """Keep BatchNorm in evaluation mode; default: with pretrained weights, as the field does. At the statistics of a
    network from scratch, mean 0 and deviation 1, a deep one hardly learns."""
    norm: Literal["batch", "group"] = "batch"
    """`group`: GroupNorm of 32 groups (Wu and He 2018, arXiv 1803.08494) in place of BatchNorm, which treats rows
    separately; for networks from scratch on several workers or in micro-batches."""
    mlp_width: int = 256
    """Hidden width of the `mlp` backbone."""
    mlp_depth: int = 3
    """Number of linear layers of the `mlp` backbone, at least 2."""

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "dropout", self.dropout, "it must be in [0, 1)")
        if self.stochastic_depth is not None:
            require(
                0 <= self.stochastic_depth < 1,
                "stochastic_depth",
                self.stochastic_depth,
                "it must be in [0, 1), or null",
            )
        at_least(1, "lora_rank", self.lora_rank)
        positive("lora_alpha", self.lora_alpha)
        at_least(0, "freeze_stages", self.freeze_stages)
        at_least(0, "head_warmup_steps", self.head_warmup_steps)
        if self.head_seed is not None:
            at_least(0, "head_seed", self.head_seed)
        if self.norm == "group" and self.weights != "none":
            raise UserError(
                "norm: group is for networks from scratch, and weights are made for batch; set weights to none"
            )
        if self.norm == "group" and self.backbone.startswith("timm:"):
            raise UserError(
                "norm: group is for backbones of torchvision; timm has networks with GroupNorm of their own"
            )
        at_least(1, "mlp_width", self.mlp_width)
        at_least(2, "mlp_depth", self.mlp_depth)

    @property
    def keeps_batchnorm(self) -> bool:
        """Whether BatchNorm, where there is any, stays in evaluation mode."""
        return self.weights != "none" if self.freeze_batchnorm is None else self.freeze_batchnorm

    @property
    def image_size(self) -> int | None:
        """Height and width of the images that the backbone was made for; None: any."""
        architecture = known_architecture(self.backbone)
        own = named_weights(self.backbone).get(self.weights)
        return own or (None if architecture is None else architecture.image_size)

    @property
    def interpolation(self) -> Interpolation:
        """How images are resized for it, but for the random crops of a training."""
        architecture = known_architecture(self.backbone)
        if "_SWAG_" in self.weights and self.weights in named_weights(self.backbone):
            return "bicubic"
        return "bilinear" if architecture is None else architecture.interpolation


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam at a constant rate, as in the release, or the recipe of a fine-tuning."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """`adamw`: weight decay apart from the gradient (Loshchilov and Hutter 2019); `sgd`: with momentum."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    """L2 added to the gradient; of adamw, the share of the weights that goes in a step, times the learning rate."""
    weight_decay_of: Literal["all", "weights"] = "all"
    """What decays: all parameters, or the `weights` of layers alone, so that biases, norms and embeddings do not."""
    momentum: float = 0.9
    """Of sgd."""
    nesterov: bool = False
    """Of sgd: Nesterov's momentum."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate goes, after the warm-up, from its full value towards 0 at the last step."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises evenly to its full value."""
    gradient_clip_norm: float | None = None
    """The gradient of all parameters together is no longer than this, by all workers; default: as it is."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each stage of the network to the one before it; 1: the same rate for all."""

    def __post_init__(self) -> None:
        positive("learning_rate", self.learning_rate)
        at_least(0, "weight_decay", self.weight_decay)
        require(0 <= self.momentum < 1, "momentum", self.momentum, "it must be in [0, 1)")
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise UserError("nesterov: it needs a momentum above 0; raise that, or leave it out")
        at_least(0, "warmup_steps", self.warmup_steps)
        if self.gradient_clip_norm is not None:
            positive("gradient_clip_norm", self.gradient_clip_norm)
        require(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "it must be in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class AveragingConfig:
    """Which weights are evaluated, selected and exported: the newest, or an average of those along the training."""

    name: Literal["none", "ema", "swad"] = "none"
    """`ema`: exponential moving average; `swad`: the mean over a valley of the source validation loss (Cha et al. 2021,
    NeurIPS, "SWAD")."""
    decay: float = 0.999
    """Of ema: the share that a step leaves of the average; less at first, (1 + t) / (10 + t) at step t."""
    start_patience: int = 3
    """Of swad, N_s: the valley begins at a checkpoint whose loss is the lowest of so many, from it on."""
    end_patience: int = 6
    """Of swad, N_e: it ends before so many checkpoints in a row that exceed the threshold; at least N_s."""
    tolerance: float = 1.3
    """Of swad, r: the threshold is so many times the mean loss of the first N_s checkpoints; at least 1."""

    def __post_init__(self) -> None:
        require(0 < self.decay < 1, "decay", self.decay, "it must be in (0, 1)")
        at_least(1, "start_patience", self.start_patience)
        at_least(1, "tolerance", self.tolerance)
        if self.end_patience < self.start_patience:
            raise UserError(
                f"end_patience: {self.end_patience} is less than start_patience, {self.start_patience}; raise the one, "
                "or lower the other"
            )


@dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """Steps that torch.profiler watches: one trace, for Perfetto or chrome://tracing."""

    from_step: int = 10
    """Steps done before it begins; the first ones build caches."""
    steps: int = 5

    def __post_init__(self) -> None:
        at_least(0, "from_step", self.from_step)
        at_least(1, "steps", self.steps)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training, complete: the same config and seed give the same parameters on the same machine."""

    data: DataConfig
    algorithm: AlgorithmConfig
    imbalance: ImbalanceConfig = field(default_factory=ImbalanceConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
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
    select_by: tuple[Criterion, ...] = (DEFAULT_OBJECTIVE,)
    """What the best checkpoint is chosen by; of several, their mean. With one of `ndcl.criteria.CROSS_VALIDATED` it is
    a training for each source domain, without that domain (`ndcl/training/cross_validation.py`)."""
    oracle: bool = False
    """Also evaluate on a validation part of the *target* domain. Only for model selection by oracle."""
    evaluate_target: Literal["always", "selected", "never"] = "always"
    """When the target's test images are looked at: at every checkpoint, or once at the end, at the best checkpoint. Not
    in a cross-validation over domains, which never does."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU if there is one."""
    micro_batch_size: int | None = None
    """Rows that are in the network at once; default: all. Less memory for about a third more time, same gradient."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the network's multiplications; parameters and losses are float32 in either case. With `sharding` parameters
    are exchanged in it, and gradients in float32."""
    activation_checkpointing: bool = False
    """Compute activations inside the backbone's blocks twice instead of keeping them: less memory, same gradient."""
    sharding: Literal["none", "full", "hybrid"] = "none"
    """`full`: each of several workers keeps a part of the parameters, of their gradients and of the optimiser's state,
    for networks that one GPU can't hold; `hybrid`: the workers of one node do, and each node keeps all. Same gradient;
    one worker alone keeps everything."""
    compile: bool = False
    """Compile the network's blocks by torch.compile: a faster step after a first one that takes a minute."""

    profile: ProfileConfig | None = None
    """Steps to be profiled, on the first of several workers."""

    def __post_init__(self) -> None:
        for key in ("batch_size", "num_steps", "evaluate_every"):
            at_least(1, key, getattr(self, key))
        require(self.num_steps <= MAX_STEPS, "num_steps", self.num_steps, f"it must be at most {MAX_STEPS:,}")
        at_least(0, "seed", self.seed)
        if self.resampling_ratio is not None:
            at_least(1, "resampling_ratio", self.resampling_ratio)
        if self.micro_batch_size is not None:
            at_least(1, "micro_batch_size", self.micro_batch_size)
        self._require_that_it_works()
        require(len(self.select_by) > 0, "select_by", self.select_by, "it must name at least one criterion")
        if "oracle_accuracy" in self.select_by and not self.oracle:
            raise UserError("select_by: oracle_accuracy sees the target domain; set oracle: true as well to allow it")

    def seed_at(self, step: int) -> int:
        """Seed of the batch, its augmentation and dropout at a step, counted from 0."""
        shared = self.model.head_seed
        return shared if shared is not None and step < self.model.head_warmup_steps else self.seed

    def _require_that_it_works(self) -> None:
        """Refuse an algorithm with a network that it can't change, or with a layout that it can't be run in."""
        name = self.algorithm.name
        if self.algorithm.moves_features_alone and self.model.backbone == "linear":
            raise UserError(
                f"algorithm.name: {name} changes features, and the backbone linear leaves them as they are, so that it "
                "would be erm; set model.backbone to mlp or to one of images, or choose another algorithm"
            )
        if self.algorithm.context is not None and self.micro_batch_size is not None:
            raise UserError(
                f"micro_batch_size: {name} shows each row what its domain's whole batch is like, which must be in the "
                "network together; set it to null"
            )
        if GRADIENT_OF_EACH_DOMAIN in self.algorithm.needs and self.sharding != "none":
            raise UserError(
                f"sharding: {name} compares whole gradients of each domain, which no worker has then; set it to none"
            )
        for key in ("compile", "activation_checkpointing"):
            if SECOND_DERIVATIVES in self.algorithm.needs and getattr(self, key):
                raise UserError(
                    f"{key}: {name} differentiates twice, for which the network has to be as it is; set it to false"
                )

    @property
    def is_cross_validation(self) -> bool:
        """Whether each source domain is left out in turn."""
        return not set(CROSS_VALIDATED).isdisjoint(self.select_by)

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
