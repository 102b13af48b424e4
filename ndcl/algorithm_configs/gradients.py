"""Algorithms with a rule on the gradients of the source domains, one by one."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ndcl.algorithm_configs.base import AlgorithmConfig, one_of, searched
from ndcl.ranges import at_least, positive, within

GRADIENT_OF_EACH_DOMAIN = "gradient of each domain"
SECOND_DERIVATIVES = "second derivatives"


@dataclass(frozen=True, kw_only=True)
class AndMaskConfig(AlgorithmConfig):
    """AND-mask: a parameter moves only where the domains' gradients have one sign."""

    name: Literal["and_mask"] = "and_mask"
    title: ClassVar[str] = "AND-mask"
    paper: ClassVar[str] = "Parascandolo et al. 2021, arXiv:2009.00329"
    implementation: ClassVar[str] = "ndcl.algorithms.gradient_rules:AndMask"
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN,)
    tau: float = searched(1.0, 0.5, 1.0)
    """Least mean of the domains' signs, without its own sign."""

    def __post_init__(self) -> None:
        within(0, 1, "tau", self.tau)


@dataclass(frozen=True, kw_only=True)
class SandMaskConfig(AlgorithmConfig):
    """Smoothed AND-mask. The release's tau of 1 masks everything, so that nothing is learned; here it is 0.5."""

    name: Literal["sand_mask"] = "sand_mask"
    title: ClassVar[str] = "SAND-mask"
    paper: ClassVar[str] = "Shahtalebi et al. 2021, arXiv:2106.02266"
    implementation: ClassVar[str] = "ndcl.algorithms.gradient_rules:SandMask"
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN,)
    tau: float = searched(0.5, 0.0, 0.95)
    """Mean of the domains' signs, without its own sign, above which a parameter moves."""
    k: float = searched(10.0, 1e-3, 1e5, log=True)
    """Steepness of the mask."""

    def __post_init__(self) -> None:
        within(0, 1, "tau", self.tau)
        positive("k", self.k)


@dataclass(frozen=True, kw_only=True)
class MldgConfig(AlgorithmConfig):
    """Meta-learning for domain generalization, first order: a step on some domains is to help on the others."""

    name: Literal["mldg"] = "mldg"
    title: ClassVar[str] = "MLDG"
    paper: ClassVar[str] = "Li et al. 2018, arXiv:1710.03463"
    implementation: ClassVar[str] = "ndcl.algorithms.walks:Mldg"
    passes: ClassVar[float] = 2 / 3
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN, "steps within a step")
    beta: float = searched(1.0, 0.1, 10.0, log=True)
    """Factor on the gradient of the domains that were left out of the inner step."""
    num_meta_test: int = one_of(2, 1, 2)
    """Domains that are left out of it; at most all but one."""

    def __post_init__(self) -> None:
        at_least(0, "beta", self.beta)
        at_least(1, "num_meta_test", self.num_meta_test)


@dataclass(frozen=True, kw_only=True)
class FishConfig(AlgorithmConfig):
    """Gradient matching, first order: steps on the domains in turn, of which a share is taken."""

    name: Literal["fish"] = "fish"
    title: ClassVar[str] = "Fish"
    paper: ClassVar[str] = "Shi et al. 2022, arXiv:2104.09937"
    implementation: ClassVar[str] = "ndcl.algorithms.walks:Fish"
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN, "steps within a step")
    meta_learning_rate: float = searched(0.5, 0.05, 0.5, log=True)
    """Share of the way through all domains that is taken."""

    def __post_init__(self) -> None:
        within(0, 1, "meta_learning_rate", self.meta_learning_rate)
        positive("meta_learning_rate", self.meta_learning_rate)


@dataclass(frozen=True, kw_only=True)
class IgaConfig(AlgorithmConfig):
    """Inter-environmental gradient alignment: the gradients of the source domains' risks are to be the same."""

    name: Literal["iga"] = "iga"
    title: ClassVar[str] = "IGA"
    paper: ClassVar[str] = "Koyama and Yamaguchi 2020, arXiv:2008.01883"
    implementation: ClassVar[str] = "ndcl.algorithms.iga:Iga"
    passes: ClassVar[float] = 4.0
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN, SECOND_DERIVATIVES)
    penalty_weight: float = searched(1000.0, 10.0, 1e5, log=True)
    """Factor on the squared distances of the domains' gradients from their mean."""

    def __post_init__(self) -> None:
        at_least(0, "penalty_weight", self.penalty_weight)


@dataclass(frozen=True, kw_only=True)
class PGradConfig(AlgorithmConfig):
    """Principal gradient: the main directions of a way through all domains, not its end, say where to go."""

    name: Literal["p_grad"] = "p_grad"
    title: ClassVar[str] = "PGrad"
    paper: ClassVar[str] = "Wang et al. 2023, arXiv:2305.01134"
    implementation: ClassVar[str] = "ndcl.algorithms.p_grad:PGrad"
    needs: ClassVar[tuple[str, ...]] = (GRADIENT_OF_EACH_DOMAIN, "steps within a step")
    outer_learning_rate: float = searched(0.1, 0.01, 1.0, log=True)
    """Factor on the gradient that the way gives."""

    def __post_init__(self) -> None:
        positive("outer_learning_rate", self.outer_learning_rate)
