"""What Ray keeps to itself and the harness needs: all of it stands here, and is tested."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any


def torch_backend() -> type[Any]:
    """Ray Train's backend that prepares workers for torch.distributed; its config names the class to use."""
    from ray.train.torch.config import _TorchBackend

    return _TorchBackend  # type: ignore[no-any-return]


def health_check_error() -> type[Any]:
    """What stands for a worker that has died among the failures of a group."""
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    return WorkerHealthCheckFailedError  # type: ignore[no-any-return]


def nvml() -> Any:
    """NVIDIA's management library, which Ray brings along."""
    from ray._private.thirdparty import pynvml

    return pynvml


def bootstrap_address() -> str:
    """The address of the cluster that this machine is a node of."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die(None))


def drain_this_node(seconds: float, reason: str) -> None:
    """Have Ray put nothing new on this node, which goes in so many seconds. Raises RuntimeError if Ray refuses."""
    import ray

    address = bootstrap_address()
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        node = ray.get_runtime_context().get_node_id()
    finally:
        ray.shutdown()
    drain_node(address, node, seconds, reason)


def drain_node(address: str, node: str, seconds: float, reason: str) -> None:
    """As `drain_this_node`, for a node of the cluster at `address` by its id in hexadecimal digits."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    why, end = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), int((time.time() + seconds) * 1000)
    accepted, refusal = GcsClient(address=address).drain_node(node, why, reason, end)
    if not accepted:
        raise RuntimeError(f"Ray does not drain node {node}: {refusal}")


def node_provider(config: Mapping[str, Any]) -> Any:
    """What starts and ends the nodes of a cluster, as its autoscaler uses it; `config` is the autoscaler's."""
    from ray.autoscaler._private.providers import _get_node_provider

    return _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)


@contextlib.contextmanager
def without_clusters() -> Iterator[None]:
    """Have `ray.init` choose 127.0.0.1 as the node's address, as on macOS and Windows, where clusters are off.

    The variable for this, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, is read when Ray is imported, which has often happened.
    """
    from ray._private import ray_constants

    earlier = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = earlier


def keep_credentials_out_of_logs() -> None:
    """Have Tune leave AWS credentials out of trials' runtime environments, which Ray writes to its log in plain text.

    Trials have those of the node that they run on; on one machine that is the driver's environment.
    """
    from ray.tune.execution import class_cache

    names = class_cache.ENV_VARS_TO_PROPAGATE
    names.difference_update([name for name in names if name.startswith("AWS_")])


def take_prestarted_workers() -> None:
    """Have Tune's trials take the processes that Ray has started already, rather than start others.

    Tune gives each of its actors a variable for PyTorch Lightning, for which Ray starts a process of its own.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()
