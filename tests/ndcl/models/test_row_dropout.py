"""Dropout by rows: whoever computes a row, and with which others, drops the same."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ndcl.models.row_dropout import RowDropout, RowKeys, row_keys, use_row_dropout

NUM_ROWS = 64


def keys_of(step: int, mixed: bool = False) -> Tensor:
    return torch.from_numpy(row_keys(0, step, mixed, NUM_ROWS))


def dropped(keys: Tensor, shape: tuple[int, ...] = (500,), p: float = 0.3, **options: bool) -> Tensor:
    state = RowKeys()
    layer = RowDropout(p, state, **options)
    state.now = keys
    return layer(torch.ones(len(keys), *shape))


def test_the_rate_and_the_mean_are_those_of_dropout() -> None:
    values = dropped(keys_of(0))
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (values == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    for dim in (0, 1):  # no row and no position is dropped markedly more often
        rate = (values == 0).float().mean(dim)
        deviation = (0.3 * 0.7 / values.shape[dim]) ** 0.5
        assert (rate - 0.3).abs().max() < 5 * deviation
        assert rate.std().item() == pytest.approx(deviation, rel=0.25)


def test_rows_drop_independently_of_each_other() -> None:
    kept = (dropped(keys_of(0)) > 0).double()
    correlation = np.corrcoef(kept.numpy())
    off_diagonal = correlation[~np.eye(NUM_ROWS, dtype=bool)]
    assert abs(off_diagonal).max() < 6 / 500**0.5


@pytest.mark.parametrize("options", [{}, {"whole_rows": True}])
def test_some_rows_alone_drop_what_they_drop_in_the_whole_batch(options: dict[str, bool]) -> None:
    keys = keys_of(3)
    whole = dropped(keys, (3, 4, 5), **options)
    parts = [dropped(part, (3, 4, 5), **options) for part in keys.split([1, 20, 43])]
    assert torch.equal(torch.cat(parts), whole)


def test_steps_passes_and_layers_drop_differently() -> None:
    first = dropped(keys_of(0))
    assert torch.equal(dropped(keys_of(0)), first)
    assert not torch.equal(dropped(keys_of(1)), first)
    assert not torch.equal(dropped(keys_of(0, mixed=True)), first)
    state = RowKeys()
    layers = RowDropout(0.3, state), RowDropout(0.3, state)
    state.now = keys_of(0)
    one, other = (layer(torch.ones(NUM_ROWS, 500)) for layer in layers)
    assert torch.equal(one, first)
    assert not torch.equal(one, other)


def test_whole_rows_are_kept_or_dropped_as_stochastic_depth_does() -> None:
    rows = dropped(keys_of(0), (3, 4), whole_rows=True).flatten(1)
    assert all(len(row.unique()) == 1 for row in rows)
    assert 0 < (rows[:, 0] == 0).sum() < NUM_ROWS


def test_torchs_own_random_numbers_are_not_used() -> None:
    state = torch.get_rng_state()
    dropped(keys_of(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_drops_in_a_network_is_replaced_and_evaluation_drops_nothing() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5)), StochasticDepth(0.2, "row"), nn.Dropout(0.0)
    )
    names = list(network.state_dict())
    keys = use_row_dropout(network)
    found = [module for module in network.modules() if isinstance(module, RowDropout)]
    assert [(layer.p, layer.whole_rows, layer.layer) for layer in found] == [(0.5, False, 1), (0.2, True, 0)]
    assert keys.num_layers == 2
    assert list(network.state_dict()) == names
    x = torch.randn(4, 5)
    assert torch.equal(network.eval()(x), network[0][0](x))
