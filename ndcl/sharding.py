"""Parameters, gradients and the optimiser's state spread over the workers, for networks that one GPU can't hold.

By FSDP2 (Zhao et al. 2023, arXiv 2304.11277; `torch.distributed.fsdp.fully_shard`): of every parameter each of W
workers keeps a W-th, cut along the first dimension. A unit's parameters are gathered when a forward or backward pass
comes to it, and let go of behind it; gradients are summed, each worker receiving its part of the sum.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ndcl.config import TrainConfig
from ndcl.models import Network
from ndcl.models.backbone import Backbone
from ndcl.parallel import Group
from ndcl.recompute import blocks


def is_sharded(config: TrainConfig, group: Group) -> bool:
    """Whether the workers of `group` keep parts: one alone keeps everything."""
    return config.sharding == "full" and group.is_several


def place(network: Network, device: torch.device, group: Group, config: TrainConfig) -> None:
    """Move `network` to `device`, or this worker's part of it, if `config` asks for that."""
    if is_sharded(config, group):
        shard(network, device, group)
    else:
        network.to(device)


def shard(network: Network, device: torch.device, group: Group) -> None:
    """Move `network` to `device` unit by unit, of which this worker of `group` keeps its part.

    A unit is a block, or where a stage has none, one of its modules; what is left, the head for one, is a unit too.
    """
    process_group = group.process_group or dist.group.WORLD
    assert process_group is not None, "torch.distributed is not initialised"
    mesh = DeviceMesh.from_group(process_group, device.type)
    network.to(memory_format=torch.contiguous_format)  # FSDP2 knows no other, and cuts nothing else
    for unit in (*units(network), network):
        # the last one's parameters, too, are let go of after each pass: else they would be no parts when saved
        sharded = fully_shard(unit, mesh=mesh, reshard_after_forward=True)
        # gradients at the logits are those of the whole loss, so the workers' are summed and not averaged, and
        # without the reduction that multiplies beforehand, which gloo does not know
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def units(network: Network) -> Iterator[nn.Module]:
    """The parts of the backbone whose parameters are gathered together."""
    for stage in cast(Backbone, network[0]).stages():
        for module in stage:
            if isinstance(module, nn.Module):
                yield from list(blocks(module)) or [module]


def whole(state: Any, group: Group) -> Any:
    """Nested dicts and lists in which parts become whole tensors in the host's memory of the first worker of `group`.

    All workers must call it; the others get None in their place. One tensor at a time is whole on the devices.
    """
    if isinstance(state, DTensor):
        gathered = state.full_tensor()
        return gathered.cpu() if group.is_first else None
    if isinstance(state, dict):
        return {key: whole(value, group) for key, value in state.items()}
    return [whole(value, group) for value in state] if isinstance(state, list) else state


def part_like(value: Tensor, like: Tensor) -> Tensor:
    """This worker's part of a whole `value`, if `like`, a tensor of the same shape, is such a part; else `value`."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    # every worker has read the whole: nothing needs to be sent
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
