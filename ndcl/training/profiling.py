"""A trace of some steps of a training by torch.profiler: what host and device did, and when."""

import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ndcl.config import ProfileConfig

TRACE = "trace.json.gz"
"""What Perfetto (ui.perfetto.dev) and chrome://tracing open."""


class StepProfiler:
    """Watches the steps that a config names; without one, or where they are done already, nothing."""

    def __init__(self, config: ProfileConfig | None, device: torch.device) -> None:
        self._config, self._device = config, device
        self._running: profile | None = None
        self.trace: bytes | None = None
        """The file's content, once the steps are done."""

    def before(self, step: int) -> None:
        """Begin, if `step` steps are done and the next is one to be watched."""
        config = self._config
        if config is None or self._running is not None or self.trace is not None:
            return
        if config.from_step <= step < config.from_step + config.steps:
            gpu = [ProfilerActivity.CUDA] if self._device.type == "cuda" else []
            self._running = profile(activities=[ProfilerActivity.CPU, *gpu])
            self._running.start()

    def after(self, step: int, num_steps: int) -> None:
        """End, if with `step` of `num_steps` done the last to be watched is over."""
        if self._config is not None and step >= min(num_steps, self._config.from_step + self._config.steps):
            self.end()

    def end(self) -> None:
        """End, where it has begun."""
        if self._running is None:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self._running.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / TRACE
            self._running.export_chrome_trace(str(path))
            self.trace = path.read_bytes()
        self._running = None
