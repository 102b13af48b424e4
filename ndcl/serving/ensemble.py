"""Several trained networks as one module: raw inputs to logits, and how far the members' answers are apart.

Legend: k members, n inputs, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ndcl.evaluation.ensembles import Combination, combined, disagreement
from ndcl.models.mean import MeanState
from ndcl.serving.classifier import Classifier, State


class Ensemble(nn.Module):
    """uint8 images [n, H, W, 3] or float32 vectors [n, F] to logits [n, K] and disagreement [n], in [0, 1].

    The softmax of the logits is the ensemble's answer, before its temperature.
    """

    def __init__(self, members: Sequence[Classifier], combination: Combination) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._combination = Combination(of=combination.of, scales=combination.scales)
        self.eval()

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and disagreement."""
        logits = torch.stack([member(inputs) for member in self.members])
        return combined(logits, self._combination), disagreement(logits)

    def state(self) -> State:
        """The members' own states, each name after the member's number: `0.` and so on."""
        return {
            f"{number}.{name}": value
            for number, member in enumerate(self.members)
            for name, value in member.network.state_dict().items()  # type: ignore[union-attr]
        }


def member_states(state: State, size: int) -> list[State]:
    """The states of `size` members, of what `Ensemble.state` gave."""
    parts: list[State] = [{} for _ in range(size)]
    for key, value in state.items():
        number, _, name = key.partition(".")
        parts[int(number)][name] = value
    return parts


def one_head(members: Sequence[Classifier], combination: Combination) -> Classifier | None:
    """The single head that computes what averaged linear heads do; None if these aren't such, on the same inputs.

    The mean of W_k x + b_k, each times its scale, is one linear map.
    """
    if combination.of != "logits":
        return None
    states = [member.state() for member in members]
    if any(state.keys() != states[0].keys() for state in states):
        return None  # their inputs are transformed in different ways
    heads = [name for name in states[0] if name.startswith("1.")]  # the network is a backbone and its head
    for name, value in states[0].items():
        if name not in heads and not all(torch.equal(value, other[name]) for other in states[1:]):
            return None
    scaled = zip(states, combination.scales, strict=True)
    sums = {name: torch.zeros_like(states[0][name], dtype=torch.float64) for name in heads}
    for state, scale in scaled:
        for name in heads:
            sums[name] += scale * state[name].double()
    merged = members[0]
    merged.network.load_state_dict(states[0] | {name: (value / len(states)).float() for name, value in sums.items()})
    return merged


def one_network(members: Sequence[Classifier]) -> Classifier:
    """The network whose weights are the mean of the members', all of one architecture; the first becomes it."""
    mean = MeanState()
    for member in members:
        mean.add(member.network.state_dict())
    averaged = members[0]
    averaged.network.load_state_dict(mean.state())
    return averaged
