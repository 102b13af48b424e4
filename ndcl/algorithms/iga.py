"""Inter-environmental gradient alignment: the domains' gradients are to be the same (Koyama and Yamaguchi 2020)."""

import torch

from ndcl.algorithm_configs.gradients import IgaConfig
from ndcl.algorithms.base import Algorithm, Loss, SourceDomains, Walk, total_of


class Iga(Algorithm):
    """The mean risk, plus a weight times the squared distances of the domains' gradients from their mean, summed.

    The penalty's gradient is twice the sum over domains of a product: the Hessian of a domain's risk times the distance
    of its gradient from the mean. The distances sum to 0, so that the mean's own part vanishes.
    """

    walks = True

    def __init__(self, config: IgaConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config = config

    def walk(self, walk: Walk, step: int) -> Loss:
        """All gradients, all products with Hessians, and one step of the optimiser."""
        risks, gradients = zip(*(walk.gradient(domain) for domain in range(walk.num_domains)), strict=True)
        mean = [each.clone() for each in gradients[0]]
        for gradient in gradients[1:]:
            torch._foreach_add_(mean, gradient)
        torch._foreach_div_(mean, walk.num_domains)
        penalty, total_gradient = torch.zeros_like(risks[0]), [each.clone() for each in mean]
        for domain, gradient in enumerate(gradients):
            apart = [own - common for own, common in zip(gradient, mean, strict=True)]
            penalty = penalty + torch.stack([each.pow(2).sum() for each in apart]).sum()
            curved = walk.curvature(domain, apart)
            torch._foreach_add_(total_gradient, curved, alpha=2 * self.config.penalty_weight)
        walk.advance(total_gradient)
        risk = torch.stack(risks).mean()
        total = risk + self.config.penalty_weight * penalty
        return Loss(total=total, terms=total_of(total=total, cross_entropy=risk, penalty=penalty))
