"""What an algorithm can't be run in is refused in one line."""

from typing import Any

import pytest

from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithm_configs.gradients import GRADIENT_OF_EACH_DOMAIN, SECOND_DERIVATIVES
from ndcl.compatibility import require_steps
from ndcl.config import TrainConfig
from ndcl.errors import UserError


def config_of(name: str, **values: Any) -> TrainConfig:
    base: dict[str, Any] = {"data": {"name": "digits", "target": "scan"}, "algorithm": {"name": name}}
    return TrainConfig.from_dict(base | values)


def with_need(need: str) -> list[str]:
    return sorted(name for name, config in ALGORITHM_CONFIGS.items() if need in config.needs)


@pytest.mark.parametrize("name", with_need(GRADIENT_OF_EACH_DOMAIN))
def test_gradients_of_domains_are_refused_in_parts(name: str) -> None:
    with pytest.raises(UserError, match=f"^sharding: {name} compares whole gradients .*; set it to none$"):
        config_of(name, sharding="full")


@pytest.mark.parametrize("key", ["compile", "activation_checkpointing"])
@pytest.mark.parametrize("name", with_need(SECOND_DERIVATIVES))
def test_second_derivatives_are_refused_through_a_network_that_is_changed(name: str, key: str) -> None:
    with pytest.raises(UserError, match=f"^{key}: {name} differentiates twice, .*; set it to false$"):
        config_of(name, **{key: True})
    config_of("erm", **{key: True})


CONTEXTUAL = sorted(name for name, config in ALGORITHM_CONFIGS.items() if config().context is not None)


@pytest.mark.parametrize("name", CONTEXTUAL)
def test_whole_batches_are_refused_in_pieces(name: str) -> None:
    with pytest.raises(UserError, match=f"^micro_batch_size: {name} shows each row .*; set it to null$"):
        config_of(name, micro_batch_size=4)
    require_steps(config_of(name), on_several=False)
    with pytest.raises(UserError, match=f"^algorithm.name: {name} shows each row .*; train with one worker, or"):
        require_steps(config_of(name), on_several=True)


@pytest.mark.parametrize("name", CONTEXTUAL)
def test_another_channel_is_refused_for_a_backbone_of_vectors(name: str) -> None:
    with pytest.raises(UserError, match=r"^model.backbone: the algorithm gives images another channel"):
        require_steps(config_of(name, model={"backbone": "mlp"}), on_several=False)
