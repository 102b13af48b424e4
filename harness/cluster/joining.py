"""The Ray of a cluster, for one sweep: joined, used, and left as it was."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.capacity import awaited_nodes, possible_nodes
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written
from harness.local_ray import ENVIRONMENT, alive_nodes, log_to
from ndcl.errors import UserError

JOIN_SECONDS = 180
"""So long are machines of the user's own waited for, on which `ray up` starts Ray after the head's."""


@contextlib.contextmanager
def joined_ray(
    log_file: Path, address: str, say: Callable[[str], None] = lambda line: None
) -> Iterator[list[Mapping[str, float]]]:
    """Join the cluster at `address` (`auto`: the one of this machine); yield the resources of the nodes it can have.

    These are the nodes that are there; on the head of a cluster that `ray up` started, also those that its autoscaler
    may start for trials that wait. Machines of the user's own are waited for; `say` is told if some are missing.
    Raises UserError if there is no cluster.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    with log_to(log_file):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": ENVIRONMENT},
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


def _nodes(awaited: int, say: Callable[[str], None]) -> list[Mapping[str, float]]:
    """The resources of the nodes that are there, once all that are `awaited` are, or have had time for it."""
    deadline, is_told = time.monotonic() + JOIN_SECONDS, False
    while True:
        there = alive_nodes()
        if len(there) >= awaited:
            return there
        if time.monotonic() > deadline:
            say(f"going on with the {len(there)} of {awaited} machines that have joined")
            return there
        if not is_told:
            say(f"{len(there)} of {awaited} machines have joined; waiting up to {JOIN_SECONDS} s for the others")
            is_told = True
        time.sleep(1)


def _cluster_config() -> Mapping[str, Any]:
    """What the autoscaler of this head goes by, without what the spot guard has changed; empty where there is none."""
    path = BOOTSTRAP_FILE.expanduser()
    return as_written(yaml.safe_load(path.read_text())) if path.is_file() else {}
