"""Trainings of 4 processes on 2 nodes, in parts, compiled and in bf16; run by `test_layouts.py` beside it."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

import ndcl.parallel.gradient_sum
from ndcl.architectures import ARCHITECTURES, Architecture
from ndcl.blocks import blocks
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.models import BACKBONES
from ndcl.parallel import Group
from ndcl.training import Training, train
from tests.made.made_blocks import Blocks
from tests.ndcl.parallel.parallel_cases import Result, config_of, float64, run

NODES, WORKERS_PER_NODE = 2, 2
WORLD_SIZE = NODES * WORKERS_PER_NODE
LAYOUTS: dict[str, dict[str, Any]] = {
    "none": {},
    "full": {"sharding": "full"},
    "hybrid": {"sharding": "hybrid"},
    "compiled": {"compile": True},
    "compiled, recomputed": {"compile": True, "activation_checkpointing": True},
    "full, compiled": {"sharding": "full", "compile": True},
    "hybrid, compiled, recomputed": {"sharding": "hybrid", "compile": True, "activation_checkpointing": True},
    "hybrid, compiled, micro": {"sharding": "hybrid", "compile": True, "micro_batch_size": 4},
}
IN_BF16 = ("none", "full", "hybrid", "hybrid, compiled, recomputed")


def blocks_config(data: Path, **values: Any) -> TrainConfig:
    model = {"backbone": "blocks", "dropout": 0.2}
    return config_of(data, "vectors", {"name": "ndcl"}, **{"model": model, **values})


def resnet_config(data: Path, **values: Any) -> TrainConfig:
    model = {"backbone": "resnet18", "freeze_batchnorm": True}
    return config_of(data, "photos", {"name": "erm"}, model=model, num_steps=2, evaluate_every=2, **values)


@contextmanager
def made_blocks() -> Iterator[None]:
    """A backbone of that name."""
    known = mock.patch.dict(ARCHITECTURES, {"blocks": Architecture(needs_images=False)})
    with known, mock.patch.dict(BACKBONES, {"blocks": Blocks}):
        yield


@contextmanager
def traced() -> Iterator[None]:
    """What is compiled is traced alone, forwards and backwards, which takes seconds instead of a minute."""
    with made_blocks(), mock.patch.object(torch, "compile", partial(torch.compile, backend="aot_eager")):
        yield


def sums_before_each_block(config: TrainConfig) -> list[int]:
    """How many parameters' gradients are on their way when the gradient leaves each block, the last one first."""
    counts: list[int] = []
    with mock.patch.object(ndcl.parallel.gradient_sum, "BUCKET_BYTES", 1), ExitStack() as stack:
        training = Training(config)
        start = stack.enter_context(mock.patch.object(Group, "start_sum", autospec=True, side_effect=Group.start_sum))

        def before(block: nn.Module, inputs: tuple[Tensor]) -> None:
            inputs[0].register_hook(lambda gradient: counts.append(start.call_count))

        for block in blocks(training.network[0]):
            block.register_forward_pre_hook(before)
        training._step.gradient(training.batch(0), 0)
    return counts


def exchanged(config: TrainConfig) -> dict[str, set[torch.dtype]]:
    """Precisions of a step's gathered parameters, and of what its collectives sum."""
    training = Training(config)
    seen: dict[str, set[torch.dtype]] = {}

    def spy(name: str) -> Any:
        real = getattr(dist, name)

        def collective(*arguments: Any, **options: Any) -> Any:
            tensors = [each for each in (*arguments, *options.values()) if isinstance(each, Tensor)]
            seen.setdefault("sums", set()).update(tensor.dtype for tensor in tensors)
            return real(*arguments, **options)

        return mock.patch.object(dist, name, collective)

    def gathered(block: nn.Module, inputs: object) -> None:
        seen.setdefault("parameters", set()).update(parameter.dtype for parameter in block.parameters())

    for block in blocks(training.network[0]):
        block.register_forward_pre_hook(gathered)
    with ExitStack() as stack:
        # within a node, by either of its names in torch, and over the nodes
        for name in ("reduce_scatter_tensor", "reduce_scatter_single", "all_reduce"):
            if hasattr(dist, name):
                stack.enter_context(spy(name))
        training._step.gradient(training.batch(0), 0)
    return seen


def refusal(data: Path, **environment: str) -> str:
    with mock.patch.dict(os.environ, environment):
        try:
            Training(blocks_config(data, sharding="hybrid"))
        except UserError as error:
            return str(error)
    return "none"


def alone(data: Path) -> Result:
    """What one process makes of the same trainings."""
    with traced():
        results: Result = {"none, bf16": run(blocks_config(data, precision="bf16"))}
        results["resnet, bf16"] = run(resnet_config(data, precision="bf16"))
        results["resnet"] = run(resnet_config(data))
        with float64():
            results["none"] = run(blocks_config(data))
    return results


def worker(rank: int, data: Path, out: Path) -> None:
    """One of the processes: all cases in turn, what came out saved under its rank."""
    torch.set_num_threads(1)
    os.environ |= {
        "GLOO_SOCKET_IFNAME": "lo",
        "LOCAL_WORLD_SIZE": str(WORKERS_PER_NODE),
        "LOCAL_RANK": str(rank % WORKERS_PER_NODE),
    }
    dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=WORLD_SIZE)
    results: Result = {}
    with traced():
        for name in IN_BF16:
            results[f"{name}, bf16"] = run(blocks_config(data, precision="bf16", **LAYOUTS[name]))
        results["resnet, bf16"] = run(resnet_config(data, precision="bf16", sharding="hybrid"))
        results["exchanged"] = exchanged(blocks_config(data, precision="bf16", sharding="hybrid"))
        erm = dataclasses.replace(blocks_config(data), algorithm=config_of(data, "vectors", {"name": "erm"}).algorithm)
        for compiles in (False, True):
            results["sums", compiles] = sums_before_each_block(dataclasses.replace(erm, compile=compiles))
        with float64():
            results |= {name: run(blocks_config(data, **values)) for name, values in LAYOUTS.items()}
            list(train(blocks_config(data, num_steps=2, sharding="hybrid"), out / "checkpoints"))
    with made_blocks():
        results["one a node"] = refusal(data, LOCAL_WORLD_SIZE="1", LOCAL_RANK="0")
        uneven = {"LOCAL_WORLD_SIZE": "1" if rank == 3 else "3", "LOCAL_RANK": str(rank % 3)}
        results["uneven"] = refusal(data, **uneven)
    torch.save(results, out / f"{rank}.pt")
    dist.destroy_process_group()
