"""NDCL's losses and mixup written from the maths with plain loops: slow, obvious, and what the fast form must equal."""

import math

import torch
from torch import Tensor

from ndcl.mixing import Draws, Quotas


def cosine(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum() / (u.norm() * v.norm())


def cross_entropy(logits: Tensor, labels: list[int], domains: list[int], weights: Tensor) -> Tensor:
    losses = [-logits[i].log_softmax(0)[label] for i, label in enumerate(labels)]
    present = sorted(set(labels))
    total = logits.new_zeros(())
    for k in present:
        rows = [i for i, label in enumerate(labels) if label == k]
        normaliser = sum(math.exp(losses[i].item()) for i in rows)
        for i in rows:
            total = total + math.exp(losses[i].item()) / normaliser * weights[domains[i], k] * losses[i]
    return total / len(present)


def margin(logits: Tensor, mixed: Tensor, labels: list[int], mixed_labels: list[int], temperature: float) -> Tensor:
    p, q = logits.softmax(1), mixed.softmax(1)
    present = sorted(set(labels))
    total = logits.new_zeros(())
    for k in present:
        rows = [i for i, label in enumerate(labels) if label == k]
        negatives = [r for r, label in enumerate(mixed_labels) if label == k]
        for i in rows:
            others = [j for j in rows if j != i]
            if not others or not negatives:
                continue
            pos = torch.stack([torch.exp(-cosine(p[i], p[j]) / temperature) for j in others]).sum()
            neg = torch.stack([torch.exp(-cosine(p[i], q[r]) / temperature) for r in negatives]).sum()
            total = total + torch.log(1 + pos / neg) / len(rows)
    return total / len(present)


def alignment(logits: Tensor, labels: list[int], domains: list[int], temperature: float) -> Tensor:
    p = logits.softmax(1)
    prototypes: dict[tuple[int, int], Tensor] = {}
    for e, k in sorted(set(zip(domains, labels, strict=True))):
        rows = [i for i in range(len(labels)) if (domains[i], labels[i]) == (e, k)]
        prototypes[e, k] = torch.stack([p[i] for i in rows]).mean(0)
    domains_of = {k: [e for e, c in prototypes if c == k] for _, k in prototypes}
    shared = [k for k, found in sorted(domains_of.items()) if len(found) >= 2]
    total = logits.new_zeros(())
    for k in shared:
        for e in domains_of[k]:
            same, every = logits.new_zeros(()), logits.new_zeros(())
            for (other, c), prototype in prototypes.items():
                if c not in shared or (other, c) == (e, k):
                    continue
                score = torch.exp(cosine(prototypes[e, k], prototype) / temperature)
                every = every + score
                same = same + score if c == k else same
            total = total - torch.log(same / every) / len(domains_of[k])
    return total / max(len(shared), 1)


def mixup(inputs: Tensor, logits: Tensor, labels: list[int], quota: Quotas, draws: Draws) -> tuple[Tensor, list[int]]:
    """Generated rows [M, ...] and their labels, by the rules as they are stated: class by class, pass by pass."""
    p, num_classes = logits.detach().softmax(1), logits.shape[1]
    betas = iter(draws.betas.tolist())
    shared, made, mixed_labels, extra = next(betas), [], [], 0
    for slot, k in enumerate(sorted(set(labels))):
        positives = sorted((i for i, y in enumerate(labels) if y == k), key=lambda i: p[i, k].item())
        negatives = sorted((i for i, y in enumerate(labels) if y != k), key=lambda i: -p[i, k].item())
        harder = sum(p[i, k].item() >= 2 / num_classes for i in negatives)
        hard = sum(p[i, k].item() >= 1 / num_classes for i in negatives)
        wanted, rows = int(quota.rows[slot]), []
        used, depth = depths(len(positives), len(negatives), wanted, hard, harder)
        weight, turn = shared, 0
        while len(rows) < wanted:
            pool = [inputs[j] for j in negatives[:depth]]
            if turn > 0 and len(positives) > 1:
                mu, keys = next(betas), draws.keys[:, extra + turn - 1, :depth]
                pool = [mu * pool[a] + (1 - mu) * pool[b] for a, b in zip(*keys.argsort(1), strict=True)]
            rows += [weight * inputs[i] + (1 - weight) * negative for i in positives[:used] for negative in pool]
            turn += 1
            weight = next(betas) if len(positives) == 1 else weight
        extra += int(quota.most_extra_passes[slot])
        made += rows[:wanted]
        mixed_labels += [k] * wanted
    return torch.stack(made), mixed_labels


def depths(num_positives: int, num_negatives: int, wanted: int, hard: int, harder: int) -> tuple[int, int]:
    """Positives used and depth of the negatives in one pass."""
    if num_positives == 1:
        third, half = math.ceil(wanted / 3), num_negatives // 2
        if third <= harder:
            return 1, min(harder, half) if third <= half else harder
        if third <= half:
            return 1, half
        return 1, hard if third <= hard else num_negatives
    quartiles = [math.ceil(share * num_positives) for share in (0.25, 0.5, 0.75)]
    used = next(q for q in quartiles if q != 1) if hard > 0 else quartiles[-1]
    if used * harder >= wanted:
        return used, harder
    if used * hard >= wanted:
        return used, hard
    if harder > 0:
        return used, harder
    return used, hard if hard > 0 else min(num_negatives, math.ceil(wanted / used))


def soft_cross_entropy(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    total = logits.new_zeros(())
    for own, answer in zip(logits, teacher, strict=True):
        shares = [math.exp(value / temperature) for value in answer.tolist()]
        for k, share in enumerate(shares):
            total = total - share / sum(shares) * (own / temperature).log_softmax(0)[k]
    return temperature**2 * total / len(logits)
