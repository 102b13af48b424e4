"""The table of `benchmarks/multi_gpu.py`: its form for CPUs, and what it reads out of a profile."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks import multi_gpu

ROOT = Path(__file__).parents[3]
TINY = ["--backbone", "resnet18:32", "--rows", "1", "--steps", "1", "--classes", "3", "--device", "cpu"]


def rows_of(*options: str) -> list[dict[str, str]]:
    program = [sys.executable, str(ROOT / "benchmarks" / "multi_gpu.py"), *TINY, "--compile-backend", "aot_eager"]
    result = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")]
    head, _, *rows = lines
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_one_process_fills_the_table() -> None:
    [alone] = rows_of("--workers", "1", "--compile", "off", "--precisions", "fp32", "--layouts", "DDP")
    assert (alone["layout"], alone["workers"], alone["N"], alone["compiled"]) == ("DDP", "1", "3", "no")
    assert float(alone["images/s"]) > 0


@pytest.mark.soak
def test_two_processes_fill_the_table() -> None:
    workers = ["--workers", "1", "2", "--compile", "on", "--precisions", "fp32", "--layouts", "DDP", "hybrid"]
    alone, ddp, hybrid = rows_of(*workers)
    assert (alone["layout"], alone["workers"], alone["N"], alone["efficiency"]) == ("DDP", "1", "3", "100%")
    assert (alone["first gradient"], alone["overlap"]) == ("-", "-")  # which exchanges nothing
    for row in (ddp, hybrid):
        assert (row["workers"], row["N"], row["compiled"]) == ("2", "6", "yes")
        assert float(row["images/s"]) > 0
        assert float(row["peak MiB"]) > 0
        assert 0 <= int(row["first gradient"].rstrip("%")) <= 100
        assert 0 <= int(row["overlap"].rstrip("%")) <= 100
    assert float(ddp["loss"]) == pytest.approx(float(hybrid["loss"]), rel=1e-2)


def test_the_defaults_are_every_layout_compiled_and_not() -> None:
    arguments = multi_gpu.parsed(["--workers", "1", "2", "3", "8", "--precisions", "bf16"])
    found = [(run.workers, run.layout, run.compiled) for run in multi_gpu.runs(arguments)]
    assert found[:4] == [(1, "DDP", False), (1, "DDP", True), (2, "DDP", False), (2, "FSDP2", False)]
    assert (3, "hybrid", False) not in found  # of two nodes one would have more workers
    assert len(found) == 2 + 6 + 4 + 6


def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CPU, thread: int = 1) -> SimpleNamespace:
    time_range = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=time_range, device_type=device, thread=thread)


def test_overlap_is_the_exchanges_time_in_which_a_gpu_computes() -> None:
    gpu = DeviceType.CUDA
    events = [
        event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 10, 30, gpu),
        event("ncclDevKernel_AllGather_RING_LL", 25, 50, gpu),
        event("at::native::elementwise_kernel", 0, 15, gpu),
        event("sm90_xmma_gemm", 12, 20, gpu),
        event("triton_poi_fused_add", 45, 60, gpu),
        event("nccl:all_reduce", 0, 100, gpu),
        event("FSDP::all_gather", 0, 100, gpu),
        event("aten::conv2d", 0, 100),
    ]
    assert multi_gpu.overlap(events, torch.device("cuda")) == (10 + 5) / 40


def test_overlap_on_a_cpu_counts_operations_of_the_main_thread() -> None:
    events = [
        event(multi_gpu.BACKWARD, 10, 90),
        event("gloo:all_gather", 0, 5, thread=2),  # logits, in the forward pass
        event("gloo:all_reduce", 20, 40, thread=2),
        event("aten::convolution_backward", 30, 35),
        event("aten::mul", 20, 40, thread=3),
        event("c10d::allreduce_", 36, 40),
    ]
    assert multi_gpu.overlap(events, torch.device("cpu")) == 5 / 20
    assert multi_gpu.first_gradient(events) == (36 - 10) / 80
