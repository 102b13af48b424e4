"""Why torch can't use a GPU, by what torch and the kernel say of it."""

from pathlib import Path

import pytest
import torch

from ndcl import gpus
from ndcl.errors import UnusableGpuError, UserError
from ndcl.gpus import gpu_problem, require_usable_gpu
from ndcl.parallel import resolve_device

DRIVER_FILE = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, ..."
)


@pytest.fixture(autouse=True)
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version").write_text(DRIVER_FILE)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.version, "cuda", "13.2")


def no_gpu(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def init() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)


def one_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], *architectures: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Tesla P100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))


def test_a_driver_that_is_too_old_is_named_with_torchs_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch, TOO_OLD)
    with pytest.raises(UnusableGpuError) as error:
        require_usable_gpu()
    assert str(error.value).startswith(
        "a GPU is reserved for this training, but torch can't use it: The NVIDIA driver on your system is too old "
        f"(found version 11040) (driver 470.256.02; torch {torch.__version__}, built for CUDA 13.2); update the driver"
    )


def test_without_a_driver_or_without_cuda_in_torch_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_gpu(monkeypatch, "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU")
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "missing")
    monkeypatch.setattr(torch.version, "cuda", None)
    expected = (
        f"Found no NVIDIA driver on your system (no NVIDIA driver; torch {torch.__version__}, built without CUDA)"
    )
    assert gpu_problem() == expected


@pytest.mark.parametrize(
    ("capability", "architectures", "is_usable"),
    [
        ((6, 0), ("sm_75", "sm_80", "sm_90"), False),
        ((8, 9), ("sm_75", "sm_80", "sm_90"), True),
        ((8, 0), ("sm_86", "sm_90"), False),
        ((9, 0), ("sm_80", "sm_90a"), True),
        ((10, 0), ("sm_80", "sm_90a"), False),
        ((12, 1), ("sm_80", "sm_120"), True),
        ((12, 0), ("sm_80", "compute_90"), True),
        ((10, 3), ("sm_100f",), True),
        ((9, 0), ("gfx942",), True),
        ((6, 0), (), True),
    ],
)
def test_an_architecture_that_torch_lacks(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], architectures: tuple[str, ...], is_usable: bool
) -> None:
    one_gpu(monkeypatch, capability, *architectures)
    problem = gpu_problem()
    assert (problem is None) == is_usable
    if problem is not None:
        sm = f"sm_{capability[0]}{capability[1]}"
        assert problem.startswith(f"Tesla P100 has architecture {sm}, and torch only {' '.join(architectures)} (driver")


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    one_gpu(monkeypatch, (9, 0), "sm_90")
    assert [resolve_device(name).type for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    one_gpu(monkeypatch, (6, 0), "sm_90")
    assert [resolve_device(name).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(UserError, match=r"'cuda' was asked for.*sm_60.*driver 470\.256\.02; torch .*; set device"):
        resolve_device("cuda")
