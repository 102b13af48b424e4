"""Algorithms that make the risk, its gradient or the classifier the same in all source domains."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ndcl.algorithm_configs.base import AlgorithmConfig, Context, PenalizedConfig, one_of, searched
from ndcl.ranges import at_least, positive, require, within


@dataclass(frozen=True, kw_only=True)
class IrmConfig(PenalizedConfig):
    """Invariant risk minimisation (IRMv1): a classifier that is optimal in all source domains at once."""

    name: Literal["irm"] = "irm"
    title: ClassVar[str] = "IRM"
    paper: ClassVar[str] = "Arjovsky et al. 2019, arXiv:1907.02893"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Irm"
    penalty_weight: float = searched(100.0, 0.1, 1e5, log=True)
    """Factor on the penalty from its start on; before, 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class VrexConfig(PenalizedConfig):
    """Risk extrapolation: the variance of the source domains' risks."""

    name: Literal["vrex"] = "vrex"
    title: ClassVar[str] = "V-REx"
    paper: ClassVar[str] = "Krueger et al. 2021, arXiv:2003.00688"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Vrex"
    penalty_weight: float = searched(10.0, 0.1, 1e5, log=True)
    """Factor on the penalty from its start on; before, 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class GroupDroConfig(AlgorithmConfig):
    """Group distributionally robust optimisation: the source domains of highest risk count most."""

    name: Literal["group_dro"] = "group_dro"
    title: ClassVar[str] = "GroupDRO"
    paper: ClassVar[str] = "Sagawa et al. 2020, arXiv:1911.08731"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:GroupDro"
    needs: ClassVar[tuple[str, ...]] = ("state",)
    eta: float = searched(0.01, 1e-3, 0.1, log=True)
    """Step size of the domains' weights."""

    def __post_init__(self) -> None:
        positive("eta", self.eta)


@dataclass(frozen=True, kw_only=True)
class EqrmConfig(PenalizedConfig):
    """Quantile risk minimisation: a quantile of the source domains' risks, by a kernel density of them."""

    name: Literal["eqrm"] = "eqrm"
    title: ClassVar[str] = "EQRM"
    paper: ClassVar[str] = "Eastwood et al. 2022, arXiv:2207.09944"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Eqrm"
    quantile: float = searched(0.75, 0.5, 0.99)
    penalty_from_share: float = searched(0.5, 0.06, 0.63)
    """Share of the steps that are done when the quantile takes the place of the mean risk; the optimiser then begins
    anew."""
    learning_rate_factor: float = searched(0.02, 2e-3, 0.2, log=True)
    """On the learning rate, from then on."""
    released: bool = False
    """With the gradient of the release, which reaches the smallest and the largest risk alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.quantile < 1, "quantile", self.quantile, "it must be between 0 and 1")
        positive("learning_rate_factor", self.learning_rate_factor)


@dataclass(frozen=True, kw_only=True)
class RdmConfig(PenalizedConfig):
    """Risk distribution matching: the losses of the worst domain are to be distributed as those of all."""

    name: Literal["rdm"] = "rdm"
    title: ClassVar[str] = "RDM"
    paper: ClassVar[str] = "Nguyen et al. 2024, arXiv:2310.18598"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Rdm"
    penalty_weight: float = searched(5.0, 0.1, 10.0)
    variance_weight: float = searched(0.004, 0.0, 0.01)
    penalty_from_share: float = searched(0.3, 0.1, 0.6)
    learning_rate_factor: float = searched(0.3, 0.1, 1.0, log=True)
    """On the learning rate, once the penalty has begun."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)
        at_least(0, "variance_weight", self.variance_weight)
        positive("learning_rate_factor", self.learning_rate_factor)


@dataclass(frozen=True, kw_only=True)
class IbErmConfig(PenalizedConfig):
    """Information bottleneck with ERM: features of little variance."""

    name: Literal["ib_erm"] = "ib_erm"
    title: ClassVar[str] = "IB-ERM"
    paper: ClassVar[str] = "Ahuja et al. 2021, arXiv:2106.06607"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:IbErm"
    moves_features_alone: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("features",)
    penalty_weight: float = searched(100.0, 0.1, 1e5, log=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class IbIrmConfig(IbErmConfig):
    """Information bottleneck with IRM."""

    name: Literal["ib_irm"] = "ib_irm"  # type: ignore[assignment]
    title: ClassVar[str] = "IB-IRM"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:IbIrm"
    moves_features_alone: ClassVar[bool] = False
    shares_and_steps: ClassVar[dict[str, str]] = {
        "penalty_from_share": "penalty_from_step",
        "irm_from_share": "irm_from_step",
    }
    irm_weight: float = searched(100.0, 0.1, 1e5, log=True)
    """Factor on the penalty of IRM from its start on; before, 1."""
    irm_from_share: float = searched(0.1, 0.0, 0.5)
    """Share of the steps that are done when the penalty of IRM gets its full weight."""
    irm_from_step: int | None = None
    """The same as a number of steps, which then goes before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "irm_weight", self.irm_weight)

    def irm_start(self, num_steps: int) -> int:
        """The first step, from 0, with the full penalty of IRM."""
        return self.in_steps("irm_from_share", num_steps)


@dataclass(frozen=True, kw_only=True)
class FishrConfig(PenalizedConfig):
    """Gradient variance: that of the classifier's gradient over rows is to be the same in all source domains."""

    name: Literal["fishr"] = "fishr"
    title: ClassVar[str] = "Fishr"
    paper: ClassVar[str] = "Rame, Dancette and Cord 2022, arXiv:2109.02934"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Fishr"
    needs: ClassVar[tuple[str, ...]] = ("features", "state")
    penalty_weight: float = searched(1000.0, 10.0, 1e4, log=True)
    penalty_from_share: float = searched(0.3, 0.0, 0.9)
    ema: float = searched(0.95, 0.9, 0.99)
    """How much of the variances' running mean stays in a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)
        require(0 <= self.ema < 1, "ema", self.ema, "it must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class SdConfig(AlgorithmConfig):
    """Spectral decoupling: a penalty on the logits themselves."""

    name: Literal["sd"] = "sd"
    title: ClassVar[str] = "SD"
    paper: ClassVar[str] = "Pezeshki et al. 2021, arXiv:2011.09468"
    implementation: ClassVar[str] = "ndcl.algorithms.invariance:Sd"
    penalty_weight: float = searched(0.1, 1e-5, 0.1, log=True)

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class RscConfig(AlgorithmConfig):
    """Representation self-challenging: the features that the classifier leans on most are muted."""

    name: Literal["rsc"] = "rsc"
    title: ClassVar[str] = "RSC"
    paper: ClassVar[str] = "Huang et al. 2020, arXiv:2007.02454"
    implementation: ClassVar[str] = "ndcl.algorithms.rsc:Rsc"
    needs: ClassVar[tuple[str, ...]] = ("features", "head")
    feature_drop: float = searched(1 / 3, 0.0, 0.5)
    """Share of a row's features that are muted."""
    batch_drop: float = searched(1 / 3, 0.0, 0.5)
    """Share of the batch's rows in which they are."""

    def __post_init__(self) -> None:
        require(0 <= self.feature_drop < 1, "feature_drop", self.feature_drop, "it must be in [0, 1)")
        require(0 <= self.batch_drop < 1, "batch_drop", self.batch_drop, "it must be in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class MixupConfig(AlgorithmConfig):
    """Mixup between source domains: every row is mixed with one of another domain, and so is its label."""

    name: Literal["mixup"] = "mixup"
    title: ClassVar[str] = "Mixup"
    paper: ClassVar[str] = "Zhang et al. 2018, arXiv:1710.09412; between domains: Xu et al. 2020, arXiv:1912.01805"
    implementation: ClassVar[str] = "ndcl.algorithms.mixup:Mixup"
    needs: ClassVar[tuple[str, ...]] = ("mixed rows",)
    alpha: float = searched(0.2, 0.1, 10.0, log=True)
    """Parameter of the Beta(alpha, alpha) that mixes them."""

    def __post_init__(self) -> None:
        positive("alpha", self.alpha)


@dataclass(frozen=True, kw_only=True)
class BodaConfig(PenalizedConfig):
    """Balanced domain-class distribution alignment: distances to the centres of all (domain, class) pairs."""

    name: Literal["boda"] = "boda"
    title: ClassVar[str] = "BoDA"
    family: ClassVar[str | None] = "features alike"
    paper: ClassVar[str] = "Yang, Wang and Katabi 2022, arXiv:2203.09513"
    implementation: ClassVar[str] = "ndcl.algorithms.boda:Boda"
    moves_features_alone: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("features", "state", "passes over the training images")
    shares_and_steps: ClassVar[dict[str, str]] = {
        "penalty_from_share": "penalty_from_step",
        "refresh_share": "refresh_steps",
    }
    penalty_weight: float = searched(0.1, 0.01, 0.32, log=True)
    macro_weight: float = searched(1.0, 0.1, 10.0, log=True)
    """Factor on the penalty of CORAL beside it."""
    nu: float = searched(0.5, 0.32, 1.0, log=True)
    """Exponent of the class counts, by which distances are calibrated."""
    temperature: float = searched(1.0, 0.1, 3.16, log=True)
    momentum: float = searched(0.2, 0.0, 0.4)
    """How much of the centres stays when they are found anew."""
    penalty_from_share: float = searched(0.1, 0.06, 0.12)
    """Share of the steps that are done when the penalty begins."""
    refresh_share: float = searched(0.024, 0.02, 0.03)
    """Share of the steps between two passes over the training images that find the centres."""
    refresh_steps: int | None = None
    """The same as a number of steps, which then goes before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("penalty_weight", "macro_weight", "nu"):
            at_least(0, key, getattr(self, key))
        positive("temperature", self.temperature)
        require(0 <= self.momentum < 1, "momentum", self.momentum, "it must be in [0, 1)")
        if self.refresh_steps is not None:
            at_least(1, "refresh_steps", self.refresh_steps)

    def refresh_interval(self, num_steps: int) -> int:
        """Steps between two passes over the training images."""
        return max(self.in_steps("refresh_share", num_steps), 1)


@dataclass(frozen=True, kw_only=True)
class TrmConfig(PenalizedConfig):
    """Transfer risk minimisation: the classifier that suits a domain is to suit the others."""

    name: Literal["trm"] = "trm"
    title: ClassVar[str] = "TRM"
    paper: ClassVar[str] = "Xu and Jaakkola 2021, arXiv:2110.09940"
    implementation: ClassVar[str] = "ndcl.algorithms.trm:Trm"
    moves_features_alone: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("features", "own network", "state")
    penalty_from_share: float = searched(0.04, 0.0, 0.5)
    """Share of the steps that are done when the risks on other domains begin to count."""
    cos_weight: float = searched(1e-4, 1e-5, 1.0, log=True)
    """Factor on how the features move the domains' classifiers."""
    eta: float = searched(0.01, 1e-3, 0.1, log=True)
    """How fast weights go to domains with a high risk."""
    released: bool = False
    """As in the release: its series of the inverse Hessian, and weights in the gradient that are already moved."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "cos_weight", self.cos_weight)
        at_least(0, "eta", self.eta)


@dataclass(frozen=True, kw_only=True)
class TransferConfig(AlgorithmConfig):
    """Transferability: features on which no classifier near the network's tells the domains by its risk."""

    name: Literal["transfer"] = "transfer"
    title: ClassVar[str] = "Transfer"
    paper: ClassVar[str] = "Zhang et al. 2021, arXiv:2106.03632"
    implementation: ClassVar[str] = "ndcl.algorithms.transfer:Transfer"
    moves_features_alone: ClassVar[bool] = True
    passes: ClassVar[float] = 2 + 1 / 3
    needs: ClassVar[tuple[str, ...]] = ("features", "head", "own network")
    penalty_weight: float = searched(1.0, 0.01, 10.0, log=True)
    """Factor on the difference of the domains' risks."""
    distance: float = searched(2.0, 0.1, 3.0)
    """How far the adversary may be from the network's head."""
    adversary_steps: int = one_of(10, 1, 2, 5, 10)
    adversary_learning_rate: float = searched(1e-3, 3e-5, 3e-3, log=True)

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)
        positive("distance", self.distance)
        at_least(1, "adversary_steps", self.adversary_steps)
        positive("adversary_learning_rate", self.adversary_learning_rate)


@dataclass(frozen=True, kw_only=True)
class MtlConfig(AlgorithmConfig):
    """Marginal transfer learning: the classifier also sees the mean feature of the row's domain."""

    name: Literal["mtl"] = "mtl"
    title: ClassVar[str] = "MTL"
    makes_head: ClassVar[bool] = True
    paper: ClassVar[str] = "Blanchard et al. 2021, arXiv:1711.07910"
    implementation: ClassVar[str] = "ndcl.algorithms.mtl:Mtl"
    needs: ClassVar[tuple[str, ...]] = ("features", "own network", "state")
    ema: float = one_of(0.99, 0.5, 0.9, 0.99, 1.0)
    """How much of a domain's running mean is that of the newest batch."""

    def __post_init__(self) -> None:
        within(0, 1, "ema", self.ema)


@dataclass(frozen=True, kw_only=True)
class ArmConfig(AlgorithmConfig):
    """Adaptive risk minimisation: the network sees what the rows of an image's domain are like."""

    name: Literal["arm"] = "arm"
    title: ClassVar[str] = "ARM"
    paper: ClassVar[str] = "Zhang et al. 2021, arXiv:2007.02931"
    implementation: ClassVar[str] = "ndcl.algorithms.arm:Arm"
    structure: ClassVar[tuple[str, ...]] = ("width", "train_context")
    needs: ClassVar[tuple[str, ...]] = ("images", "own network", "whole batch")
    width: int = one_of(64, 16, 32, 64)
    """Channels within the context network."""
    train_context: bool = True
    """The release never trains its context network; with false neither does this."""

    def __post_init__(self) -> None:
        at_least(1, "width", self.width)

    @property
    def context(self) -> Context:
        """A network that this is all about."""
        return Context(width=self.width, is_trained=self.train_context)
