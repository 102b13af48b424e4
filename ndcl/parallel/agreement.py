"""A question that each worker answers for itself, and all act upon after the same step."""

from collections import deque
from collections.abc import Callable

import torch

from ndcl.parallel.group import Group

LAG = 2
"""Steps from a worker's yes until all know it."""


class Agreement:
    """Whether any worker has said yes, told to all workers after the same step: the `LAG`-th after it was said.

    The answers of a step are summed while the next steps run. So no worker waits for the others, and a GPU's host stays
    at most `LAG` steps ahead of its device, whose queue never runs empty. A single worker knows at once.
    """

    def __init__(self, group: Group, device: torch.device) -> None:
        """`device`: where the collectives of `group` take place."""
        self._group, self._device = group, device
        self._pending: deque[Callable[[], bool]] = deque()

    def __call__(self, says_yes: bool) -> bool:
        """Add this worker's answer for the step that is done; all workers must call it after the same steps."""
        if not self._group.is_several:
            return says_yes
        self._pending.append(self._summed(says_yes))
        return self._pending.popleft()() if len(self._pending) > LAG else False

    def _summed(self, says_yes: bool) -> Callable[[], bool]:
        """Start the sum of all answers; what is returned waits for it."""
        number = torch.full((1,), float(says_yes), device=self._device)
        wait = self._group.start_sum(number)
        if self._device.type == "cpu":

            def sum_on_cpu() -> bool:
                wait()
                return bool(number.item() > 0)

            return sum_on_cpu
        wait()  # makes the device's queue wait
        copy = torch.empty(1, pin_memory=True).copy_(number, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()

        def result() -> bool:
            done.synchronize()
            return bool(copy.item() > 0)

        return result


def agreed(question: Callable[[], bool], group: Group, device: torch.device) -> Callable[[], bool]:
    """A question to be asked by all workers after the same steps, with an answer that is the same for all."""
    agreement = Agreement(group, device)
    return lambda: agreement(question())
