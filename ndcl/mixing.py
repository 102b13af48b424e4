"""Hard-negative mixup: rows that lie between a class's least confident rows and its hardest negatives.

One plan of indices and coefficients, made from predictions and labels alone, then one `apply` to the images. The plan's
shapes follow from the labels, which the host knows; what depends on predictions (which rows, how deep) stays on the
device, so that planning never waits for it.

N rows of a batch, M generated rows, K classes, C classes present, E extra passes at most, R ranks at most in one.
The rules are those of the authors' release, stated in docs/method.md; a class's quota is filled in passes over
(positives x negatives), and passes after the first mix the negatives among themselves.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.batch import Layout, to_device

MODES = ("rev", "mean", "set")
ROWS_AT_ONCE, NUMBERS_AT_ONCE = 32, 2**18
"""Rows mixed together at least; short rows, such as feature vectors, are many at once."""
_STREAM = 2  # keeps mixup's draws apart from the sampler's and the augmentation's for the same (seed, step)


@dataclass(frozen=True)
class Quotas:
    """How many rows each present class gets, and what follows from it on the host."""

    sizes: NDArray[np.int64]
    """[C] rows n_k of each present class in the batch."""
    rows: NDArray[np.int64]
    """[C] rows g_k to generate."""

    @property
    def total(self) -> int:
        """M."""
        return int(self.rows.sum())

    @cached_property
    def usual_positives(self) -> NDArray[np.int64]:
        """[C] positives used where a hard negative exists: the first of the quartile ranks that is not 1."""
        n = self.sizes[:, None]
        ranks = np.ceil(n * np.array([0.25, 0.5, 0.75])).astype(np.int64)
        first = np.argmax(ranks != 1, axis=1)
        return np.asarray(np.where(self.sizes > 1, ranks[np.arange(len(ranks)), first], 1))

    @cached_property
    def fallback_positives(self) -> NDArray[np.int64]:
        """[C] positives used where no negative reaches probability 1/K."""
        return np.asarray(np.ceil(0.75 * self.sizes), dtype=np.int64)

    @cached_property
    def most_extra_passes(self) -> NDArray[np.int64]:
        """[C] upper bound of the passes after the first that mix negatives (classes of several rows)."""
        fewest = np.minimum(self.usual_positives, self.fallback_positives)
        return np.where(self.sizes > 1, np.maximum(-(-self.rows // fewest) - 1, 0), 0)

    @cached_property
    def most_ranks(self) -> int:
        """Upper bound of the negatives' depth in a class that needs an extra pass: its first pass was too short."""
        fewest = np.minimum(self.usual_positives, self.fallback_positives)
        needs = self.most_extra_passes > 0
        return int(((self.rows - 1) // fewest)[needs].max(initial=0))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one plan, drawn on the host."""

    betas: NDArray[np.float64]
    """[1 + M + C] the shared coefficient first, then one per extra pass in class order."""
    keys: NDArray[np.float64]
    """[2, E, R] sort keys; the ranks of a row's first s keys are a uniform permutation of s negatives."""

    @classmethod
    def from_seed(cls, quotas: Quotas, mixup: float, seed: int, step: int) -> "Draws":
        """Draws that depend on (seed, step) alone: the same on every worker and after a resume."""
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, step, _STREAM])))
        betas = generator.beta(mixup, mixup, size=1 + quotas.total + len(quotas.rows))
        return cls(betas, generator.random((2, int(quotas.most_extra_passes.sum()), quotas.most_ranks)))


@dataclass(frozen=True, kw_only=True)
class MixupPlan:
    """Which rows are mixed with which coefficients: row r becomes

    weight_r x[positive_r] + (1 - weight_r) (blend_r x[negative_r] + (1 - blend_r) x[second_negative_r]).
    """

    positive: Tensor
    """[M] int64 row of the batch."""
    negative: Tensor
    """[M] int64."""
    second_negative: Tensor
    """[M] int64; equal to `negative` in a first pass."""
    weight: Tensor
    """[M] share of the positive, in the predictions' precision."""
    blend: Tensor
    """[M] share of the first negative; 1 in a first pass."""
    labels: Tensor
    """[M] int64 the class that the row is a hard negative for."""
    has_rows: Tensor
    """[N] bool: whether the batch row's class got any generated row."""
    shared_weight: float
    """The coefficient drawn once for the step; near 1 the generated rows are all but copies of the positives."""

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, part: slice) -> "MixupPlan":
        """The plan of the generated rows in `part` alone."""
        names = ("positive", "negative", "second_negative", "weight", "blend", "labels")
        return replace(self, **{name: getattr(self, name)[part] for name in names})

    def on_own_rows(self) -> "tuple[Tensor, MixupPlan]":
        """The batch rows [3 M] that are mixed, and the plan as it is if these are all there are."""
        rows = torch.cat([self.positive, self.negative, self.second_negative])
        positive, negative, second = torch.arange(len(rows), device=rows.device).view(3, -1)
        return rows, replace(self, positive=positive, negative=negative, second_negative=second)

    def mixed(self, features: Tensor) -> Tensor:
        """Mix `features` [N, P] into [M, P], with a gradient."""
        weight, blend = self.weight.to(features.dtype)[:, None], self.blend.to(features.dtype)[:, None]
        negative = features[self.negative] * blend + features[self.second_negative] * (1 - blend)
        return features[self.positive] * weight + negative * (1 - weight)

    def apply(self, inputs: Tensor, rows_at_once: int | None = None) -> Tensor:
        """Mix `inputs` [N, ...] into [M, ...], in the memory format of `inputs`.

        Beyond the result it needs memory for two times `rows_at_once` rows: by default 32, or more if rows are short.
        """
        channels_last = inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        inputs = inputs if channels_last else inputs.contiguous()
        # a row is one stretch of memory in either format, so it is gathered as a vector
        width = math.prod(inputs.shape[1:])
        rows = inputs.as_strided((len(inputs), width), (width, 1))
        weight, blend = self.weight.to(rows.dtype)[:, None], self.blend.to(rows.dtype)[:, None]
        rows_at_once = rows_at_once or max(ROWS_AT_ONCE, NUMBERS_AT_ONCE // rows.shape[1])
        mixed = rows.new_empty((len(self), rows.shape[1]))
        for start in range(0, len(self), rows_at_once):
            part = slice(start, start + rows_at_once)
            out = mixed[part]
            torch.mul(rows.index_select(0, self.second_negative[part]), 1 - blend[part], out=out)
            out.addcmul_(rows.index_select(0, self.negative[part]), blend[part])
            out.mul_(1 - weight[part])
            out.addcmul_(rows.index_select(0, self.positive[part]), weight[part])
        return mixed.as_strided((len(self), *inputs.shape[1:]), inputs.stride())


def quotas(layout: Layout, mode: str, batch_size: int) -> Quotas:
    """How many rows to generate per present class.

    rev: shares by the softmax of the class frequencies; mean: equal shares, the smallest classes one less where the
    rows do not divide; set: clip(batch_size // 2, 8, 24) each. The total is N, except for `set`.
    """
    sizes, num_rows = layout.host_sizes, layout.num_rows
    if mode == "rev":
        shares = np.exp(sizes / num_rows - (sizes / num_rows).max())
        # the cumulative share may end above 1 by a rounding error, which would make one row too many
        ends = np.ceil(num_rows * np.minimum(np.cumsum(shares / shares.sum()), 1.0))
        ends[-1] = num_rows
        return Quotas(sizes, np.diff(ends, prepend=0.0).astype(np.int64))
    if mode == "mean":
        rows = np.full(len(sizes), -(-num_rows // len(sizes)))
        surplus = int(rows.sum()) - num_rows
        rows[np.argsort(sizes, kind="stable")[:surplus]] -= 1
        return Quotas(sizes, rows)
    assert mode == "set", mode
    return Quotas(sizes, np.full(len(sizes), min(max(batch_size // 2, 8), 24)))


@torch.no_grad()
def plan_mixup(logits: Tensor, layout: Layout, quota: Quotas, draws: Draws) -> MixupPlan:
    """Plan the generated rows from `logits` [N, K]. At least two classes must be present.

    The negatives of a class are the rows of all other classes, most mistaken for it first; its positives its own rows,
    least confident first.
    """
    assert layout.num_classes_present > 1, "a batch of one class has no negatives"
    predictions = _precise(logits).softmax(dim=1)
    device, num_classes = logits.device, logits.shape[1]
    lengths = (7 * len(quota.rows), 2 * quota.total, 2 * layout.num_rows)
    by_class, by_mixed, by_row = torch.split_with_sizes(to_device(_pack(quota, layout), device), lengths)
    classes, sizes, wanted, usual, fallback, first_row, first_extra = by_class.view(7, -1)
    slot, rank = by_mixed.view(2, -1)
    row_has_rows, row_slot = by_row.view(2, -1)
    negatives, hard, harder = _hard_negatives(predictions, layout.labels, classes, num_classes)
    positives = _confident_last(predictions, layout.labels, row_slot)
    used, depth = _depths(sizes, wanted, usual, fallback, hard, harder, layout.num_rows - sizes)

    per_pass = used * depth
    passes = (wanted + per_pass - 1) // per_pass
    num_draws = torch.where(sizes > 1, (passes - 1).clamp(min=0), passes)
    first_draw = 1 + num_draws.cumsum(0) - num_draws
    turn, within = rank // per_pass[slot], rank % per_pass[slot]
    depth_of_row = depth[slot]
    which_negative = within % depth_of_row
    betas = to_device(draws.betas, device).to(predictions.dtype)
    extra = turn > 0
    drawn = betas[torch.where(extra, first_draw[slot] + turn - 1, 0)]
    several = sizes[slot] > 1
    first, second = _permuted(which_negative, extra & several, first_extra[slot] + turn - 1, depth, quota, draws)
    ones = torch.ones_like(drawn)
    return MixupPlan(
        positive=positives[first_row[slot] + within // depth_of_row],
        negative=negatives[slot, first],
        second_negative=negatives[slot, second],
        weight=torch.where(several, betas[0], drawn),
        blend=torch.where(extra & several, drawn, ones),
        labels=classes[slot],
        has_rows=row_has_rows.bool(),
        shared_weight=float(draws.betas[0]),
    )


def _precise(logits: Tensor) -> Tensor:
    return logits.detach() if logits.dtype == torch.float64 else logits.detach().float()


def _pack(quota: Quotas, layout: Layout) -> NDArray[np.int64]:
    """All integers that the device needs, in one array and so in one transfer: 7 x [C], 2 x [M], 2 x [N]."""
    first_row = np.cumsum(quota.sizes) - quota.sizes
    first_extra = np.cumsum(quota.most_extra_passes) - quota.most_extra_passes
    slot = np.repeat(np.arange(len(quota.rows)), quota.rows)
    rank = np.arange(quota.total) - (np.cumsum(quota.rows) - quota.rows)[slot]
    parts = (
        layout.host_classes, quota.sizes, quota.rows, quota.usual_positives, quota.fallback_positives, first_row,
        first_extra, slot, rank, quota.rows[layout.host_slots] > 0, layout.host_slots,
    )  # fmt: skip
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])


def _hard_negatives(
    predictions: Tensor, labels: Tensor, classes: Tensor, num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows by falling probability of each class [C, N], own rows last; how many negatives reach 1/K, and 2/K [C]."""
    scores = predictions.T.index_select(0, classes)
    scores = scores.masked_fill(labels[None, :] == classes[:, None], -1.0)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return order, (scores >= 1 / num_classes).sum(1), (scores >= 2 / num_classes).sum(1)


def _confident_last(predictions: Tensor, labels: Tensor, slots: Tensor) -> Tensor:
    """[N] rows grouped by class (ascending), within a class by rising probability of it."""
    by_confidence = predictions.gather(1, labels[:, None])[:, 0].sort(stable=True).indices
    return by_confidence[slots[by_confidence].sort(stable=True).indices]


def _depths(
    sizes: Tensor, wanted: Tensor, usual: Tensor, fallback: Tensor, hard: Tensor, harder: Tensor, num_negatives: Tensor
) -> tuple[Tensor, Tensor]:
    """How many positives and how many negatives a pass uses, [C] each; `harder` reach 2/K, `hard` 1/K."""
    used = torch.where(hard > 0, usual, fallback)
    shallow = torch.minimum(num_negatives, (wanted + used - 1) // used)
    several = torch.where(harder > 0, harder, torch.where(hard > 0, hard, shallow))
    several = torch.where(used * hard >= wanted, hard, several)
    several = torch.where(used * harder >= wanted, harder, several)

    third, half = (wanted + 2) // 3, num_negatives // 2
    single = torch.where(third <= half, half, torch.where(third <= hard, hard, num_negatives))
    enough = torch.where(third <= half, torch.minimum(harder, half), harder)
    single = torch.where(third <= harder, enough, single)
    return torch.where(sizes > 1, used, 1), torch.where(sizes > 1, several, single).clamp(min=1)


def _permuted(
    which: Tensor, mixes: Tensor, extra_pass: Tensor, depth: Tensor, quota: Quotas, draws: Draws
) -> tuple[Tensor, Tensor]:
    """[M], [M] the two negatives of each row: two fresh permutations in an extra pass, else the same one twice."""
    num_extra = int(quota.most_extra_passes.sum())
    if num_extra == 0 or quota.most_ranks == 0:
        return which, which
    slot_of_pass = to_device(np.repeat(np.arange(len(quota.rows)), quota.most_extra_passes), which.device)
    beyond = torch.arange(quota.most_ranks, device=which.device)[None, :] >= depth[slot_of_pass][:, None]
    keys = to_device(draws.keys, which.device).masked_fill(beyond, torch.inf)
    permutations = keys.sort(dim=2, stable=True).indices
    extra_pass = torch.where(mixes, extra_pass, 0)
    rank = torch.where(mixes, which, 0)
    first, second = permutations[0, extra_pass, rank], permutations[1, extra_pass, rank]
    return torch.where(mixes, first, which), torch.where(mixes, second, which)
