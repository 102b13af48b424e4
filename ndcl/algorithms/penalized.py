"""What algorithms with a penalty beside the mean cross-entropy share."""

from torch import Tensor

from ndcl.algorithms.base import Algorithm, Loss, Rows, total_of


class Penalized(Algorithm):
    """The mean cross-entropy over all rows, plus a weight times a penalty."""

    def penalty(self, rows: Rows) -> Tensor:
        """0-d, with a gradient."""
        raise NotImplementedError

    def weight(self, step: int) -> float:
        """Factor on the penalty in this step."""
        raise NotImplementedError

    def loss(self, rows: Rows) -> Loss:
        """Cross-entropy plus weighted penalty."""
        risk, penalty = rows.losses.mean(), self.penalty(rows)
        total = risk + self.weight(rows.step) * penalty
        return Loss(total=total, terms=total_of(total=total, cross_entropy=risk, penalty=penalty))


class LatePenalty(Penalized):
    """A penalty that gets its full weight at `start`, where the network's optimiser begins anew."""

    def __init__(self, *, start: int, early: float, full: float) -> None:
        super().__init__()
        self.start, self._early, self._full = start, early, full

    def weight(self, step: int) -> float:
        """The early weight, then the full one."""
        return self._full if step >= self.start else self._early

    def restarts_optimizer(self, step: int) -> bool:
        """At the start of the full penalty: its gradient has nothing to do with the moments until then."""
        return step == self.start and step > 0
