"""How workers begin with torch.distributed under Ray Train, and what becomes of it if one of them dies meanwhile.

Ray Train (2.60) forgets to stop the workers that are left: it retries, and waits for ever for the room that they
occupy, or ends with a ControllerError. So they are stopped here, and the run ends with an error of its own, after which
`worker_group.py` begins another.
"""

from typing import Any

from ray.exceptions import RayError
from ray.train.torch import TorchConfig

from harness.cluster.ray_internals import torch_backend
from harness.trials.messages import one_line


class StartError(Exception):
    """A worker was lost, or lost another, before any of them trained."""


class WatchedTorchConfig(TorchConfig):
    """Ray Train's, with a start that ends if a worker dies."""

    @property
    def backend_cls(self) -> type["WatchedBackend"]:
        """What prepares the workers."""
        return WatchedBackend


class WatchedBackend(torch_backend()):  # type: ignore[misc]
    """Prepares the workers, as Ray Train's own."""

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Raises StartError."""
        try:
            super().on_start(worker_group, backend_config)
        except RayError as error:
            worker_group.shutdown()
            raise StartError(one_line(error)) from None
