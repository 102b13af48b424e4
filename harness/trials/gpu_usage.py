"""How busy a GPU is, by the samples that NVIDIA's driver takes all the time."""

from statistics import fmean
from typing import Any

from harness.cluster.ray_internals import nvml


class GpuUsage:
    """Of one GPU, from one question to the next."""

    def __init__(self, uuid: str) -> None:
        """`uuid` as torch writes it."""
        self._nvml, self._seen = nvml(), 0
        self._device = self._opened(f"GPU-{uuid}")

    def percent(self) -> float | None:
        """Share of the time since the last question in which a kernel ran; None where the driver doesn't tell (MIG).

        The driver keeps the last seconds alone, so that after a longer time it is the share of those.
        """
        if self._device is None:
            return None
        try:
            _, samples = self._nvml.nvmlDeviceGetSamples(
                self._device, self._nvml.NVML_GPU_UTILIZATION_SAMPLES, self._seen
            )
        except self._nvml.NVMLError:
            return None
        new = [sample for sample in samples if sample.timeStamp > self._seen]
        if not new:
            return None
        self._seen = max(int(sample.timeStamp) for sample in new)
        return fmean(sample.sampleValue.uiVal for sample in new)

    def _opened(self, uuid: str) -> Any:
        try:
            self._nvml.nvmlInit()
            return self._nvml.nvmlDeviceGetHandleByUUID(uuid.encode())
        except self._nvml.NVMLError:
            return None
