"""The Ray of a cluster, for one sweep: joined, used, and left as it was."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from harness.cluster.capacity import possible_nodes
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written
from harness.local_ray import ENVIRONMENT, log_to
from ndcl.errors import UserError


@contextlib.contextmanager
def joined_ray(log_file: Path, address: str) -> Iterator[list[Mapping[str, float]]]:
    """Join the cluster at `address` (`auto`: the one of this machine); yield the resources of the nodes it can have.

    These are the nodes that are there; on the head of a cluster that `ray up` started, also those that its autoscaler
    may start for trials that wait. Raises UserError if there is no cluster.
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
            there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            yield possible_nodes(_cluster_config(), there)
        finally:
            ray.shutdown()


def _cluster_config() -> Mapping[str, object]:
    """What the autoscaler of this head goes by, without what the spot guard has changed; empty where there is none."""
    path = BOOTSTRAP_FILE.expanduser()
    return as_written(yaml.safe_load(path.read_text())) if path.is_file() else {}
