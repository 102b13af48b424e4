"""The inputs that generated rows are mixed from: any row of the batch may be needed by any worker.

N rows of a batch, M mixed from them, W workers. Few workers send all inputs to all, beforehand, while the real rows are
in the network: N inputs arrive at each, and nothing waits. Of many workers each fetches what its M/W rows are mixed
from, at most 3M/W inputs however many workers there are; for that the host must read the plan, once a step.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.batch import Batch, to_device
from ndcl.data.transforms import to_inputs
from ndcl.mixing import MixupPlan
from ndcl.parallel.group import Group

MOST_TO_ALL = 16
"""Workers up to which all inputs go to all."""


class Exchange:
    """The exchange for one batch, which starts when this is made."""

    def __init__(self, group: Group, batch: Batch) -> None:
        self._group, self._num_rows = group, batch.layout.num_rows
        self._own = batch.inputs if batch.pixels is None else batch.pixels
        to_all = group.share.world_size <= MOST_TO_ALL
        self._all = group.start_gather(self._own, self._num_rows) if to_all else None

    def inputs_for(self, plan: MixupPlan) -> tuple[Tensor, MixupPlan]:
        """Inputs (or the pixels they are made from), and this worker's share of `plan`, whose indices are theirs."""
        own = plan.of(self._group.share.rows(len(plan)))
        return (self._all(), own) if self._all is not None else self._fetched(plan, own)

    def _fetched(self, plan: MixupPlan, own: MixupPlan) -> tuple[Tensor, MixupPlan]:
        shares, rank = self._group.shares, self._group.share.rank
        used = torch.stack([plan.positive, plan.negative, plan.second_negative]).cpu().numpy()
        needed = [np.unique(used[:, share.rows(len(plan))]) for share in shares]
        held = [share.rows(self._num_rows) for share in shares]
        sent = [rows[_within(rows, held[rank])] - held[rank].start for rows in needed]
        received = [int(_within(needed[rank], part).sum()) for part in held]
        rows = self._own.index_select(0, to_device(np.concatenate(sent), self._own.device))
        inputs = self._group.swap(rows, [len(part) for part in sent], received)
        # they come in the order of the workers, and so of the rows
        places = np.searchsorted(needed[rank], used[:, self._group.share.rows(len(plan))])
        positive, negative, second = to_device(places, rows.device)
        return inputs, replace(own, positive=positive, negative=negative, second_negative=second)


def mix(plan: MixupPlan, inputs: Tensor) -> Tensor:
    """The rows of `plan`, mixed from `inputs`, or from the inputs that are made of these pixels."""
    if inputs.dtype != torch.uint8:
        return plan.apply(inputs)
    rows, plan = plan.on_own_rows()
    return plan.apply(to_inputs(inputs.index_select(0, rows)))


def _within(rows: NDArray[np.int64], part: slice) -> NDArray[np.bool_]:
    return np.asarray((rows >= part.start) & (rows < part.stop))
