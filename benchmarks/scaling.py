"""Speed of a step on 1 to W workers, the bytes it exchanges, and the efficiency on paper that follows for many GPUs.

    python benchmarks/scaling.py [--workers 1 2] [--backbone resnet18:64] [--rows 16] [--algorithm ndcl]

Workers are processes of one thread each that exchange through gloo. Strong: the same batch of 3 x rows images for all.
Weak: as many images for each worker. The second table is for GPUs, and on paper: the bytes of a step at stated
bandwidths, against the time that its floating-point operations take at --mfu of an H100's peak in bf16, an assumption.
The bytes are those that the first table's runs count, by the same formula. Takes about two minutes.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.step import DOMAINS, PEAK_TERAFLOPS, Trained, floating_point_operations
from ndcl.parallel import Group, mixup_inputs
from ndcl.parallel.mixup_inputs import MOST_TO_ALL

CPU = torch.device("cpu")
GPUS = (8, 16, 32, 64, 128, 256)
GPU_BACKBONE, GPU_SIZE, GPU_CLASSES, GPU_ROWS = "resnet50", 224, 65, 32
BANDWIDTHS = {"3200 Gb/s a node of 8 (50 GB/s a GPU)": 50e9, "400 Gb/s a node of 8 (6.25 GB/s a GPU)": 6.25e9}
"""Bytes per second that a GPU can send to others while it receives as many."""


class CountingGroup(Group):
    """Counts the bytes of what it exchanges."""

    gathered = fetched = summed = 0

    def start_gather(self, rows: Tensor, total: int) -> Callable[[], Tensor]:
        self.gathered += self.is_several * total * math.prod(rows.shape[1:]) * rows.element_size()
        return super().start_gather(rows, total)

    def swap(self, rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
        self.fetched += sum(received) * math.prod(rows.shape[1:]) * rows.element_size()
        return super().swap(rows, sent, received)

    def start_sum(self, values: Tensor) -> Callable[[], object]:
        self.summed += values.numel() * values.element_size()
        return super().start_sum(values)


def worker(rank: int, world_size: int, folder: str, arguments: argparse.Namespace, rows: int) -> None:
    torch.set_num_threads(1)
    mixup_inputs.MOST_TO_ALL = 1 if arguments.fetch else mixup_inputs.MOST_TO_ALL
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size)
    backbone, size = arguments.backbone.split(":")
    group = CountingGroup.current()
    model = {"backbone": backbone, "freeze_batchnorm": True}  # as it has to be on several workers
    trained = Trained(arguments.algorithm, backbone, int(size), arguments.classes, rows, CPU, group=group, model=model)
    times = []
    for _ in range(2 + arguments.steps):
        group.gathered = group.fetched = group.summed = 0
        group.barrier()
        started = time.perf_counter()
        trained.step()
        group.barrier()
        times.append(time.perf_counter() - started)
    if rank == 0:
        result = (statistics.median(times[2:]), trained.num_rows, group.gathered, group.fetched, group.summed)
        torch.save(result, f"{folder}/result.pt")
    dist.destroy_process_group()


def measured(world_size: int, arguments: argparse.Namespace, rows: int) -> tuple[float, int, int, int, int]:
    """Seconds of a step, N, bytes gathered, fetched by the first worker, and summed."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, (world_size, folder, arguments, rows), nprocs=world_size)
        result: tuple[float, int, int, int, int] = torch.load(f"{folder}/result.pt")
        return result


def print_measured(arguments: argparse.Namespace) -> None:
    print(
        "| scaling | workers | N | step ms | images/s | efficiency | gathered MB | fetched MB | summed MB |\n|"
        + " --- |" * 9
    )
    for kind in ("strong", "weak"):
        alone = 0.0
        for world_size in arguments.workers:
            rows = arguments.rows * (world_size if kind == "weak" else 1)
            taken, num_rows, *exchanged = measured(world_size, arguments, rows)
            rate = num_rows / taken
            alone = alone or rate / world_size
            cells = (
                kind, world_size, num_rows, f"{1e3 * taken:.0f}", f"{rate:.1f}", f"{rate / world_size / alone:.0%}",
                *(f"{count / 1e6:.2f}" for count in exchanged),
            )  # fmt: skip
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_on_paper(mfu: float) -> None:
    """Weak scaling: each GPU has 3 x GPU_ROWS rows, whatever their number."""
    own = DOMAINS * GPU_ROWS
    little = Trained("ndcl", GPU_BACKBONE, GPU_SIZE, GPU_CLASSES, 2, CPU)
    operations = floating_point_operations(little) * GPU_ROWS / 2
    compute = operations / (mfu * PEAK_TERAFLOPS["H100", "bf16"] * 1e12)
    print(
        f"\n{GPU_BACKBONE} at {GPU_SIZE} px, {own} rows and as many mixed ones a GPU: {operations / 1e12:.1f} TFLOP, "
        f"{1e3 * compute:.0f} ms at {mfu:.0%} of the peak. Efficiency if nothing of what is exchanged overlaps "
        "with computing, and if all does.\n"
    )
    print("| interconnect | GPUs | N | received MB a GPU | none overlaps | all overlaps |\n|" + " --- |" * 6)
    for name, bandwidth in BANDWIDTHS.items():
        for gpus in GPUS:
            received = received_bytes(gpus, own, little.num_parameters)
            exchange = received / bandwidth
            print(
                f"| {name} | {gpus} | {gpus * own} | {received / 1e6:.0f} "
                f"| {compute / (compute + exchange):.0%} | {min(1.0, compute / exchange):.0%} |"
            )


def received_bytes(gpus: int, own: int, num_parameters: int) -> float:
    """By one GPU in a step: logits, pixels, and gradients, which go round a ring twice to be summed.

    Pixels of all rows, or among many GPUs of at most three for each of the own mixed rows.
    """
    logits, pixels = 2 * 4 * GPU_CLASSES, 3 * GPU_SIZE**2
    others = (gpus - 1) * own
    return (
        others * logits
        + min(others, 3 * own if gpus > MOST_TO_ALL else others) * pixels
        + 8 * num_parameters * (gpus - 1) / gpus
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--backbone", default="resnet18:64", help="name:image size")
    parser.add_argument("--classes", type=int, default=65)
    parser.add_argument("--rows", type=int, default=16, help="of each of 3 domains")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--algorithm", default="ndcl", choices=["ndcl", "erm"])
    parser.add_argument("--fetch", action="store_true", help="exchange inputs as many workers do")
    parser.add_argument("--mfu", type=float, default=0.1, help="share of the peak that a GPU is assumed to reach")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_measured(arguments)
    print_on_paper(arguments.mfu)


if __name__ == "__main__":
    main()
