"""Trainings in float64 that W processes do together, each case in turn; run by `tests/ndcl/test_parallel.py`."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

import ndcl.data.loader
import ndcl.exchange
import ndcl.gradients
import ndcl.step
import ndcl.training
from ndcl import checkpoints
from ndcl.algorithms import ALGORITHMS
from ndcl.config import TrainConfig
from ndcl.cross_validation import CrossValidation
from ndcl.data.transforms import to_inputs
from ndcl.errors import NonFiniteLossError
from ndcl.exchange import Exchange
from ndcl.gradients import GradientSum
from ndcl.mixing import MODES, Draws, MixupPlan
from ndcl.models import BACKBONES, build_network
from ndcl.parallel import Group
from ndcl.training import build_training, train
from tests.ndcl.made_blocks import Blocks
from tests.ndcl.made_photos import make_photos
from tests.ndcl.made_store import make_store

FETCHED = ("ndcl, set", "images, ndcl", "photos, ndcl", "fewer rows than workers", "images, ndcl/micro")
"""Cases that are also run with the exchange of many workers."""
SHARDED = (
    *("ndcl, set", "images, ndcl", "images, ndcl/micro", "fewer rows than workers", "frozen stage"),
    *("cross-validation", "blocks/recomputed"),
)
"""Cases that are also run with parameters in parts."""
SHARDINGS = ("none", "full")
DOMAINS = ("art", "clip", "photo", "quick", "real", "sketch")
Result = dict[str, Any]


def make_data(folder: Path) -> None:
    """Vectors and images of 5 source domains, so that 5 rows of each are 25, and photographs of 2."""
    counts = np.full((len(DOMAINS), 3), 8)
    make_store(folder / "vectors", counts, domains=DOMAINS, shape=(6,))
    make_store(folder / "images", counts, domains=DOMAINS, shape=(9, 10, 3))
    make_photos(folder / "photos", "raw")


def config_of(folder: Path, name: str, algorithm: dict[str, Any], **values: Any) -> TrainConfig:
    backbone = {"backbone": "small_cnn"} if name == "images" else {"backbone": "mlp", "mlp_width": 8, "mlp_depth": 3}
    base: dict[str, Any] = {
        "data": {"name": name, "folder": str(folder), "target": "photo", "standardize": name == "vectors"},
        "algorithm": algorithm,
        "imbalance": {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2},
        "model": {**backbone, "dropout": 0.2},
        # a decay, without which Adam would hide a factor on the gradient
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.05},
        "batch_size": 5,
        "num_steps": 4,
        "evaluate_every": 2,
        "oracle": True,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def cases(folder: Path) -> dict[str, TrainConfig]:
    """By name; in a name `x/micro` the same training as `x`, in micro-batches, and in `x/sharded` in parts."""
    ndcl = {"name": "ndcl"}
    made = {name: config_of(folder, "vectors", {"name": name}) for name in ALGORITHMS}
    made |= {f"ndcl, {mode}": config_of(folder, "vectors", ndcl | {"mixup_mode": mode}) for mode in MODES}
    made |= {f"{name}, ndcl": config_of(folder, name, ndcl) for name in ("images", "photos")}
    # 2 rows on up to 3 workers: one has none at all
    made["fewer rows than workers"] = config_of(folder, "photos", ndcl | {"mixup": 1.0}, batch_size=1, num_steps=6)
    made["cross-validation"] = dataclasses.replace(made["ndcl"], select_by=("leave_one_domain_out_accuracy",))
    stages = {"optimizer": {"layer_decay": 0.7}, "model": {"backbone": "small_cnn", "freeze_stages": 1}}
    made["frozen stage"] = config_of(folder, "images", ndcl, **stages)
    made["blocks"] = config_of(folder, "vectors", ndcl, model={"backbone": "blocks", "dropout": 0.2})
    made["blocks/recomputed"] = dataclasses.replace(made["blocks"], activation_checkpointing=True)
    micro = {name: dataclasses.replace(made[name], micro_batch_size=4) for name in ("erm", "ndcl, set", "images, ndcl")}
    made |= {f"{name}/micro": config for name, config in micro.items()}
    sharded = {name: dataclasses.replace(made[name], sharding="full") for name in SHARDED}
    return made | {f"{name}/sharded": config for name, config in sharded.items()}


def in_single_precision(folder: Path) -> dict[str, Result]:
    """By precision and sharding. In float64, as the other cases are run, autocasting does nothing."""
    config = config_of(folder, "images", {"name": "ndcl"})
    kinds = [("fp32", "none"), ("bf16", "none"), ("bf16", "full")]
    return {
        f"{precision}, {sharding}": run(dataclasses.replace(config, precision=precision, sharding=sharding))
        for precision, sharding in kinds
    }


def run(config: TrainConfig) -> Result:
    training = build_training(config)
    evaluations = [evaluation.to_dict() for evaluation in training.evaluations()]
    folds = training.folds.values() if isinstance(training, CrossValidation) else [training]
    parameters = torch.cat([_whole(p).flatten() for fold in folds for p in fold.network.parameters()])
    return {"parameters": parameters, "evaluations": evaluations}


def _whole(parameter: Tensor) -> Tensor:
    return (parameter.full_tensor() if isinstance(parameter, DTensor) else parameter).detach()


def broken(folder: Path) -> dict[str, Result]:
    """The same training with one part of it broken on purpose."""
    config = config_of(folder, "images", {"name": "ndcl"})
    in_parts = dataclasses.replace(config, sharding="full")
    return {name: _run_with(patch, in_parts if "parts" in name else config) for name, patch in BROKEN.items()}


def _run_with(patch: Callable[[], Any], config: TrainConfig) -> Result:
    with patch():
        return run(config)


def _averaged() -> Any:
    finish = GradientSum.finish

    def average(self: GradientSum) -> None:
        finish(self)
        for bucket in self._buckets:
            bucket.flat.div_(dist.get_world_size())

    return mock.patch.object(GradientSum, "finish", average)


def _unsummed() -> Any:
    return mock.patch.object(Group, "start_sum", return_value=int)


def _own_seed() -> Any:
    from_seed = Draws.from_seed
    return mock.patch.object(
        Draws, "from_seed", lambda quotas, mixup, seed, step: from_seed(quotas, mixup, seed + dist.get_rank(), step)
    )


def _rolled_logits() -> Any:
    gather = Group.gather
    return mock.patch.object(Group, "gather", lambda self, rows, total: gather(self, rows, total).roll(1, 0))


def _rolled_inputs() -> Any:
    inputs_for = Exchange.inputs_for

    def rolled(self: Exchange, plan: MixupPlan) -> tuple[Tensor, MixupPlan]:
        inputs, own = inputs_for(self, plan)
        return inputs.roll(1, 0), own

    return mock.patch.object(Exchange, "inputs_for", rolled)


def _dropped_by_worker() -> Any:
    keys = ndcl.step.row_keys
    return mock.patch.object(ndcl.step, "row_keys", lambda seed, *rest: keys(seed + dist.get_rank(), *rest))


BROKEN: dict[str, Callable[[], Any]] = {
    "gradients averaged instead of summed": _averaged,
    "gradients of parts averaged": lambda: mock.patch.object(FSDPModule, "set_gradient_divide_factor"),
    "gradients not summed": _unsummed,
    "each worker's plan by a seed of its own": _own_seed,
    "logits in another order": _rolled_logits,
    "inputs in another order": _rolled_inputs,
    "dropout by worker": _dropped_by_worker,
}


def resumed(folder: Path, checkpoint_folder: Path, num_steps: int, sharding: str) -> Result:
    """By `train`, from the newest checkpoint there, which several workers write and take, whole or in parts."""
    config = config_of(folder, "vectors", {"name": "ndcl"}, num_steps=num_steps, sharding=sharding)
    evaluations = [evaluation.to_dict() for evaluation in train(config, checkpoint_folder)]
    newest = checkpoints.newest(checkpoint_folder)
    assert newest is not None
    state, _ = checkpoints.read(newest)
    return {"evaluations": evaluations, "network": state["network"], "best": state["best"]["network"]}


def cross_validated(folder: Path, checkpoint_folder: Path, sharding: str) -> list[dict[str, Any]]:
    """By `train`, in two runs of which the second goes on from the first's checkpoint."""
    whole = dataclasses.replace(cases(folder)["cross-validation"], sharding=sharding)
    runs = [dataclasses.replace(whole, num_steps=steps) for steps in (2, 4)]
    return [evaluation.to_dict() for config in runs for evaluation in train(config, checkpoint_folder)]


def diverged(folder: Path) -> str:
    config = config_of(folder, "vectors", {"name": "ndcl"}, optimizer={"learning_rate": 1e308})
    try:
        run(config)
    except NonFiniteLossError as error:
        return str(error)
    return "none"


@contextmanager
def float64() -> Iterator[None]:
    """Networks and inputs in float64; pixels are exchanged as they are, and made inputs of by each worker."""
    with (
        mock.patch.dict(BACKBONES, {"blocks": Blocks}),
        mock.patch.object(ndcl.exchange, "to_inputs", lambda x: to_inputs(x).double()),
        mock.patch.object(ndcl.data.loader, "to_inputs", lambda x: to_inputs(x).double()),
        mock.patch.object(ndcl.training, "build_network", lambda *arguments: build_network(*arguments).double()),
    ):
        yield


def worker(rank: int, world_size: int, data: Path, out: Path, checkpoint_folder: Path) -> None:
    """One of the processes: all cases in turn, what came out saved under its rank."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=world_size)
    # buckets of a few parameters each
    with float64(), mock.patch.object(ndcl.gradients, "BUCKET_BYTES", 500):
        results: dict[str, Any] = {name: run(config) for name, config in cases(data).items()}
        results["broken"] = broken(data)
        with mock.patch.object(ndcl.exchange, "MOST_TO_ALL", 1):
            results |= {f"{name}/fetched": run(cases(data)[name]) for name in FETCHED}
        results["diverged"] = diverged(data)
        results["cross-validated"] = {name: cross_validated(data, out / "folds" / name, name) for name in SHARDINGS}
        if world_size == 2:  # whose checkpoints the others resume
            for name in SHARDINGS:
                resumed(data, checkpoint_folder / name, 2, name)
        else:
            if rank == 0:
                shutil.copytree(checkpoint_folder, out / "checkpoints")
            dist.barrier()
            results["resumed"] = {name: resumed(data, out / "checkpoints" / name, 4, name) for name in SHARDINGS}
    results |= in_single_precision(data)
    torch.save(results, out / f"{rank}.pt")
    dist.destroy_process_group()
