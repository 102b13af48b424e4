"""Trainings in float64 that W processes do together, each case in turn; run by `test_parallel.py` beside it."""

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

import ndcl.data.loading.loader
import ndcl.parallel.gradient_sum
import ndcl.parallel.mixup_inputs
import ndcl.training.step
import ndcl.training.training
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithms import ALGORITHMS, build_algorithm
from ndcl.architectures import ARCHITECTURES, Architecture
from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.data.transforms import to_inputs
from ndcl.errors import NonFiniteLossError
from ndcl.mixing import MODES, Draws, MixupPlan
from ndcl.models import BACKBONES, network_of
from ndcl.parallel import Group
from ndcl.parallel.gradient_sum import GradientSum
from ndcl.parallel.mixup_inputs import Exchange
from ndcl.training import CrossValidation, build_training, train
from tests.made.made_blocks import Blocks
from tests.made.made_photos import make_photos
from tests.made.made_store import make_store

FETCHED = ("ndcl, set", "images, ndcl", "photos, ndcl", "fewer rows than workers", "images, ndcl/micro")
"""Cases that are also run with the exchange of many workers."""
SHARDED = (
    *("ndcl, set", "images, ndcl", "images, ndcl/micro", "fewer rows than workers", "frozen stage"),
    *("cross-validation", "blocks/recomputed", "images, features", "images, features/micro"),
    *("features, fewer rows than workers", "features, recomputed", "recipe, adamw", "recipe, sgd"),
    *("one look at the target", "timm", "lora", "coral", "dann", "rsc", "mixup", "boda"),
    *("tau_norm", "crt", "mtl", "transfer"),
    *("own networks, clipped", "head first", "weights decay", "averaged, ema", "averaged, swad"),
)
"""Cases that are also run with parameters in parts."""
IN_PARTS = tuple(name for name in ALGORITHMS if ALGORITHM_CONFIGS[name]().context is None)
"""Algorithms that don't need whole batches on one worker."""
IN_PIECES = ("ndcl, set", "images, ndcl", "images, features", *IN_PARTS)
"""Cases that are also run in micro-batches."""
SHARDINGS = ("none", "full")
DOMAINS = ("art", "clip", "photo", "quick", "real", "sketch")
NUM_CLASSES = 3
Result = dict[str, Any]


def make_data(folder: Path) -> None:
    """Vectors and images of 5 source domains, so that 5 rows of each are 25, and photographs of 2."""
    counts = np.full((len(DOMAINS), NUM_CLASSES), 8)
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
    made = {name: config_of(folder, "vectors", {"name": name}) for name in IN_PARTS}
    made |= {f"ndcl, {mode}": config_of(folder, "vectors", ndcl | {"mixup_mode": mode}) for mode in MODES}
    made |= {f"{name}, ndcl": config_of(folder, name, ndcl) for name in ("images", "photos")}
    at_features = ndcl | {"mixup_at": "features", "cross_entropy": "rows", "logit_adjustment": 1.0}
    made |= {f"{name}, features": config_of(folder, name, at_features) for name in ("images", "vectors")}
    made["features, fewer rows than workers"] = config_of(folder, "photos", at_features, batch_size=1, num_steps=6)
    made["features, recomputed"] = config_of(
        folder, "vectors", at_features, model={"backbone": "blocks", "dropout": 0.2}, activation_checkpointing=True
    )
    for name in ("adamw", "sgd"):
        recipe = {"name": name, "learning_rate": 0.05, "weight_decay": 0.1, "gradient_clip_norm": 0.05}
        recipe |= {"schedule": "cosine", "warmup_steps": 2}
        made[f"recipe, {name}"] = config_of(folder, "images", ndcl, optimizer=recipe)
    spoiled = {"optimizer": {"learning_rate": 0.3}, "num_steps": 8, "evaluate_target": "selected"}
    made["one look at the target"] = config_of(folder, "vectors", ndcl, **spoiled)
    recipe = {"name": "adamw", "weight_decay": 0.5, "weight_decay_of": "weights"}
    clipped = {"learning_rate": 0.01, "gradient_clip_norm": 0.05}
    model = {"backbone": "small_cnn", "dropout": 0.2, "head_warmup_steps": 2}
    made["own networks, clipped"] = config_of(folder, "images", {"name": "self_reg"}, optimizer=clipped)
    made["head first"] = config_of(folder, "images", ndcl, optimizer=clipped, model=model)
    grouped = {"backbone": "resnet18", "norm": "group"}
    made["group norm"] = config_of(folder, "photos", ndcl, model=grouped, num_steps=2, batch_size=2)
    made["group norm/micro"] = dataclasses.replace(made["group norm"], micro_batch_size=2)
    made["weights decay"] = config_of(folder, "images", ndcl, optimizer=recipe)
    for kind in ("ema", "swad"):
        averaged = {"name": kind, "decay": 0.5, "start_patience": 2, "end_patience": 2}
        made[f"averaged, {kind}"] = config_of(
            folder, "images", ndcl, averaging=averaged, num_steps=12, evaluate_target="selected"
        )
    made["pooled"] = config_of(folder, "vectors", ndcl | {"frequencies": "pooled", "hardness": 0.3})
    # 2 rows on up to 3 workers: one has none at all
    made["fewer rows than workers"] = config_of(folder, "photos", ndcl | {"mixup": 1.0}, batch_size=1, num_steps=6)
    made["cross-validation"] = dataclasses.replace(made["ndcl"], select_by=("leave_one_domain_out_accuracy",))
    stages = {"optimizer": {"layer_decay": 0.7}, "model": {"backbone": "small_cnn", "freeze_stages": 1}}
    made["frozen stage"] = config_of(folder, "images", ndcl, **stages)
    made["blocks"] = config_of(folder, "vectors", ndcl, model={"backbone": "blocks", "dropout": 0.2})
    made["blocks/recomputed"] = dataclasses.replace(made["blocks"], activation_checkpointing=True)
    vit = {"backbone": "timm:test_vit", "dropout": 0.2}
    photos = {"name": "photos", "folder": str(folder), "target": "photo", "image_size": 32}
    # the gradient of a key's bias is 0 but for rounding, which Adam would make as large as any other
    sgd = {"name": "sgd", "learning_rate": 0.05}
    made["timm"] = config_of(folder, "photos", ndcl, model=vit, data=photos, num_steps=2, optimizer=sgd)
    lora = vit | {"train": "lora", "lora_rank": 2}
    made["lora"] = config_of(folder, "photos", ndcl, model=lora, data=photos, num_steps=2, optimizer=sgd)
    micro = {name: dataclasses.replace(made[name], micro_batch_size=4) for name in IN_PIECES}
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
    averages = [fold.average.weights() for fold in folds if fold.average is not None]
    averaged = [_whole(value).double().flatten() for each in averages for value in each.values()]
    return {"parameters": torch.cat([parameters, *averaged]), "evaluations": evaluations}


def _whole(parameter: Tensor) -> Tensor:
    return (parameter.full_tensor() if isinstance(parameter, DTensor) else parameter).detach()


def broken(folder: Path) -> dict[str, Result]:
    """The same training with one part of it broken on purpose."""
    made = cases(folder)
    in_parts = dataclasses.replace(made[unbroken("")], sharding="full")
    return {
        name: _run_with(patch, in_parts if "parts" in name else made[unbroken(name)]) for name, patch in BROKEN.items()
    }


def unbroken(name: str) -> str:
    """The case that a part of `BROKEN` is broken of."""
    return "coral" if "features" in name else "images, ndcl"


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


def _rolled_features() -> Any:
    gather = Group.gather

    def rolled(self: Group, rows: Tensor, total: int) -> Tensor:
        outputs = gather(self, rows, total)
        return torch.cat([outputs[:, :NUM_CLASSES], outputs[:, NUM_CLASSES:].roll(1, 0)], dim=1)

    return mock.patch.object(Group, "gather", rolled)


def _rolled_inputs() -> Any:
    inputs_for = Exchange.inputs_for

    def rolled(self: Exchange, plan: MixupPlan) -> tuple[Tensor, MixupPlan]:
        inputs, own = inputs_for(self, plan)
        return inputs.roll(1, 0), own

    return mock.patch.object(Exchange, "inputs_for", rolled)


def _dropped_by_worker() -> Any:
    keys = ndcl.training.step.row_keys
    return mock.patch.object(ndcl.training.step, "row_keys", lambda seed, *rest: keys(seed + dist.get_rank(), *rest))


BROKEN: dict[str, Callable[[], Any]] = {
    "gradients averaged instead of summed": _averaged,
    "gradients of parts averaged": lambda: mock.patch.object(FSDPModule, "set_gradient_divide_factor"),
    "gradients not summed": _unsummed,
    "each worker's plan by its own seed": _own_seed,
    "logits in another order": _rolled_logits,
    "features in another order": _rolled_features,
    "inputs in another order": _rolled_inputs,
    "dropout by worker": _dropped_by_worker,
}


def resumed(folder: Path, checkpoint_folder: Path, num_steps: int, sharding: str) -> Result:
    """By `train`, from the newest checkpoint there, which several workers write and take, whole or in parts."""
    config = config_of(folder, "vectors", {"name": "ndcl"}, num_steps=num_steps, sharding=sharding)
    evaluations = [evaluation.to_dict() for evaluation in train(config, checkpoint_folder)]
    newest = content.newest(checkpoint_folder)
    assert newest is not None
    state, _ = content.read(newest)
    return {"evaluations": evaluations, "network": state["network"], "best": state["best"]["network"]}


def cross_validated(folder: Path, checkpoint_folder: Path, sharding: str) -> list[dict[str, Any]]:
    """By `train`, in two runs of which the second resumes from the first's checkpoint."""
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
        mock.patch.dict(ARCHITECTURES, {"blocks": Architecture(needs_images=False)}),
        mock.patch.object(ndcl.parallel.mixup_inputs, "to_inputs", lambda x: to_inputs(x).double()),
        mock.patch.object(ndcl.data.loading.loader, "to_inputs", lambda x: to_inputs(x).double()),
        mock.patch.object(ndcl.training.training, "network_of", lambda *arguments: network_of(*arguments).double()),
        mock.patch.object(
            ndcl.training.training, "build_algorithm", lambda *arguments: build_algorithm(*arguments).double()
        ),
    ):
        yield


def worker(rank: int, world_size: int, data: Path, out: Path, checkpoint_folder: Path) -> None:
    """One of the processes: all cases in turn, what came out saved under its rank."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=world_size)
    # buckets of a few parameters each
    with float64(), mock.patch.object(ndcl.parallel.gradient_sum, "BUCKET_BYTES", 500):
        results: dict[str, Any] = {name: run(config) for name, config in cases(data).items()}
        results["broken"] = broken(data)
        with mock.patch.object(ndcl.parallel.mixup_inputs, "MOST_TO_ALL", 1):
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
