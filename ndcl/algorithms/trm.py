"""Transfer risk minimisation: each domain's own head is to serve the other domains (Xu and Jaakkola 2021)."""

import torch
from torch import Tensor, nn

from ndcl.algorithm_configs.invariance import TrmConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.networks import seeded
from ndcl.losses import full_precision

HEAD_STEPS = 30
"""Steps of gradient descent of the domains' heads in each step."""
HEAD_RATE = 0.1
"""Their learning rate."""
TERMS = 10
"""Of the Neumann series, beside its first."""
LARGEST = 10.0
"""The series ends after the term that makes an entry of the sum larger."""


class Trm(Algorithm):
    """The mean risk, and from `start` on what each domain's best head costs the other domains.

    Legend: D domains, each with a head [K, P] that is trained on it by the way; N rows, B of each domain. A head's risk
    on other domains, weighted by `alpha` [D, D], counts with its gradient at the features, and so does the way in which
    the features move the head: by the inverse of the Hessian of its own risk, as a Neumann series. All derivatives by
    heads are in closed form.
    """

    sees_features = True
    alpha: Tensor

    def __init__(self, config: TrmConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.start = config, config.penalty_start(sources.num_steps)
        num_domains = sources.num_domains
        self.heads = seeded(
            sources.seed,
            lambda: nn.ModuleList(nn.Linear(sources.num_features, sources.num_classes) for _ in range(num_domains)),
        ).requires_grad_(False)
        self.register_buffer("alpha", 1 - torch.eye(num_domains, dtype=torch.get_default_dtype()))

    def loss(self, rows: Rows) -> Loss:
        """R, then R and the mean over domains of the transfer terms."""
        risk = rows.losses.mean()
        if rows.step < self.start or len(self.alpha) == 1:
            return Loss(total=risk, terms=total_of(total=risk, cross_entropy=risk))
        transfer = self._transfer(rows)
        total = risk + transfer
        return Loss(total=total, terms=total_of(total=total, cross_entropy=risk, transfer=transfer))

    def _transfer(self, rows: Rows) -> Tensor:
        features, layout = rows.own_features, rows.layout
        by_domain = layout.by_domain(features)
        classes = torch.arange(rows.logits.shape[1], device=features.device)
        answers = (layout.labels[:, None] == classes).to(features.dtype)  # [N, K]
        with torch.no_grad():
            weight, bias = self._fit_heads(by_domain.detach(), layout.by_domain(answers))
            alpha = self.alpha.to(features.dtype) / self.alpha.sum(dim=1, keepdim=True).to(features.dtype)
        logits = features @ weight.transpose(1, 2) + bias[:, None]  # [D, N, K]: of each head on all rows
        log_shares = full_precision(logits).log_softmax(dim=2)
        risks = layout_means(-(log_shares * answers).sum(dim=2), layout.num_domains)  # [D, D]
        with torch.no_grad():
            moved = alpha * torch.exp(self.config.eta * alpha * risks)
            self.alpha.copy_(moved)
        value = (alpha * risks).sum(dim=1)
        if self.config.released:
            through = (moved * risks).sum(dim=1)
            value = value.detach() + through - through.detach()
        slopes = log_shares.exp() - answers  # [D, N, K] of each row's loss at the logits
        own = own_rows(slopes)
        own_slope = own.transpose(1, 2) @ by_domain / own.shape[1]  # [D, K, P] of a head's own risk
        with torch.no_grad():
            shares = alpha.repeat_interleave(own.shape[1], dim=1, output_size=len(features)) / own.shape[1]
            others = (shares[:, :, None] * slopes).transpose(1, 2) @ features
            direction = self._inverse(others, by_domain.detach(), own_rows(log_shares.exp()))
        return (value - self.config.cos_weight * (direction * own_slope).sum(dim=(1, 2))).mean()

    def _fit_heads(self, features: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [D, K, P] and biases [D, K] after steps on each domain's `features` [D, B, P]; the heads get them."""
        dtype = features.dtype
        weight = torch.stack([head.weight for head in self._heads()]).to(dtype)
        bias = torch.stack([head.bias for head in self._heads()]).to(dtype)
        for _ in range(HEAD_STEPS):
            logits = features @ weight.transpose(1, 2) + bias[:, None]
            slopes = (logits.softmax(dim=2) - answers) / features.shape[1]
            weight = weight - HEAD_RATE * slopes.transpose(1, 2) @ features
            bias = bias - HEAD_RATE * slopes.sum(dim=1)
        for head, new_weight, new_bias in zip(self._heads(), weight, bias, strict=True):
            head.weight.copy_(new_weight)
            head.bias.copy_(new_bias)
        return weight, bias

    def _heads(self) -> list[nn.Linear]:
        return [head for head in self.heads if isinstance(head, nn.Linear)]

    def _inverse(self, direction: Tensor, features: Tensor, shares: Tensor) -> Tensor:
        """The Hessian's inverse times `direction` [D, K, P], by the series sum of (1 - H)^j.

        The Hessian is that of a head's risk on its own domain's `features` [D, B, P], where it predicts `shares`
        [D, B, K]. The released series has no first term, and its second twice.
        """
        total = torch.zeros_like(direction) if self.config.released else direction
        goes_on = torch.ones_like(direction[:, :1, :1], dtype=torch.bool)
        for number in range(1, TERMS + 1):
            moved = features @ direction.transpose(1, 2)  # [D, B, K]
            moved = shares * (moved - (shares * moved).sum(dim=2, keepdim=True))
            direction = direction - moved.transpose(1, 2) @ features / features.shape[1]
            factor = 2.0 if self.config.released and number == 1 else 1.0
            total = torch.where(goes_on, total + factor * direction, total)
            goes_on = goes_on & (total.abs().amax(dim=(1, 2), keepdim=True) <= LARGEST)
        return total


def layout_means(values: Tensor, num_domains: int) -> Tensor:
    """[D, D] means over each domain's rows of `values` [D, N], rows in the order of domains."""
    return values.view(len(values), num_domains, -1).mean(dim=2)


def own_rows(values: Tensor) -> Tensor:
    """[D, B, K] of `values` [D, N, K]: for each head the rows of its own domain."""
    by_domain = values.view(len(values), len(values), -1, values.shape[2])
    return by_domain.diagonal(dim1=0, dim2=1).permute(2, 0, 1)
