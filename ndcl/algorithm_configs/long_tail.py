"""Algorithms for class imbalance, which know nothing of domains but their class frequencies, and plain ERM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ndcl.algorithm_configs.base import AlgorithmConfig, Frequencies, one_of, searched
from ndcl.ranges import at_least, positive, within


@dataclass(frozen=True, kw_only=True)
class ErmConfig(AlgorithmConfig):
    """Empirical risk minimisation (Vapnik 1998): the mean cross-entropy."""

    name: Literal["erm"] = "erm"
    title: ClassVar[str] = "ERM"
    paper: ClassVar[str] = "Vapnik 1998"
    implementation: ClassVar[str] = "ndcl.algorithms.baselines:Erm"


@dataclass(frozen=True, kw_only=True)
class ReweightConfig(AlgorithmConfig):
    """Cross-entropy weighted by inverse class frequency per domain."""

    name: Literal["reweight"] = "reweight"
    title: ClassVar[str] = "Re-weighting"
    paper: ClassVar[str] = "inverse class frequencies, e.g. Huang et al. 2016"
    implementation: ClassVar[str] = "ndcl.algorithms.baselines:Reweight"
    class_weight_exponent: float = searched(1.0, 0.0, 1.0)
    """0: no weights; 1: inverse class frequency."""
    frequencies: Frequencies = "per_domain"

    def __post_init__(self) -> None:
        at_least(0, "class_weight_exponent", self.class_weight_exponent)


@dataclass(frozen=True, kw_only=True)
class BalancedSoftmaxConfig(AlgorithmConfig):
    """Balanced softmax (Ren et al. 2020): the log of the class counts is added to the logits."""

    name: Literal["balanced_softmax"] = "balanced_softmax"
    title: ClassVar[str] = "Balanced softmax"
    paper: ClassVar[str] = "Ren et al. 2020, arXiv:2007.10740"
    implementation: ClassVar[str] = "ndcl.algorithms.baselines:BalancedSoftmax"
    frequencies: Frequencies = "per_domain"


@dataclass(frozen=True, kw_only=True)
class LdamConfig(AlgorithmConfig):
    """Label-distribution-aware margins (Cao et al. 2019)."""

    name: Literal["ldam"] = "ldam"
    title: ClassVar[str] = "LDAM"
    paper: ClassVar[str] = "Cao et al. 2019, arXiv:1906.07413"
    implementation: ClassVar[str] = "ndcl.algorithms.baselines:Ldam"
    max_margin: float = searched(0.5, 0.1, 1.0)
    """Margin of the rarest class."""
    scale: float = searched(30.0, 3.0, 60.0, log=True)
    """Factor on the logits."""
    frequencies: Frequencies = "per_domain"

    def __post_init__(self) -> None:
        positive("max_margin", self.max_margin)
        positive("scale", self.scale)


@dataclass(frozen=True, kw_only=True)
class FocalConfig(AlgorithmConfig):
    """Focal loss (Lin et al. 2017)."""

    name: Literal["focal"] = "focal"
    title: ClassVar[str] = "Focal loss"
    paper: ClassVar[str] = "Lin et al. 2017, arXiv:1708.02002"
    implementation: ClassVar[str] = "ndcl.algorithms.baselines:Focal"
    gamma: float = searched(1.5, 0.5, 5.0, log=True)
    """Exponent of (1 - p); 0 is plain cross-entropy."""

    def __post_init__(self) -> None:
        at_least(0, "gamma", self.gamma)


@dataclass(frozen=True, kw_only=True)
class LogitAdjustmentConfig(AlgorithmConfig):
    """Logit adjustment: the log of class frequencies, taken off the logits after the training or added in its loss."""

    name: Literal["logit_adjustment"] = "logit_adjustment"
    title: ClassVar[str] = "Logit adjustment"
    paper: ClassVar[str] = "Menon et al. 2021, arXiv:2007.07314"
    implementation: ClassVar[str] = "ndcl.algorithms.post_hoc:LogitAdjustment"
    mode: Literal["post_hoc", "loss"] = one_of("post_hoc", "post_hoc", "loss")
    """`post_hoc`: trained as ERM, by frequencies of all source domains together; `loss`: in the training's loss."""
    tau: float = searched(1.0, 0.25, 2.0, log=True)
    """Factor on the log of the frequencies."""
    frequencies: Frequencies = "per_domain"
    """In the loss."""

    def __post_init__(self) -> None:
        positive("tau", self.tau)

    def idle_keys(self) -> dict[str, str]:
        """Which domain an image is of is not known when the head answers."""
        return {"frequencies": "with algorithm.mode: post_hoc they are pooled"} if self.mode == "post_hoc" else {}


@dataclass(frozen=True, kw_only=True)
class TauNormConfig(AlgorithmConfig):
    """Tau-normalised classifier: trained as ERM, then the long weights of frequent classes are shortened."""

    name: Literal["tau_norm"] = "tau_norm"
    title: ClassVar[str] = "Tau-norm"
    paper: ClassVar[str] = "Kang et al. 2020, arXiv:1910.09217"
    implementation: ClassVar[str] = "ndcl.algorithms.post_hoc:TauNorm"
    tau: float = searched(0.7, 0.0, 1.0)
    """Power of the length that each class's weights are divided by: 0 leaves them, 1 makes all as long."""

    def __post_init__(self) -> None:
        within(0, 1, "tau", self.tau)


@dataclass(frozen=True, kw_only=True)
class CrtConfig(AlgorithmConfig):
    """Classifier retraining: ERM, then a new head alone, on batches of balanced classes."""

    name: Literal["crt"] = "crt"
    title: ClassVar[str] = "cRT"
    makes_head: ClassVar[bool] = True
    paper: ClassVar[str] = "Kang et al. 2020, arXiv:1910.09217"
    implementation: ClassVar[str] = "ndcl.algorithms.retrained:Crt"
    shares_and_steps: ClassVar[dict[str, str]] = {"retrain_from_share": "retrain_from_step"}
    retrain_from_share: float = searched(0.5, 0.3, 0.9)
    """Share of the steps that are done when the new head begins."""
    retrain_from_step: int | None = None
    """The same as a number of steps, which then goes before."""

    def __post_init__(self) -> None:
        within(0, 1, "retrain_from_share", self.retrain_from_share)
        if self.retrain_from_step is not None:
            at_least(0, "retrain_from_step", self.retrain_from_step)

    def balanced_from(self, num_steps: int) -> int:
        """The new head's first step."""
        return self.in_steps("retrain_from_share", num_steps)
