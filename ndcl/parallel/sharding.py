"""Parameters, gradients and the optimiser's state spread over the workers, for networks that one GPU can't hold.

By FSDP2 (Zhao et al. 2023, arXiv 2304.11277; `torch.distributed.fsdp.fully_shard`): of every parameter each of W
workers keeps a W-th, cut along the first dimension. A unit's parameters are gathered when a forward or backward pass
reaches it, and freed after it; gradients are summed, each worker receiving its part of the sum. In hybrid sharding the
workers of one node do so, and a part's gradient is then summed over the nodes. In bf16 parameters are rounded before
they are gathered, and gradients are summed in float32.
"""

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from ndcl.blocks import blocks
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.models import Network
from ndcl.models.backbone import Backbone
from ndcl.parallel.group import Group

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(config: TrainConfig, group: Group) -> bool:
    """Whether the workers of `group` keep parts: one alone keeps everything."""
    return config.sharding != "none" and group.is_several


def place(network: Network, device: torch.device, group: Group, config: TrainConfig) -> None:
    """Move `network` to `device`, or this worker's part of it, if `config` asks for that."""
    if is_sharded(config, group):
        shard(network, device, group, config)
    else:
        network.to(device)


def shard(network: Network, device: torch.device, group: Group, config: TrainConfig) -> None:
    """Move `network` to `device` unit by unit, of which this worker of `group` keeps its part.

    A unit is a block, or where a stage has none, one of its modules; what is left, the head for one, is a unit too.
    Raises UserError for hybrid sharding of workers that are spread over nodes unevenly.
    """
    # takes half a second, which other trainings need not wait
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = _mesh_over_nodes(device, group) if config.sharding == "hybrid" else _mesh(device, group)
    in_bf16 = config.precision == "bf16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if in_bf16 else None,
        reduce_dtype=torch.float32 if in_bf16 else None,
        cast_forward_inputs=False,  # autocast does, and leaves in float32 what has to be
    )
    if in_bf16:
        _keep_statistics_in_full(network)
    network.to(memory_format=torch.contiguous_format)  # FSDP2 knows no other, and cuts nothing else
    for unit in (*units(network), network):
        # the last one's parameters, too, are let go of after each pass: else they would be no parts when saved
        sharded = fully_shard(unit, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        # gradients at the logits are those of the whole loss, so the workers' are summed and not averaged, and
        # without the reduction that multiplies beforehand, which gloo does not know
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def _mesh(device: torch.device, group: Group) -> DeviceMesh:
    process_group = group.process_group or dist.group.WORLD
    assert process_group is not None, "torch.distributed is not initialised"
    return DeviceMesh.from_group(process_group, device.type)


def _mesh_over_nodes(device: torch.device, group: Group) -> DeviceMesh:
    """[nodes, workers of a node]: parts lie within a node, whose links are fast, and gradients are summed over both."""
    assert group.process_group is None, "a mesh in two dimensions is one of all processes"
    rank, size = group.share.rank, group.share.world_size
    # torchrun and Ray Train set both, and number the workers node by node
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    own = torch.tensor([[local_size, int(os.environ.get("LOCAL_RANK", rank))]], device=device)
    places: list[list[int]] = group.gather(own, size).tolist()
    if any(place != [local_size, number % local_size] for number, place in enumerate(places)):
        found = ", ".join(str(count) for count, local_rank in places if local_rank == 0)
        raise UserError(f"sharding: hybrid needs as many workers on each node, found {found}; set it to full")
    if local_size == 1:
        raise UserError("sharding: hybrid needs several workers on each node, found one; set it to full or none")
    ranks = torch.arange(size).view(-1, local_size)
    return DeviceMesh(device.type, ranks, mesh_dim_names=("replicate", "shard"))


def _keep_statistics_in_full(network: Network) -> None:
    """Have BatchNorm compute in float32 with scale and shift that arrive in bf16: its statistics stay as they are."""
    for layer in network.batchnorms:
        layer.forward = partial(_batch_norm, layer)  # type: ignore[method-assign]


def _batch_norm(layer: BatchNorm, inputs: Tensor) -> Tensor:
    assert not layer.training, "BatchNorm of a network in parts is frozen"
    weight, bias = (None if each is None else each.float() for each in (layer.weight, layer.bias))
    outputs = functional.batch_norm(inputs, layer.running_mean, layer.running_var, weight, bias, eps=layer.eps)
    activation = getattr(layer, "act", None)  # timm has layers that do both
    return outputs if activation is None else cast(Tensor, activation(outputs))


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
    if is_part(state):
        gathered = state.full_tensor()
        return gathered.cpu() if group.is_first else None
    if isinstance(state, dict):
        return {key: whole(value, group) for key, value in state.items()}
    return [whole(value, group) for value in state] if isinstance(state, list) else state


def part_like(value: Tensor, like: Tensor) -> Tensor:
    """This worker's part of a whole `value`, if `like`, a tensor of the same shape, is such a part; else `value`."""
    if not is_part(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    # every worker has read the whole: nothing needs to be sent
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def part_from_first(value: Tensor | None, like: Tensor) -> Tensor:
    """As `part_like` of a `value` that the first worker alone has, as `whole` leaves it; all workers must call it."""
    if not is_part(like):
        assert value is not None, "what is no part is whole on every worker"
        return value
    from torch.distributed.tensor import distribute_tensor

    sent = torch.empty(like.shape, dtype=like.dtype) if value is None else value
    return distribute_tensor(sent.to(like.device), like.device_mesh, like.placements, src_data_rank=0)


def local_part(value: Tensor) -> Tensor:
    """What this worker has of a `value` that may be in parts: a tensor without the others' numbers."""
    return value.to_local() if is_part(value) else value


def is_part(value: Any) -> "TypeGuard[DTensor]":
    """Whether a value is a worker's part of a tensor: none is, before FSDP has been loaded."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)
