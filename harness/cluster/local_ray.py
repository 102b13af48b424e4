"""Ray on this machine, for one sweep: quiet, closed to the outside, and gone afterwards."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from harness.cluster.ray_internals import without_clusters
from ndcl.processors import num_processors

OBJECT_STORE_BYTES = 128 * 1024**2
"""Trials share their data through memory-mapped files, not through Ray's object store."""
SETTLING_SECONDS = 2.0
"""Until Ray has noticed that a process has ended, and ended those that it has started."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own snapshots are never restored
}
LOCAL_ENVIRONMENT = {
    "RAY_enable_metrics_collection": "0",  # else exporters that ask nobody for a token
    "GLOO_SOCKET_IFNAME": "lo",  # where several workers of a trial meet
    "NCCL_SOCKET_IFNAME": "lo",
}
"""Of a Ray on this machine alone; its processes inherit it."""


@contextlib.contextmanager
def local_ray(log_file: Path, *, with_dashboard: bool = False) -> Iterator[list[Mapping[str, float]]]:
    """Start Ray and yield the resources of its nodes. A Ray that this process has started before is used and left.

    All of it listens on 127.0.0.1 alone. With its dashboard Ray frees what a killed trial of several workers held.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    with log_to(log_file):
        if ray.is_initialized():
            with _left_as_found():
                yield alive_nodes()
            return
        start_ray(with_dashboard=with_dashboard)
        try:
            yield alive_nodes()
        finally:
            ray.shutdown()


def alive_nodes() -> list[Mapping[str, float]]:
    """The resources of each node of the Ray that this process has joined or started."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextlib.contextmanager
def _left_as_found() -> Iterator[None]:
    """Remove the placement groups that come within, and what runs in them.

    An interrupted run of Tune's ends nothing: a driver of workers waits for Tune, and its workers wait for it.
    """
    import ray
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    earlier = placement_group_table().keys()
    try:
        yield
    finally:
        for _ in range(2):  # a driver starts its workers again if they end before it does
            left = {key for key, group in placement_group_table().items() if group["state"] != "REMOVED"} - earlier
            for key in left:
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(key))))
            if left:
                time.sleep(SETTLING_SECONDS)


def cluster_address() -> str:
    """Address of the Ray that this process has joined or started."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def start_ray(*, with_dashboard: bool = False, num_cpus: int | None = None) -> None:
    """Start Ray, for this machine alone; `num_cpus` are its cores unless they are given.

    Raises RuntimeError, as for Ray's other faults, if it did not come up in time.
    """
    os.environ.update({**ENVIRONMENT, **LOCAL_ENVIRONMENT})
    import ray

    try:
        with without_clusters():
            # "local", because without an address Ray joins whatever cluster it finds, also a dead one.
            ray.init(
                address="local",
                num_cpus=num_cpus or num_processors(),
                include_dashboard=with_dashboard,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
            )
    except Exception as error:
        if type(error) is Exception:  # what Ray raises on a machine that is too busy
            raise RuntimeError(f"Ray did not start: {error}") from error
        raise


@contextlib.contextmanager
def stop_signals(stop: threading.Event) -> Iterator[None]:
    """Make the first SIGINT or SIGTERM set `stop`, and the next one raise KeyboardInterrupt.

    To be entered after Ray has started, since that installs signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Have Ray's messages in a file rather than among ours on the terminal."""
    logger, handler = logging.getLogger("ray"), logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    earlier = list(logger.handlers)
    logger.handlers = [handler]
    try:
        yield
    finally:
        logger.handlers = earlier
        handler.close()
