"""Where the workers of a trial find each other if all are on this machine: torch's store, on the loopback alone.

By itself torch opens it on all interfaces, and asks nobody for a token.
"""

import socket
from datetime import timedelta
from typing import Any

from ray.train.torch import TorchConfig
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from harness.trials.torch_start import WatchedBackend, WatchedTorchConfig

LOOPBACK = "127.0.0.1"
ENVIRONMENT = {"TORCHELASTIC_USE_AGENT_STORE": "True"}
"""Has workers join the store at MASTER_ADDR and MASTER_PORT rather than the first of them open another."""
_served: list[TCPStore] = []
"""The first worker's store, for as long as its process lasts."""


class LoopbackTorchConfig(WatchedTorchConfig):
    """Ray Train's, but for the place of the store."""

    @property
    def backend_cls(self) -> type["_LoopbackBackend"]:
        """What prepares the workers."""
        return _LoopbackBackend


class _LoopbackBackend(WatchedBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        super().on_start(_WithStore(worker_group), backend_config)


class _WithStore:
    """A worker group whose first worker, asked where the others may meet, has opened the store there."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def __len__(self) -> int:
        return len(self._group)

    def execute_single(self, rank: int, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Ray Train asks nothing else of a single worker."""
        return self._group.execute_single(rank, open_store)


def open_store() -> tuple[str, int]:
    """Open a store on the loopback in this process; returns its address and port."""
    listener = socket.create_server((LOOPBACK, 0))
    port = int(listener.getsockname()[1])
    _served[:] = [
        TCPStore(
            LOOPBACK,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(minutes=30),
            master_listen_fd=listener.detach(),
        )
    ]
    return LOOPBACK, port
