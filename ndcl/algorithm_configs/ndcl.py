"""Negatives-Dominant Contrastive Learning."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ndcl.algorithm_configs.base import AlgorithmConfig, Frequencies, one_of, searched
from ndcl.ranges import at_least, positive


@dataclass(frozen=True, kw_only=True)
class NdclConfig(AlgorithmConfig):
    """Negatives-Dominant Contrastive Learning (Cao, Liu and Chen, arXiv 2601.21999)."""

    name: Literal["ndcl"] = "ndcl"
    title: ClassVar[str] = "NDCL"
    paper: ClassVar[str] = "Cao, Liu and Chen, arXiv:2601.21999"
    implementation: ClassVar[str] = "ndcl.algorithms.ndcl:Ndcl"
    passes: ClassVar[float] = 2.0
    needs: ClassVar[tuple[str, ...]] = ("second pass",)
    alpha: float = searched(1.0, 0.03, 3.0, log=True)
    """Weight of the negatives-dominant margin loss."""
    beta: float = searched(0.1, 0.01, 1.0, log=True)
    """Weight of the prototype alignment loss."""
    margin_temperature: float = searched(1.0, 0.3, 3.0, log=True)
    """Temperature of the margin loss; 1 is the published form."""
    alignment_temperature: float = searched(1.0, 0.3, 3.0, log=True)
    """Temperature of the alignment loss; 1 is the published form."""
    mixup: float = searched(0.2, 0.1, 0.3)
    """Parameter of the Beta(mixup, mixup) that mixes hard negatives."""
    mixup_mode: Literal["rev", "mean", "set"] = "rev"
    """How many negatives are generated per class; see ndcl/mixing.py."""
    mixup_at: Literal["inputs", "features"] = "inputs"
    """What is mixed: `inputs`, the published form, which takes a second pass through the network, or the `features`
    before the head, which takes none."""
    cross_entropy: Literal["published", "rows"] = one_of("published", "published", "rows")
    """`published`: by classes, their hardest rows first; `rows`: the mean over rows, so that with alpha, beta and
    class_weight_exponent 0 it is ERM, and with logit_adjustment 1 balanced softmax."""
    hardness: float = 1.0
    """Of the published cross-entropy: how much harder rows of a class count more; 1 is the published form, 0 counts
    them alike."""
    class_weight_exponent: float = searched(1.0, 0.0, 1.0)
    """0: no class weights; 1: inverse class frequency, the published form."""
    logit_adjustment: float = searched(0.0, 0.0, 1.0)
    """Factor on the log of the training prior added to the logits in the cross-entropy (Menon et al. 2021)."""
    frequencies: Frequencies = "per_domain"
    """That class weights and the prior are made of."""

    def __post_init__(self) -> None:
        for key in ("alpha", "beta", "class_weight_exponent", "logit_adjustment", "hardness"):
            at_least(0, key, getattr(self, key))
        for key in ("margin_temperature", "alignment_temperature", "mixup"):
            positive(key, getattr(self, key))
