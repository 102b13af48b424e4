"""Several networks that answer as one: by their averaged probabilities, or, of linear heads, their averaged logits.

Legend: k members, n images, K classes, D source domains.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ndcl.evaluation.calibration import fit_temperature, negative_log_likelihood


@dataclass(frozen=True, kw_only=True)
class Combination:
    """How the members' logits become one answer."""

    of: Literal["probabilities", "logits", "weights"]
    """What is averaged. `logits`: only of linear heads on the same inputs, which are then one linear head. `weights`:
    the members are one network before they answer, so that there are no logits of theirs to combine."""
    scales: tuple[float, ...]
    """Factor on each member's logits before; one each, all 1: as they are."""
    temperature: float = 1.0
    """Divides the combined logits, so that the probabilities are calibrated; it changes no predicted class."""

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.scales)


def combined(logits: Tensor, combination: Combination) -> Tensor:
    """Logits [n, K] of the ensemble, from those of its members [k, n, K]: their softmax is the ensemble's answer.

    Of averaged probabilities (deep ensembles, Lakshminarayanan et al. 2017) they are the log.
    """
    assert combination.of != "weights", "a single network answers"
    scales = torch.tensor(combination.scales, dtype=logits.dtype, device=logits.device)
    scaled = logits * scales[:, None, None]
    if combination.of == "logits":
        return scaled.mean(dim=0) / combination.temperature
    log_mean = scaled.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(scaled))
    return log_mean / combination.temperature


def disagreement(logits: Tensor) -> Tensor:
    """How far the members' answers are apart [n], from their logits [k, n, K]: 0 all the same, 1 each another class.

    It is the Jensen-Shannon divergence of their distributions (Lin 1991) over its largest value, log min(k, K): what
    the literature on uncertainty calls the mutual information between answer and member (Houlsby et al. 2011). 0 for
    a single member.
    """
    largest = min(logits.shape[0], logits.shape[2])
    log_shares = logits.log_softmax(dim=2)
    log_mean = log_shares.logsumexp(dim=0) - math.log(len(logits))
    divergence = (log_shares.exp() * (log_shares - log_mean)).sum(dim=2).mean(dim=0)
    return (divergence / math.log(max(largest, 2))).clamp(0, 1)


def chosen_combination(logits: Sequence[Tensor], labels: Sequence[Tensor], *, are_heads: bool) -> Combination:
    """How to combine members, by their logits [k, n, K] and the labels [n] of each of D domains' validation images.

    Networks' probabilities are averaged. Of linear heads (`are_heads`) the logits are, as they are or each divided by
    its spread over the validation images: whichever has the higher mean accuracy, of equals the lower class-balanced
    negative log-likelihood, and the first where that doesn't tell either. The temperature is fitted on the same images.
    """
    every, truth = torch.cat(list(logits), dim=1), torch.cat(list(labels))
    alone = (1.0,) * len(every)
    if not are_heads:
        return _calibrated(Combination(of="probabilities", scales=alone), every, truth)
    spreads = every.flatten(1).std(dim=1, correction=0)
    scaled = spreads.mean() / spreads.clamp(min=torch.finfo(spreads.dtype).tiny)
    candidates = [
        _calibrated(Combination(of="logits", scales=scales), every, truth)
        for scales in (alone, tuple(map(float, scaled.tolist())))
    ]
    return max(candidates, key=lambda each: _worth(each, logits, labels))


def _calibrated(combination: Combination, logits: Tensor, labels: Tensor) -> Combination:
    temperature = fit_temperature(combined(logits, combination), labels)
    return Combination(of=combination.of, scales=combination.scales, temperature=temperature)


def _worth(combination: Combination, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[float, float]:
    """Mean over domains of the accuracy, and of the likelihood."""
    answers = [combined(each, combination) for each in logits]
    hits = [float((a.argmax(dim=1) == own).double().mean()) for a, own in zip(answers, labels, strict=True)]
    losses = [negative_log_likelihood(a, own) for a, own in zip(answers, labels, strict=True)]
    return round(sum(hits) / len(hits), 12), -sum(losses) / len(losses)
