"""Algorithms that make features of the source domains alike: by moments, by a discriminator, or by contrast."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ndcl.algorithm_configs.base import AlgorithmConfig, PenalizedConfig, one_of, searched
from ndcl.ranges import at_least, positive, within

FEATURES = ("features",)
ADVERSARIAL = ("features", "own network", "own optimiser")


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(AlgorithmConfig):
    """Of the algorithms with one penalty on features."""

    moves_features_alone: ClassVar[bool] = True
    penalty_weight: float = searched(1.0, 0.1, 10.0, log=True)
    """Factor on the penalty."""

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class CoralConfig(MatchingConfig):
    """Correlation alignment: equal means and covariances of the features in each two source domains."""

    name: Literal["coral"] = "coral"
    title: ClassVar[str] = "CORAL"
    paper: ClassVar[str] = "Sun and Saenko 2016, arXiv:1607.01719"
    implementation: ClassVar[str] = "ndcl.algorithms.matching:Coral"
    needs: ClassVar[tuple[str, ...]] = FEATURES


@dataclass(frozen=True, kw_only=True)
class MmdConfig(MatchingConfig):
    """Maximum mean discrepancy of the features in each two source domains, by Gaussian kernels of seven widths."""

    name: Literal["mmd"] = "mmd"
    title: ClassVar[str] = "MMD"
    paper: ClassVar[str] = "Li et al. 2018 (MMD-AAE); Gretton et al. 2012"
    implementation: ClassVar[str] = "ndcl.algorithms.matching:Mmd"
    needs: ClassVar[tuple[str, ...]] = FEATURES


@dataclass(frozen=True, kw_only=True)
class CausIrlCoralConfig(MatchingConfig):
    """Causal invariance by interventions on style: CORAL between two random groups of rows."""

    name: Literal["caus_irl_coral"] = "caus_irl_coral"
    title: ClassVar[str] = "CausIRL (CORAL)"
    paper: ClassVar[str] = "Chevalley et al. 2022, arXiv:2206.11646"
    implementation: ClassVar[str] = "ndcl.algorithms.matching:CausIrlCoral"
    needs: ClassVar[tuple[str, ...]] = FEATURES


@dataclass(frozen=True, kw_only=True)
class CausIrlMmdConfig(MatchingConfig):
    """Causal invariance by interventions on style: MMD between two random groups of rows."""

    name: Literal["caus_irl_mmd"] = "caus_irl_mmd"
    title: ClassVar[str] = "CausIRL (MMD)"
    paper: ClassVar[str] = "Chevalley et al. 2022, arXiv:2206.11646"
    implementation: ClassVar[str] = "ndcl.algorithms.matching:CausIrlMmd"
    needs: ClassVar[tuple[str, ...]] = FEATURES


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(AlgorithmConfig):
    """Of the algorithms with a discriminator, which steps by an Adam of its own."""

    moves_features_alone: ClassVar[bool] = True
    structure: ClassVar[tuple[str, ...]] = ("width", "depth")
    passes: ClassVar[float] = 2 / 3
    penalty_weight: float = searched(1.0, 0.01, 100.0, log=True)
    """Factor on the discriminator's loss in the network's loss."""
    discriminator_steps: int = searched(1, 1, 8, log=True)
    """Steps of the discriminator for each step of the network; all count as steps of the training."""
    gradient_penalty: float = 0.0
    """Factor on the squared gradient of the discriminator's loss at its inputs."""
    discriminator_learning_rate: float = searched(1e-3, 1e-5, 3e-3, log=True)
    discriminator_weight_decay: float = 0.0
    beta1: float = one_of(0.5, 0.0, 0.5)
    """Of both Adams: how long the gradient's mean remembers; the mean of its square has 0.9."""
    width: int = searched(256, 64, 1024, log=True)
    """Of the discriminator's hidden layers."""
    depth: int = 3
    """Linear layers of the discriminator, at least 2."""

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)
        at_least(1, "discriminator_steps", self.discriminator_steps)
        at_least(0, "gradient_penalty", self.gradient_penalty)
        positive("discriminator_learning_rate", self.discriminator_learning_rate)
        at_least(0, "discriminator_weight_decay", self.discriminator_weight_decay)
        within(0, 0.999, "beta1", self.beta1)
        at_least(1, "width", self.width)
        at_least(2, "depth", self.depth)


@dataclass(frozen=True, kw_only=True)
class DannConfig(AdversarialConfig):
    """Domain-adversarial training: a discriminator that can't tell the domains by the features."""

    name: Literal["dann"] = "dann"
    title: ClassVar[str] = "DANN"
    paper: ClassVar[str] = "Ganin et al. 2016, arXiv:1505.07818"
    implementation: ClassVar[str] = "ndcl.algorithms.adversarial:Dann"
    needs: ClassVar[tuple[str, ...]] = ADVERSARIAL


@dataclass(frozen=True, kw_only=True)
class CdannConfig(AdversarialConfig):
    """Conditional domain-adversarial training: within each class the domains can't be told."""

    name: Literal["cdann"] = "cdann"
    title: ClassVar[str] = "CDANN"
    paper: ClassVar[str] = "Li et al. 2018, ECCV"
    implementation: ClassVar[str] = "ndcl.algorithms.adversarial:Cdann"
    needs: ClassVar[tuple[str, ...]] = ADVERSARIAL
    released: bool = False
    """As in the release: the classes' mean is divided by the largest class id of the batch plus 1."""


@dataclass(frozen=True, kw_only=True)
class ContrastiveBottleneckConfig(AlgorithmConfig):
    """Of CAD and its conditional form."""

    moves_features_alone: ClassVar[bool] = True
    penalty_weight: float = searched(0.1, 1e-4, 100.0, log=True)
    temperature: float = one_of(0.1, 0.05, 0.1)
    """Of the products of features."""
    normalize: bool = False
    """Whether features have unit length in the penalty."""
    flipped: bool = True
    """The bounded form: rows of other domains are to be as near as those of the own. The other form has no lower
    bound."""

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)
        positive("temperature", self.temperature)


@dataclass(frozen=True, kw_only=True)
class CadConfig(ContrastiveBottleneckConfig):
    """Contrastive adversarial domain bottleneck: features don't tell which rows are of one domain."""

    name: Literal["cad"] = "cad"
    title: ClassVar[str] = "CAD"
    paper: ClassVar[str] = "Ruan, Dubois and Maddison 2022, arXiv:2201.00057"
    implementation: ClassVar[str] = "ndcl.algorithms.bottleneck:Cad"
    needs: ClassVar[tuple[str, ...]] = FEATURES
    released: bool = False
    """As in the release: in the form that is not flipped each row counts itself, with a product of 0."""

    def idle_keys(self) -> dict[str, str]:
        """The flipped form has no such quirk."""
        flipped = {"released": "with algorithm.flipped: true the release does the same"} if self.flipped else {}
        return super().idle_keys() | flipped


@dataclass(frozen=True, kw_only=True)
class CondCadConfig(ContrastiveBottleneckConfig):
    """Conditional CAD: within each class features don't tell which rows are of one domain."""

    name: Literal["cond_cad"] = "cond_cad"
    title: ClassVar[str] = "CondCAD"
    paper: ClassVar[str] = "Ruan, Dubois and Maddison 2022, arXiv:2201.00057"
    implementation: ClassVar[str] = "ndcl.algorithms.bottleneck:CondCad"
    needs: ClassVar[tuple[str, ...]] = FEATURES


@dataclass(frozen=True, kw_only=True)
class SagNetConfig(AlgorithmConfig):
    """Style-agnostic network: the head learns on rows with the style of others, and style is not to tell the class."""

    name: Literal["sag_net"] = "sag_net"
    title: ClassVar[str] = "SagNet"
    paper: ClassVar[str] = "Nam et al. 2021, arXiv:1910.11645"
    implementation: ClassVar[str] = "ndcl.algorithms.sag_net:SagNet"
    passes: ClassVar[float] = 2 + 1 / 3
    needs: ClassVar[tuple[str, ...]] = ("features", "own network", "own optimiser")
    penalty_weight: float = searched(0.1, 0.01, 10.0, log=True)
    """Factor on the loss by which the backbone makes style say nothing."""

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class SelfRegConfig(AlgorithmConfig):
    """Self-supervised contrastive regularisation: rows of one class, mixed over domains, are to agree."""

    name: Literal["self_reg"] = "self_reg"
    title: ClassVar[str] = "SelfReg"
    paper: ClassVar[str] = "Kim et al. 2021, arXiv:2104.09841"
    implementation: ClassVar[str] = "ndcl.algorithms.self_reg:SelfReg"
    structure: ClassVar[tuple[str, ...]] = ("train_projector",)
    needs: ClassVar[tuple[str, ...]] = ("features", "own network")
    train_projector: bool = True
    """The release never trains its projector; with false neither does this."""


@dataclass(frozen=True, kw_only=True)
class TcriHsicConfig(PenalizedConfig):
    """Target conditioned representation independence: of two parts of the features one suffices, given the class."""

    name: Literal["tcri_hsic"] = "tcri_hsic"
    title: ClassVar[str] = "TCRI (HSIC)"
    makes_head: ClassVar[bool] = True
    paper: ClassVar[str] = "Salaudeen and Koyejo 2024, arXiv:2404.16277"
    implementation: ClassVar[str] = "ndcl.algorithms.tcri:TcriHsic"
    needs: ClassVar[tuple[str, ...]] = ("features", "own network")
    penalty_weight: float = searched(1.0, 0.1, 100.0, log=True)
    """Factor on the dependence of the two parts from its start on; before, 1."""
    domain_weight: float = searched(1.0, 0.1, 10.0, log=True)
    """Factor on the risks of the domains' own classifiers."""
    released: bool = False
    """As in the release: from the start of the penalty on the second part and the domains' classifiers are fixed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, "penalty_weight", self.penalty_weight)
        at_least(0, "domain_weight", self.domain_weight)


@dataclass(frozen=True, kw_only=True)
class GiniDgConfig(AlgorithmConfig):
    """Generative inference of features for unbalanced domains: a generator makes rows from those of all domains."""

    name: Literal["gini_dg"] = "gini_dg"
    title: ClassVar[str] = "GINIDG"
    makes_head: ClassVar[bool] = True
    paper: ClassVar[str] = "Xia, Jing and Ding 2023, IEEE TIP"
    implementation: ClassVar[str] = "ndcl.algorithms.gini_dg:GiniDg"
    structure: ClassVar[tuple[str, ...]] = ("width", "latent")
    needs: ClassVar[tuple[str, ...]] = ("features", "own network")
    shares_and_steps: ClassVar[dict[str, str]] = {"reconstruction_share": "reconstruction_steps"}
    reconstruction_share: float = searched(0.2, 0.05, 0.5)
    """Share of the steps in which the generator learns alone."""
    reconstruction_steps: int | None = None
    """The same as a number of steps, which then goes before."""
    width: int = searched(1024, 64, 1024, log=True)
    """Of the domain discriminator's hidden layers; that of the other has a quarter of it."""
    latent: int = searched(64, 16, 128, log=True)
    """Numbers from which a row is generated."""
    released: bool = False
    """As in the release: the domains' features are summed and divided by 3, however many domains there are."""

    def __post_init__(self) -> None:
        within(0, 1, "reconstruction_share", self.reconstruction_share)
        if self.reconstruction_steps is not None:
            at_least(0, "reconstruction_steps", self.reconstruction_steps)
        at_least(1, "width", self.width)
        at_least(1, "latent", self.latent)

    @property
    def shares_in_use(self) -> tuple[str, ...]:
        """Also how strongly the discriminators act goes by the length of the training."""
        return super().shares_in_use or (f"name: {self.name}",)
