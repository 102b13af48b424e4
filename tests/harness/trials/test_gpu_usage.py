"""A GPU's usage from the driver's samples, by a library that stands in for NVIDIA's."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.cluster.ray_internals import nvml
from harness.trials import gpu_usage
from harness.trials.gpu_usage import GpuUsage


class Driver:
    """What of the library is asked, with samples by time."""

    NVML_GPU_UTILIZATION_SAMPLES = 1
    NVMLError = nvml().NVMLError

    def __init__(self, *samples: tuple[int, int]) -> None:
        self.samples = list(samples)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> bytes:  # noqa: N802
        if uuid != b"GPU-12":
            raise self.NVMLError(nvml().NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetSamples(self, device: bytes, kind: int, seen: int) -> tuple[int, list[Any]]:  # noqa: N802
        assert (device, kind) == (b"GPU-12", 1)
        if not self.samples:
            raise self.NVMLError(nvml().NVML_ERROR_NOT_FOUND)  # which the driver says where nothing is new
        return 1, [
            SimpleNamespace(timeStamp=at, sampleValue=SimpleNamespace(uiVal=value)) for at, value in self.samples
        ]


def test_each_sample_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver((1, 10), (2, 30))
    monkeypatch.setattr(gpu_usage, "nvml", lambda: driver)
    usage = GpuUsage("12")
    assert usage.percent() == 20
    assert usage.percent() is None
    driver.samples.append((3, 90))
    assert usage.percent() == 90
    driver.samples.clear()
    assert usage.percent() is None


def test_a_gpu_that_the_driver_does_not_tell_of_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_usage, "nvml", Driver)
    assert GpuUsage("99").percent() is None


def test_rays_copy_of_the_library_has_what_is_asked() -> None:
    for name in ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetSamples"):
        assert callable(getattr(nvml(), name))
    assert isinstance(nvml().NVML_GPU_UTILIZATION_SAMPLES, int)
    with pytest.raises(nvml().NVMLError):
        nvml().nvmlDeviceGetHandleByUUID(b"GPU-none")  # not opened, or no such GPU
