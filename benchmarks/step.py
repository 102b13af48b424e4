"""What a step of NDCL costs beside one of ERM: time, floor, images per second, peak memory, and on a GPU the MFU.

    python benchmarks/step.py [--backbones resnet18:64] [--classes 7 65 345] [--rows 32] [--precision bf16]

Steps of all on inputs that are there already, forwards, backwards and Adam, taken in turn in one run. NDCL sends M
generated rows through the network besides the N of the batch, so its floor is (1 + M/N) ERM steps; `over the floor` is
the median over pairs of neighbouring steps of how much longer it takes. With negatives mixed among features there is no
second pass; `features over ERM` is the same median of its step over ERM's. On a GPU a step that makes the host wait for
it is an error. The defaults take about three minutes on one CPU core.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.algorithms import SourceDomains, build_algorithm
from ndcl.algorithms.p_grad import PGrad
from ndcl.batch import Batch, Layout
from ndcl.config import TrainConfig
from ndcl.data.loading.workers import keep_freed_memory
from ndcl.models import network_of
from ndcl.parallel import Group
from ndcl.parallel.sharding import place
from ndcl.training.step import Step
from tests.memory import PeakMemory

DOMAINS = 3
AT_FEATURES: dict[str, object] = {"name": "ndcl", "mixup_at": "features"}
DEFAULTS = {"cpu": ["small_cnn:28", "resnet18:64"], "cuda": ["resnet18:224", "resnet50:224"]}
PEAK_TERAFLOPS = {
    ("H100", "bf16"): 989, ("H100", "fp32"): 67, ("H200", "bf16"): 989, ("H200", "fp32"): 67,
    ("A100", "bf16"): 312, ("A100", "fp32"): 19.5,
}  # fmt: skip
"""Dense peaks by the vendor's data sheets (SXM), by a part of the device's name."""


class Trained:
    """A network, an algorithm, and a batch that is on the device: of each domain `rows` rows, of these a share."""

    def __init__(
        self, algorithm: str | dict[str, object], backbone: str, size: int, classes: int, rows: int,
        device: torch.device, group: Group | None = None, **values: object,
    ) -> None:  # fmt: skip
        group = group or Group()
        config = TrainConfig.from_dict(
            {
                "data": {"name": "made", "target": "none"},
                "algorithm": {"name": algorithm} if isinstance(algorithm, str) else algorithm,
                "model": {"backbone": backbone},
                "batch_size": rows,
                **values,
            }
        )
        generator = np.random.default_rng(0)
        labels = generator.integers(classes, size=DOMAINS * rows)
        layout = Layout.of(labels, np.repeat(np.arange(DOMAINS), rows), device)
        own = group.share.rows(len(labels))
        # the same images, however many workers share them
        pixels = torch.from_numpy(generator.integers(256, size=(len(labels), size, size, 3), dtype=np.uint8)[own])
        pixels = pixels.to(device)
        inputs = (pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5
        self.batch = Batch(inputs=inputs, layout=layout, pixels=pixels if group.is_several else None)
        network = network_of(config, (size, size, 3), classes, DOMAINS).train()
        sources = SourceDomains(
            frequencies=np.full((DOMAINS, classes), 1 / classes),
            batch_size=rows,
            seed=0,
            num_features=network.num_features,
        )
        self.algorithm = build_algorithm(config.algorithm, sources).to(device)
        self.num_parameters = sum(p.numel() for p in network.parameters())
        place(network, device, group, config)
        self._step = Step(network, self.algorithm, config, classes, group)
        self._optimizer = torch.optim.Adam(network.parameters(), fused=True)
        self._number = 0
        self.num_rows = layout.num_rows
        self.num_mixed = self.algorithm.num_made(layout)

    def step(self) -> Tensor:
        """One step, and its loss; on a GPU it is only queued."""
        if self.algorithm.walks:
            loss = self._step.walk(self.batch, self._number, lambda decays: self._optimizer.step())
        for part in () if self.algorithm.walks else self.algorithm.parts or (self.algorithm,):
            loss = self._step.gradient(self.batch, self._number, part)
            self._optimizer.step()
        self._number += 1
        return loss.total.detach()


def seconds(trained: Trained, device: torch.device) -> float:
    """Of one step, until the device has done it."""
    started = time.perf_counter()
    if device.type == "cuda":
        waits = isinstance(trained.algorithm, PGrad)  # once, for the directions
        torch.cuda.set_sync_debug_mode("default" if waits else "error")
        trained.step()
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
    else:
        trained.step()
    return time.perf_counter() - started


def peak_mib(trained: Trained, device: torch.device) -> float:
    """What one step allocates at its peak, beyond parameters and batch on a CPU, all in all on a GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        trained.step()
        return torch.cuda.max_memory_allocated() / 2**20
    with PeakMemory() as memory:
        trained.step()
    return memory.peak_bytes / 2**20


def floating_point_operations(trained: Trained) -> int:
    """Of one step's matrix products and convolutions; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        trained.step()
    return int(counter.get_total_flops())


def peak_flops(device: torch.device, precision: str) -> float | None:
    if device.type == "cpu":
        return None
    name = torch.cuda.get_device_name(device)
    return next((t * 1e12 for (part, p), t in PEAK_TERAFLOPS.items() if part in name and p == precision), None)


def row(name: str, classes: int, arguments: argparse.Namespace, device: torch.device) -> str:
    backbone, size = name.split(":")
    values = {"precision": arguments.precision, "compile": arguments.compile}
    every = [
        Trained(algorithm, backbone, int(size), classes, arguments.rows, device, **values)
        for algorithm in ("erm", "ndcl", AT_FEATURES)
    ]
    erm, ndcl, _ = every
    operations = [floating_point_operations(each) for each in (erm, ndcl)]
    peaks = [peak_mib(each, device) for each in every]
    for each in every * 2:
        seconds(each, device)
    taken_together = [[seconds(each, device) for each in every] for _ in range(arguments.steps)]
    floor = 1 + ndcl.num_mixed / ndcl.num_rows
    over = statistics.median(slow / fast for fast, slow, _ in taken_together) / floor - 1
    at_features = statistics.median(other / fast for fast, _, other in taken_together)
    times = [statistics.median(column) for column in zip(*taken_together, strict=True)]
    rates = [erm.num_rows / taken for taken in times]
    speeds = [count / taken for count, taken in zip(operations, times, strict=False)]
    peak = peak_flops(device, arguments.precision)
    used = [f"{speed / peak:.1%}" if peak else f"{speed / 1e9:.0f} GFLOP/s" for speed in speeds]
    cells = (
        name, classes, f"{ndcl.num_rows} + {ndcl.num_mixed}", *(f"{1e3 * taken:.1f}" for taken in times),
        f"{floor:.2f}", f"{over:+.1%}", f"{at_features:.2f}",
        *(f"{rate:.0f}" for rate in rates), *(f"{peak:.0f}" for peak in peaks), *used,
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", help="name:image size")
    parser.add_argument("--classes", nargs="+", type=int, default=[7, 65, 345])
    parser.add_argument("--rows", type=int, default=32, help="of each of 3 domains")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    if device.type == "cpu":
        keep_freed_memory()  # as every training does
    used = "MFU" if peak_flops(device, arguments.precision) else "speed"
    heads = (
        "backbone:px", "K", "N + M", "ERM ms", "NDCL ms", "features ms", "floor", "over the floor", "features over ERM",
        "ERM images/s", "NDCL images/s", "features images/s", "ERM peak MiB", "NDCL peak MiB", "features peak MiB",
        f"ERM {used}", f"NDCL {used}",
    )  # fmt: skip
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for name in arguments.backbones or DEFAULTS[device.type]:
        for classes in arguments.classes:
            print(row(name, classes, arguments, device), flush=True)


if __name__ == "__main__":
    main()
