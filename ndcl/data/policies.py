"""Augmentation by published policies: torchvision's, at its defaults, which are those of the papers.

An image is changed by its own seed, so that it does not matter who changes it, nor with which others.
Legend: m images of H x W pixels, channels first.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import cast

import torch
from torch import Tensor

Policy = Callable[[Tensor], Tensor]


def by_policy(name: str, images: Tensor, seeds: Iterable[int]) -> Tensor:
    """Images uint8 [m, 3, H, W], each changed by the policy `name` and its own of the m `seeds`, where they lie.

    `trivial` is TrivialAugmentWide (Müller and Hutter 2021, arXiv 2103.10158), `randaugment` (Cubuk et al. 2020, arXiv
    1909.13719) two operations of magnitude 9 of 30, `augmix` (Hendrycks et al. 2020, arXiv 1912.02781) three chains of
    severity 3.
    """
    change, changed = _policy(name), torch.empty_like(images)
    with torch.random.fork_rng(devices=[]):  # a policy draws from the host's own generator alone
        for image, seed, result in zip(images, seeds, changed, strict=True):
            torch.default_generator.manual_seed(seed)
            result.copy_(change(image))
    return changed


@cache
def _policy(name: str) -> Policy:
    from torchvision.transforms import v2  # takes a second, which trainings without a policy need not wait

    kinds = {"trivial": v2.TrivialAugmentWide, "randaugment": v2.RandAugment, "augmix": v2.AugMix}
    return cast(Policy, kinds[name]())
