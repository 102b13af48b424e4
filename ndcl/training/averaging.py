"""Averages of the weights along a training: they are evaluated, selected and exported in place of the newest ones.

Every parameter is averaged, and BatchNorm's running mean and variance as the parameters are; whole numbers are the
newest ones. Each worker averages what it holds, its parts or all, so that nothing is exchanged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ndcl.config import AveragingConfig
from ndcl.parallel.sharding import local_part, part_like

Weights = dict[str, Tensor]
"""As a network's state dict."""


class Averaging(Protocol):
    """One way to average."""

    needs_loss: bool
    """Whether `observe` wants the loss of the newest weights on the source domains' validation images."""

    def update(self) -> None:
        """Take in the network's weights after a step."""

    def observe(self, loss: float) -> None:
        """A checkpoint is reached; `loss` is NaN if it is not needed."""

    def weights(self) -> Weights:
        """The average at the checkpoint that was reached last."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint: tensors and numbers, in nested dictionaries and lists."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state in which all tensors are whole."""


def build_averaging(network: nn.Module, config: AveragingConfig) -> Averaging | None:
    """What averages the weights of `network`, which is where its training has it; None if nothing is averaged."""
    if config.name == "none":
        return None
    return Ema(network, config.decay) if config.name == "ema" else Swad(network, config)


class Ema:
    """An exponential moving average: after step t it moves by 1 - min(decay, (1 + t) / (10 + t)) towards the weights.

    The rising decay is that of TensorFlow's ExponentialMovingAverage: early weights are soon forgotten.
    """

    needs_loss = False

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._num_steps = network, decay, 0
        self._average = cloned(network.state_dict())

    def update(self) -> None:
        """Move the average towards the network's weights."""
        self._num_steps += 1
        decay = min(self._decay, (1 + self._num_steps) / (10 + self._num_steps))
        move(self._average, self._network.state_dict(), 1 - decay)

    def observe(self, loss: float) -> None:
        """Nothing happens at a checkpoint."""

    def weights(self) -> Weights:
        """The average of now."""
        return self._average

    def state(self) -> dict[str, Any]:
        """The average, and over how many steps it is."""
        return {"average": self._average, "num_steps": self._num_steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._num_steps = state["num_steps"]
        self._average = placed(state["average"], self._network.state_dict())


@dataclass(frozen=True)
class _Stretch:
    """The steps from one checkpoint to a later one."""

    num_steps: int
    mean: Weights
    """Of the weights after each of these steps."""
    loss: float
    """On validation images, at its end; infinite for a stretch of several, all of which lie above the threshold."""
    num_checkpoints: int = 1

    def to_state(self) -> dict[str, Any]:
        return dict(vars(self))


class Swad:
    """Stochastic weight averaging, densely (Cha et al. 2021, Algorithm 1): the mean over the valley of the loss.

    It is the mean of the weights after each step of the valley. The valley begins with the stretch of steps up to a
    checkpoint whose validation loss the next N_s - 1 do not fall below. It ends at the last checkpoint whose loss is at
    most the threshold, r times the mean loss of these N_s, before N_e in a row exceed it; else at the training's end.
    Until it has begun, the checkpoint with the lowest loss counts as its beginning. What may yet be left out lies in
    the host's memory, or if the network is in parts, in parts beside it.
    """

    needs_loss = True

    def __init__(self, network: nn.Module, config: AveragingConfig) -> None:
        self._network, self._config = network, config
        self._running: Weights | None = None
        """Mean over the steps since the last checkpoint, on the device."""
        self._num_steps = 0
        """Of `_running`."""
        self._valley: _Stretch | None = None
        """What belongs to it for certain."""
        self._pending: list[_Stretch] = []
        """What belongs to it if it goes on."""
        self._threshold: float | None = None
        """Known once it has begun."""
        self._is_over = False

    def update(self) -> None:
        """Take in the network's weights, unless the valley lies behind."""
        if self._is_over:
            return
        self._num_steps += 1
        if self._running is None:
            self._running = cloned(self._network.state_dict())
        else:
            move(self._running, self._network.state_dict(), 1 / self._num_steps)

    def observe(self, loss: float) -> None:
        """Decide whether the steps since the last checkpoint, at whose end the loss is this, lie in the valley."""
        if self._is_over or self._running is None:
            return
        stretch = _Stretch(self._num_steps, aside(self._running), loss)
        self._running, self._num_steps = None, 0
        if self._threshold is None and self._pending and loss < self._pending[0].loss:
            self._pending = []
        self._pending.append(stretch)
        if self._threshold is None and len(self._pending) == self._config.start_patience:
            self._threshold = self._config.tolerance * fmean(each.loss for each in self._pending)
        if self._threshold is not None:
            self._settle(self._threshold)

    def _settle(self, threshold: float) -> None:
        inside = [number for number, each in enumerate(self._pending, start=1) if each.loss <= threshold]
        settled, rest = self._pending[: max(inside, default=0)], self._pending[max(inside, default=0) :]
        self._valley = joined([*filter(None, [self._valley]), *settled]) if settled else self._valley
        self._pending = [joined(rest)] if rest else []
        if sum(each.num_checkpoints for each in self._pending) >= self._config.end_patience:
            self._pending, self._is_over = [], True

    def weights(self) -> Weights:
        """The mean as if the training ended at the last checkpoint."""
        return joined([*filter(None, [self._valley]), *self._pending]).mean

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {
            "running": self._running,
            "num_steps": self._num_steps,
            "valley": self._valley and self._valley.to_state(),
            "pending": [each.to_state() for each in self._pending],
            "threshold": self._threshold,
            "is_over": self._is_over,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        like = self._network.state_dict()

        def stretch(values: Mapping[str, Any]) -> _Stretch:
            return _Stretch(**{**values, "mean": aside(placed(values["mean"], like))})

        self._running = state["running"] and placed(state["running"], like)
        self._num_steps = state["num_steps"]
        self._valley = state["valley"] and stretch(state["valley"])
        self._pending = [stretch(each) for each in state["pending"]]
        self._threshold, self._is_over = state["threshold"], state["is_over"]


def joined(stretches: Iterable[_Stretch]) -> _Stretch:
    """Stretches that follow each other, at least one, as one; they are left as they are."""
    return reduce(_joined, stretches)


def _joined(first: _Stretch, second: _Stretch) -> _Stretch:
    num_steps, mean = first.num_steps + second.num_steps, cloned(first.mean)
    move(mean, second.mean, second.num_steps / num_steps)
    return _Stretch(num_steps, mean, float("inf"), first.num_checkpoints + second.num_checkpoints)


def cloned(weights: Mapping[str, Tensor]) -> Weights:
    """A copy of `weights` where they are."""
    return {key: value.detach().clone() for key, value in weights.items()}


@torch.no_grad()
def move(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], share: float) -> None:
    """Move the floats of `average` by a share of the way to those of `weights`, in place; whole numbers all the way."""
    floats = [key for key, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_(
        [local_part(average[key]) for key in floats], [local_part(weights[key]) for key in floats], share
    )
    for key, value in average.items():
        if not value.is_floating_point():
            value.copy_(weights[key])


def aside(weights: Mapping[str, Tensor]) -> Weights:
    """`weights` in the host's memory; parts of a network stay where they are."""
    return {key: value if local_part(value) is not value else value.cpu() for key, value in weights.items()}


def placed(weights: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Weights:
    """Whole `weights` as copies, placed and, if need be, cut as those of a network are."""
    cut = ((key, part_like(value, like[key])) for key, value in weights.items())
    return {
        key: value if local_part(value) is not value else value.to(like[key].device, copy=True) for key, value in cut
    }
