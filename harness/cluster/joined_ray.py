"""The Ray of a cluster, for one sweep: joined, used, and left as it was."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.capacity import awaited_nodes, possible_nodes
from harness.cluster.commands import DATA_VARIABLE
from harness.cluster.local_ray import ENVIRONMENT, alive_nodes, log_to
from harness.cluster.ray_internals import without_clusters
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written
from ndcl.errors import UserError
from ndcl.filesystems import is_uri

ANSWER_SECONDS = 20
"""So long may a cluster take to answer."""
JOIN_SECONDS = 180
"""So long are machines of the user's own waited for, on which `ray up` starts Ray after the head's."""


@contextlib.contextmanager
def joined_ray(
    log_file: Path, address: str, say: Callable[[str], None] = lambda line: None, modules: Sequence[str] = ()
) -> Iterator[list[Mapping[str, float]]]:
    """Join the cluster at `address` (`auto`: the one of this machine); yield the resources of the nodes it can have.

    These are the nodes that are there; on the head of a cluster that `ray up` started, also those that its autoscaler
    may start for trials that wait. Machines of the user's own are waited for; `say` is called if some are missing.
    `modules` are paths of files or folders, the user's own, that the nodes get to import.
    Raises UserError if there is no cluster.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    require_answer(address)
    with log_to(log_file):
        try:
            with without_clusters() if _is_on_loopback(address) else contextlib.nullcontext():
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env=_runtime_environment(modules),
                )
        except ConnectionError as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"--address {address}: there is no Ray cluster ({reason}); start one, or leave it out"
            ) from None
        try:
            config = _cluster_config()
            yield possible_nodes(config, _nodes(awaited_nodes(config), say))
        finally:
            ray.shutdown()


def require_answer(address: str) -> None:
    """Raise UserError where nothing listens at `address`, HOST:PORT: Ray tries for minutes, and says so in C++."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(
            f"--address {address}: there is no Ray cluster ({' '.join(str(error).split())}); start one, or leave it out"
        ) from None


def _runtime_environment(modules: Sequence[str]) -> dict[str, Any]:
    """What the processes of the sweep get; an empty list of modules would fail in Ray."""
    variables = {"env_vars": {**ENVIRONMENT, **_data_place()}}
    return {**variables, "py_modules": list(modules)} if modules else variables


def _data_place() -> dict[str, str]:
    """Where data sets lie, for the nodes, if that is a URI; a path of this machine need not be theirs."""
    place = os.environ.get(DATA_VARIABLE, "")
    return {DATA_VARIABLE: place} if is_uri(place) else {}


def _is_on_loopback(address: str) -> bool:
    """Whether only this machine's loopback leads to a cluster: Ray would look for it at the machine's own address."""
    from ray.util import get_node_ip_address

    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdecimal():
        return False
    try:
        with socket.create_connection((get_node_ip_address(), int(port)), timeout=5):
            return False
    except OSError:
        return True


def _nodes(awaited: int, say: Callable[[str], None]) -> list[Mapping[str, float]]:
    """The resources of the nodes that are there, once all that are `awaited` are, or have had time for it."""
    deadline, is_told = time.monotonic() + JOIN_SECONDS, False
    while True:
        there = alive_nodes()
        if len(there) >= awaited:
            return there
        if time.monotonic() > deadline:
            say(f"continuing the {len(there)} of {awaited} machines that have joined")
            return there
        if not is_told:
            say(f"{len(there)} of {awaited} machines have joined; waiting up to {JOIN_SECONDS} s for the others")
            is_told = True
        time.sleep(1)


def _cluster_config() -> Mapping[str, Any]:
    """What the autoscaler of this head goes by, without what the spot guard has changed; empty where there is none."""
    path = BOOTSTRAP_FILE.expanduser()
    return as_written(yaml.safe_load(path.read_text())) if path.is_file() else {}
