"""The mean of networks' weights."""

import pytest
import torch

from ndcl.models.mean import MeanState


def test_it_is_the_mean_of_each_weight_rounded_once() -> None:
    rng = torch.Generator().manual_seed(0)
    states = [{"w": torch.randn((3, 4), generator=rng), "n": torch.tensor(5 + k)} for k in range(3)]
    mean = MeanState()
    for state in states:
        mean.add(state)
    found = mean.state()
    for row in range(3):
        for column in range(4):
            exact = sum(float(state["w"][row, column]) for state in states) / 3
            assert found["w"][row, column] == torch.tensor(exact, dtype=torch.float32)
    assert (mean.size, found["n"].item(), found["w"].dtype) == (3, 5, torch.float32)


def test_what_is_alike_in_all_stays_what_it_is_to_the_bit() -> None:
    same, mean = torch.randn(50, generator=torch.Generator().manual_seed(1)), MeanState()
    for _ in range(7):
        mean.add({"running_var": same})
    assert torch.equal(mean.state()["running_var"], same)


def test_networks_of_other_layers_have_none() -> None:
    mean = MeanState()
    mean.add({"a": torch.ones(1)})
    with pytest.raises(AssertionError, match="other layers"):
        mean.add({"b": torch.ones(1)})
