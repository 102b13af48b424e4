"""What a GPU makes of a training: ten minutes, one command, one table, and checks of what only a GPU does.

    python benchmarks/gpu.py                            # a GPU; without one the same on the CPU, tiny
    python benchmarks/gpu.py --backbones vit_l_16:224 --rows 32 --minutes 5

Each row is a backbone in one precision, compiled or not: steps of ERM, NDCL with mixed inputs and NDCL with mixed
features on inputs that are there already, taken in turn.

- images/s: N of a batch over the median step, of each of the three
- over the floor: how much longer an NDCL step takes than (1 + M/N) passes forwards and backwards of a batch, without
  loss, mixing or optimiser; for ERM and features, than one
- features / ERM: the ratio of their steps
- MFU: floating point operations of matrix products and convolutions in an ERM step, over what the card could do
- peak: memory that torch holds in an NDCL step of mixed inputs
- syncs: waits of the host for the device in a step

Then the loader's images/s on photographs of 256 x 256, augmented on the CPU and on the device, and the checks: batches
of the prefetcher's stream are those made without one, augmentation on the device is that of the CPU, a training that
is resumed is the same bit by bit, and one that does not fit is told as out of memory. Needs torch, torchvision and
this project's `ndcl`; no Ray. timm's networks are left out where it is not installed. Exit code 1 if a check fails.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.step import AT_FEATURES, Trained, floating_point_operations, peak_flops, peak_mib
from ndcl.config import TrainConfig
from ndcl.data import StoreWriter
from ndcl.data.loading.loader import Loader
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.loading.workers import keep_freed_memory
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.timm_models import is_timm, timm_package
from ndcl.training import Training
from ndcl.training.step import autocast

DOMAINS, CLASSES = ("a", "b", "c", "d"), ("x", "y", "z")
ALGORITHMS: tuple[tuple[str, Any], ...] = (("ERM", "erm"), ("NDCL", "ndcl"), ("features", AT_FEATURES))
FOR_GPU = ["resnet50:224", "vit_b_16:224", "vit_l_16:224", "timm:vit_large_patch14_dinov2:224"]
FOR_CPU = ["resnet18:32", "vit_b_32:32"]
KINDS = ("fp32", "bf16", "bf16 compiled")
HEADS = (
    *("backbone:px", "kind", "N", "ERM images/s", "NDCL images/s", "features images/s", "ERM over floor"),
    *("NDCL over floor", "features over floor", "features / ERM", "MFU", "peak MiB", "syncs"),
)
Check = Callable[[Path, torch.device], str]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(act: Callable[[], object], device: torch.device) -> float:
    """Until the device has done it."""
    wait(device)
    started = time.perf_counter()
    act()
    wait(device)
    return time.perf_counter() - started


def syncs(act: Callable[[], object], device: torch.device) -> int | None:
    """How often the host waits for the device; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def bare(trained: Trained, device: torch.device, precision: str) -> Callable[[], None]:
    """One pass forwards and backwards of the batch, and nothing else."""
    network, inputs = trained._step._network, trained.batch.inputs
    keys = trained._step._keys(trained.num_rows, 0, mixed=False)

    def act() -> None:
        network.zero_grad(set_to_none=True)
        trained._step._drop_by(keys)
        with autocast(device, precision):
            logits = network(inputs)
        logits.float().sum().backward()

    return act


def measured(name: str, kind: str, arguments: argparse.Namespace, device: torch.device) -> list[str]:
    """The cells of a row. Raises torch.OutOfMemoryError where it does not fit."""
    backbone, _, size = name.rpartition(":")
    precision, compiled = kind.partition(" ")[0], "compiled" in kind
    options: dict[str, Any] = {"precision": precision, "compile": compiled}
    every = [
        Trained(each, backbone, int(size), len(CLASSES), arguments.rows, device, **options) for _, each in ALGORITHMS
    ]
    erm, ndcl, _ = every
    passes = bare(erm, device, precision)
    acts = [*(each.step for each in every), passes]
    for act in acts * arguments.warm_up:
        act()
    taken = [[seconds(act, device) for act in acts] for _ in range(arguments.steps)]
    times = [statistics.median(column) for column in zip(*taken, strict=True)]
    floors = [1.0, 1 + ndcl.num_mixed / ndcl.num_rows, 1.0]
    over = [statistics.median(row[which] / row[3] for row in taken) / floor - 1 for which, floor in enumerate(floors)]
    ratio = statistics.median(row[2] / row[0] for row in taken)
    waits = max((syncs(each.step, device) or 0) for each in every)
    # operations are counted on what is not compiled, which hides them
    plain = Trained("erm", backbone, int(size), len(CLASSES), arguments.rows, device) if compiled else erm
    peak, speed = peak_flops(device, precision), floating_point_operations(plain) / times[0]
    used = f"{speed / peak:.1%}" if peak else f"{speed / 1e9:.0f} GFLOP/s"
    return [
        *(name, kind, str(erm.num_rows)),
        *(f"{erm.num_rows / each:.1f}" for each in times[:3]),
        *(f"{each:+.1%}" for each in over),
        *(f"{ratio:.2f}", used, f"{peak_mib(ndcl, device):.0f}", str(waits) if device.type == "cuda" else "-"),
    ]


def rows(arguments: argparse.Namespace, device: torch.device, until: float) -> Iterator[str]:
    """The table's, as they come; what does not fit into the time is named."""
    for name in arguments.backbones:
        if is_timm(name):
            try:
                timm_package()
            except UserError as error:
                yield f"{name}: left out, {str(error).partition('; ')[0]}"
                continue
        for kind in arguments.kinds:
            if time.monotonic() > until:
                yield f"{name}, {kind}: left out, no time"
                continue
            try:
                yield "| " + " | ".join(measured(name, kind, arguments, device)) + " |"
            except torch.OutOfMemoryError:
                yield f"{name}, {kind}: out of memory with {arguments.rows} rows of each domain"
            finally:
                if device.type == "cuda":
                    torch.cuda.empty_cache()


def made_photos(folder: Path, size: int, per_cell: int) -> None:
    """A store of raw photographs: noise, which costs as much to read as any."""
    generator = np.random.default_rng(0)
    count = len(DOMAINS) * len(CLASSES) * per_cell
    labels = np.tile(np.repeat(np.arange(len(CLASSES)), per_cell), len(DOMAINS))
    domains = np.repeat(np.arange(len(DOMAINS)), len(CLASSES) * per_cell)
    with StoreWriter(
        folder, name=folder.name, classes=CLASSES, domains=DOMAINS, kind="raw", shape=(size, size, 3)
    ) as writer:
        for start in range(0, count, 64):
            part = slice(start, min(start + 64, count))
            pixels = generator.integers(256, size=(part.stop - start, size, size, 3), dtype=np.uint8)
            writer.append(pixels, labels[part].tolist(), domains[part].tolist())


def config_of(folder: Path, device: torch.device, **values: Any) -> TrainConfig:
    """A small training on the photographs."""
    data = {"name": "photos", "folder": str(folder), "target": "d", "image_size": 64} | values.pop("data", {})
    base: dict[str, Any] = {
        "algorithm": {"name": "ndcl"},
        "imbalance": {"setting": "natural", "validation": 2},
        "model": {"backbone": "resnet18", "freeze_batchnorm": True},
        "batch_size": 4,
        "num_steps": 6,
        "evaluate_every": 3,
        "device": device.type,
    }
    return TrainConfig.from_dict(base | {"data": data} | values)


def loader_of(config: TrainConfig, device: torch.device) -> Loader:
    problem = build_problem(config.data, config.imbalance)
    labels = [problem.store.labels[rows] for rows in problem.train]
    sampler = DomainSampler(labels, config.batch_size, config.seed, None, num_classes=len(CLASSES))
    return Loader(problem, sampler, config, device)


def loading(folder: Path, device: torch.device, arguments: argparse.Namespace) -> Iterator[str]:
    """The loader's images/s, by where photographs are augmented."""
    for where in ("cpu", "gpu") if device.type == "cuda" else ("cpu",):
        size = 224 if device.type == "cuda" else 64
        data = {"augment_on": where, "image_size": size}
        config = config_of(folder, device, data=data, batch_size=arguments.rows, num_steps=arguments.batches)
        loader = loader_of(config, device)
        batches = loader.batches(0, arguments.batches)
        next(batches)  # which starts the workers
        wait(device)
        started = time.perf_counter()
        count = sum(len(batch.inputs) for batch in batches)
        wait(device)
        yield f"loader, augmented on the {where}: {count / (time.perf_counter() - started):.0f} images/s of {size} px"
        loader.close()


def prefetched(folder: Path, device: torch.device) -> str:
    """Batches made ahead, on a stream of their own, are those made one by one."""
    loader = loader_of(config_of(folder, device), device)
    ahead = [batch.inputs.clone() for batch in loader.batches(0, 5)]
    same = all(torch.equal(inputs, loader.batch(step).inputs) for step, inputs in enumerate(ahead))
    loader.close()
    return "" if same else "they differ"


def augmented(folder: Path, device: torch.device) -> str:
    """What the device makes of a photograph is what the CPU makes of it, to a step of 255 in places."""
    wheres = ("cpu", "gpu" if device.type == "cuda" else "cpu")
    loaders = [loader_of(config_of(folder, device, data={"augment_on": where}), device) for where in wheres]
    first, second = (loader.batch(0).inputs for loader in loaders)
    apart = float((first - second).abs().mean())
    for loader in loaders:
        loader.close()
    return "" if apart < 0.02 else f"on average {apart:.3f} apart"


def resumed(folder: Path, device: torch.device) -> str:
    """A training that is stopped at its first checkpoint and resumed ends with the same parameters."""
    config = config_of(folder, device)
    with tempfile.TemporaryDirectory() as kept:
        straight = Training(config)
        for number, _ in enumerate(straight.evaluations()):
            if number == 0:
                straight.save(Path(kept) / "step-00000003")
        again = Training(config)
        again.load(Path(kept) / "step-00000003")
        list(again.evaluations())
    expected = straight.network.state_dict()
    apart = [key for key, value in again.network.state_dict().items() if not torch.equal(value, expected[key])]
    return f"{len(apart)} of {len(expected)} tensors differ, such as {apart[0]}" if apart else ""


def told_out_of_memory(folder: Path, device: torch.device) -> str:
    """A step that does not fit raises what trials report as out of memory, and the device is usable afterwards."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 2**29) / total), device)
    try:
        list(Training(config_of(folder, device, data={"image_size": 448}, batch_size=64)).evaluations())
        return "it fitted into half a GiB"
    except torch.OutOfMemoryError:
        return "" if float(torch.ones(3, device=device).sum()) == 3 else "the device computes wrongly"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()


CHECKS: dict[str, Check] = {
    "prefetcher": prefetched,
    "augmentation on the device": augmented,
    "bit-identical resume": resumed,
    "out of memory is told": told_out_of_memory,
}


def checked(folder: Path, device: torch.device) -> Iterator[tuple[str, bool]]:
    """A line for each check, and whether it holds."""
    for name, check in CHECKS.items():
        try:
            problem = check(folder, device)
        except Exception as error:  # the others are to be seen, too
            problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        skipped = device.type != "cuda" and name == "out of memory is told"
        yield f"{name}: {problem or ('needs a GPU' if skipped else 'yes')}", not problem


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--backbones", nargs="+", metavar="NAME:PX")
    parser.add_argument("--kinds", nargs="+", default=None, choices=KINDS)
    parser.add_argument("--rows", type=int, help="of each of 3 domains")
    parser.add_argument("--steps", type=int, help="measured")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no further row is begun")
    arguments = parser.parse_args(argv)
    on_gpu = arguments.device == "cuda"
    arguments.backbones = arguments.backbones or (FOR_GPU if on_gpu else FOR_CPU)
    arguments.kinds = arguments.kinds or (KINDS if on_gpu else KINDS[:1])
    arguments.rows = arguments.rows or (32 if on_gpu else 2)
    arguments.steps = arguments.steps or (15 if on_gpu else 3)
    arguments.warm_up = 3 if on_gpu else 1
    arguments.batches = 40 if on_gpu else 4
    for name in arguments.backbones:
        if not name.rpartition(":")[2].isdigit():
            parser.error(f"--backbones: '{name}' has no size; give NAME:PIXELS, such as vit_l_16:224")
    return arguments


def main() -> int:
    arguments = parsed()
    device, until = torch.device(arguments.device), time.monotonic() + 60 * arguments.minutes
    if device.type == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
    print(f"{card}; torch {torch.__version__}; {arguments.steps} steps a row\n")
    print("| " + " | ".join(HEADS) + " |\n" + "| --- " * len(HEADS) + "|")
    for line in rows(arguments, device, until):
        print(line, flush=True)
    print()
    with tempfile.TemporaryDirectory() as folder:
        made_photos(Path(folder) / "photos", 256 if device.type == "cuda" else 72, 40 if device.type == "cuda" else 8)
        for line in loading(Path(folder), device, arguments):
            print(line, flush=True)
        results = list(checked(Path(folder), device))
    print("\n".join(line for line, _ in results))
    return 0 if all(holds for _, holds in results) else 1


if __name__ == "__main__":
    sys.exit(main())
