"""The canary on a GPU, by what nvidia-smi and torch say; on the nodes of a real Ray, by a driver that is too old."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.trials import gpu_canary
from harness.trials.gpu_canary import canary, nvidia_driver, old_driver
from tests.harness.cluster.made_clusters import ROOT

PROGRAM = """
import ray
from harness.trials.gpu_canary import require_usable_gpus
ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
try:
    require_usable_gpus(print)
finally:
    ray.shutdown()
"""


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that says what is written into it."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = --query-gpu=driver_version ] && echo 535.104.05 && echo 535.104.05\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_the_driver_is_what_nvidia_smi_says(smi: Path) -> None:
    assert nvidia_driver() == "535.104.05"
    smi.write_text("#!/bin/sh\necho NVIDIA-SMI has failed >&2\nexit 9\n")
    assert nvidia_driver() is None


def test_without_nvidia_smi_no_driver_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert nvidia_driver() is None


@pytest.mark.parametrize(
    ("driver", "cuda", "is_old"),
    [
        ("535.104.05", "13.2", True),
        ("579.99", "13.0", True),
        ("580.65.06", "13.2", False),
        ("535.104.05", "12.8", False),
        ("470.256.02", "12.1", True),
        ("470.256.02", None, False),
        (None, "13.2", False),
        ("535.104.05", "99.0", False),
    ],
)
def test_a_driver_is_held_against_torchs_cuda(driver: str | None, cuda: str | None, is_old: bool) -> None:
    told = old_driver(driver, cuda)
    assert (told is not None) == is_old
    if told is not None:
        assert str(driver) in told
        assert f"CUDA {cuda}" in told


def test_the_table_has_the_cuda_of_this_torch() -> None:
    if torch.version.cuda is not None:
        assert int(torch.version.cuda.partition(".")[0]) in gpu_canary.MINIMUM_DRIVERS


def test_what_is_wrong_is_said_with_the_remedy(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(gpu_canary, "gpu_problem", lambda: "it sees no GPU")
    assert canary() == (
        f"its NVIDIA driver 535.104.05 is too old: torch {torch.__version__} has CUDA 13.2, which wants 580 or later; "
        "update the driver, on a cloud by a newer image, or install a torch for an older CUDA"
    )
    smi.write_text("#!/bin/sh\necho 590.10\n")
    assert str(canary()).startswith("torch can't use its GPU: it sees no GPU; mend the node, or leave it out")
    monkeypatch.setattr(gpu_canary, "gpu_problem", lambda: None)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.full(shape, 2.0))
    assert "a multiplication gives 1.04858e+06, and not 262144" in str(canary())
    monkeypatch.undo()
    monkeypatch.setattr(gpu_canary, "gpu_problem", lambda: None)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))
    assert canary() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="the driver of this machine suits its torch")
def test_a_node_whose_driver_is_too_old_is_named_before_the_sweep_starts(smi: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 1, result.stdout + result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ndcl.errors.UnusableGpuError: ")
    assert ": its NVIDIA driver 535.104.05 is too old" in last
