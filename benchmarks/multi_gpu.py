"""Steps on the GPUs of one machine: the whole network on each, in parts, compiled, in bf16. One command, one table.

    python benchmarks/multi_gpu.py                    # all GPUs; without any, two processes that exchange by gloo
    python benchmarks/multi_gpu.py --backbone vit_l_16:224 --rows 16 --workers 8 --layouts full hybrid

DDP: each worker keeps the whole network, and gradients are summed while the backward pass runs. FSDP2: each keeps a
part. Hybrid: the workers are taken for those of two nodes, and each node keeps all. A row is a run in processes of its
own; each worker adds 3 x --rows images to the batch, or with --strong all share 3 x --rows.

- efficiency: images/s a worker, against one worker of the same precision, compiled or not
- first gradient: what share of the backward pass is over when the first gradients are sent off
- overlap: share of the time of all exchanges (on a CPU of those since the backward pass began) in which the device
  also computes, by torch.profiler
- peak: memory that torch holds on the first GPU; on a CPU that of the first process
- loss: after all steps; the same for all layouts with as many workers, up to the rounding of their precision

On 8 GPUs the defaults are 26 runs of half a minute to two minutes, about 30 minutes; on a CPU about four.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.step import Trained
from ndcl.parallel import Group

LAYOUTS = {"DDP": "none", "FSDP2": "full", "hybrid": "hybrid"}
WARM_UP = 3
BACKWARD = "benchmark: backward pass"
SENT = ("c10d::allreduce_", "c10d::_reduce_scatter_base_")
"""What the host calls to send gradients off."""
EXCHANGES_ON_CPU = "gloo:"
COMPUTES_ON_CPU = ("aten::", "CompiledFunction", "Torch-Compiled")
SPANS = (BACKWARD, "nccl:", "FSDP::", "Optimizer.", "##", "Torch-Compiled", "ProfilerStep")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    layout: str
    precision: str
    compiled: bool
    workers: int


def runs(arguments: argparse.Namespace) -> Iterator[Run]:
    """The runs in the table's order: all that one worker does before those of several."""
    for workers in arguments.workers:
        for precision in arguments.precisions:
            for compiled in arguments.compile:
                for layout in arguments.layouts if workers > 1 else ["DDP"]:
                    if layout != "hybrid" or workers % 2 == 0:
                        yield Run(layout, precision, compiled == "on", workers)


def worker(rank: int, folder: str, run: Run, arguments: argparse.Namespace) -> None:
    """One of the processes of a run; the first saves what was measured."""
    local_size = run.workers // 2 if run.layout == "hybrid" and run.workers > 2 else run.workers
    os.environ |= {"LOCAL_RANK": str(rank % local_size), "LOCAL_WORLD_SIZE": str(local_size)}
    device = torch.device(arguments.device, rank) if arguments.device == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    backend = "nccl" if device.type == "cuda" else "gloo"
    place = f"file://{folder}/meeting"
    dist.init_process_group(backend, init_method=place, rank=rank, world_size=run.workers)
    with on_backend(arguments.compile_backend):
        result = measured(trained(run, arguments, device), arguments.steps, device)
    if rank == 0:
        torch.save(result, f"{folder}/result.pt")
    dist.destroy_process_group()


def on_backend(name: str) -> Any:
    """Has torch.compile take that backend."""
    compile_with = torch.compile
    return mock.patch.object(torch, "compile", lambda *given, **kw: compile_with(*given, **kw, backend=name))


def trained(run: Run, arguments: argparse.Namespace, device: torch.device) -> Trained:
    backbone, size = arguments.backbone.split(":")
    rows = arguments.rows * (1 if arguments.strong else run.workers)
    values = {
        "model": {"backbone": backbone, "freeze_batchnorm": True},
        "precision": run.precision,
        "compile": run.compiled,
        "sharding": LAYOUTS[run.layout],
        "activation_checkpointing": arguments.activation_checkpointing,
    }
    group = Group.current()
    return Trained(arguments.algorithm, backbone, int(size), arguments.classes, rows, device, group=group, **values)


def measured(trained: Trained, steps: int, device: torch.device) -> dict[str, float]:
    """Medians of `steps` steps, of which one more is looked into by the profiler."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for _ in range(WARM_UP + steps):
        dist.barrier()
        started = time.perf_counter()
        trained.step()
        synchronize()
        times.append(time.perf_counter() - started)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled, marked_backward():
        loss = trained.step()
        synchronize()
    peak = torch.cuda.max_memory_reserved() if device.type == "cuda" else 1024 * _max_resident_kib()
    return {
        "seconds": statistics.median(times[WARM_UP:]),
        "num_rows": trained.num_rows,
        "first_gradient": first_gradient(profiled.events()),
        "overlap": overlap(profiled.events(), device),
        "peak_mib": peak / 2**20,
        "loss": float(loss),
    }


def _max_resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def marked_backward() -> Any:
    """Has the profiler see when a step's backward passes run."""
    backward = torch.autograd.backward

    def marked(*arguments: Any, **options: Any) -> None:
        with record_function(BACKWARD):
            backward(*arguments, **options)

    return mock.patch.object(torch.autograd, "backward", marked)


def first_gradient(events: Any) -> float:
    """Share of the backward pass that is over when the first sum is called; NaN without one."""
    passes = [event.time_range for event in events if event.name == BACKWARD]
    start, end = min(each.start for each in passes), max(each.end for each in passes)
    sent = [event.time_range.start for event in events if event.name in SENT and event.time_range.start >= start]
    return (min(min(sent), end) - start) / (end - start) if sent else float("nan")


def overlap(events: Any, device: torch.device) -> float:
    """Share of the exchanges' time in which the device computes."""
    if device.type == "cuda":
        kernels = [event for event in events if _is_kernel(event)]
        exchanges = [each for each in kernels if "nccl" in each.name.lower()]
        computes = [each for each in kernels if "nccl" not in each.name.lower()]
    else:
        [main] = {event.thread for event in events if event.name == BACKWARD}
        start = min(event.time_range.start for event in events if event.name == BACKWARD)
        exchanges = [
            each for each in events if each.name.startswith(EXCHANGES_ON_CPU) and each.time_range.start >= start
        ]
        computes = [each for each in events if each.thread == main and each.name.startswith(COMPUTES_ON_CPU)]
    times, busy = merged(exchanges), merged(computes)
    total = sum(end - start for start, end in times)
    common = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in times for b in busy)
    return common / total if total else float("nan")


def _is_kernel(event: Any) -> bool:
    """On a GPU, and no span that is named on the host and drawn over its kernels."""
    is_span = getattr(event, "is_user_annotation", False) or event.name.startswith(SPANS)
    return event.device_type == torch.autograd.DeviceType.CUDA and not is_span


def merged(events: Any) -> list[Interval]:
    """The intervals of `events`, those that overlap as one."""
    result: list[Interval] = []
    for start, end in sorted((event.time_range.start, event.time_range.end) for event in events):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """The table's lines, as they come."""
    heads = (
        "layout", "precision", "compiled", "workers", "N", "step ms", "images/s", "efficiency", "first gradient",
        "overlap", "peak MiB", "loss",
    )  # fmt: skip
    yield "| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads)
    alone: dict[tuple[str, bool], float] = {}
    for run in runs(arguments):
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(worker, (folder, run, arguments), nprocs=run.workers)
            result = torch.load(f"{folder}/result.pt")
        rate = result["num_rows"] / result["seconds"] / run.workers
        if run.workers == 1:
            alone[run.precision, run.compiled] = rate
        against = alone.get((run.precision, run.compiled), float("nan"))
        cells = (
            run.layout, run.precision, "yes" if run.compiled else "no", run.workers, result["num_rows"],
            f"{1e3 * result['seconds']:.1f}", f"{rate * run.workers:.1f}", shown(rate / against),
            shown(result["first_gradient"]), shown(result["overlap"]), f"{result['peak_mib']:.0f}",
            f"{result['loss']:.6g}",
        )  # fmt: skip
        yield "| " + " | ".join(map(str, cells)) + " |"


def shown(share: float) -> str:
    return "-" if share != share else f"{share:.0%}"


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    gpus = torch.cuda.device_count()
    workers = [1 << power for power in range(gpus.bit_length())] if gpus else [1, 2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", nargs="+", type=int, default=workers)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["bf16"] if gpus else ["fp32"])
    parser.add_argument("--compile", nargs="+", choices=["off", "on"], default=["off", "on"])
    parser.add_argument("--compile-backend", default="inductor", help="of torch.compile; aot_eager compiles in no time")
    parser.add_argument("--backbone", default="resnet50:224" if gpus else "resnet18:32", help="name:image size")
    parser.add_argument("--classes", type=int, default=65)
    parser.add_argument("--rows", type=int, default=64 if gpus else 4, help="of each of 3 domains, for each worker")
    parser.add_argument("--strong", action="store_true", help="as many rows for all workers together")
    parser.add_argument("--algorithm", default="ndcl", choices=["ndcl", "erm"])
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=10 if gpus else 3)
    parser.add_argument("--device", default="cuda" if gpus else "cpu", choices=["cuda", "cpu"])
    return parser.parse_args(argv)


def main() -> None:
    arguments = parsed()
    named = {key: value for key, value in vars(arguments).items() if key != "workers"}
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU, one thread a process"
    print(f"{device}, torch {torch.__version__}, {named}\n", flush=True)
    for line in table(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
