"""A sweep on a Ray of three nodes on this machine, one of which is killed; a program of its own, since Ray is one a
process: `python -m tests.integration.cluster_of_nodes SWEEP.yaml RESULTS`.
"""

import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from harness.local_ray import ENVIRONMENT, OBJECT_STORE_BYTES
from harness.progress import Progress
from harness.sweep import run_sweep
from tests.integration import sweeps


def kill_when_all_train(cluster: Cluster, results: Path) -> None:
    """Kill the last node as soon as each has a trial that has left a checkpoint."""
    *_, head, last = (cluster.head_node, *cluster.worker_nodes)
    assert head is not last
    while sum(record.checkpoint is not None for record in sweeps.in_state(results, "running")) < 2:
        time.sleep(0.05)
    cluster.remove_node(last, allow_graceful=False)


def main(path: Path, results: Path) -> None:
    os.environ.update(ENVIRONMENT)
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    killer = threading.Thread(target=kill_when_all_train, args=(cluster, results))
    killer.start()
    try:
        run_sweep(sweeps.planned(path, results), Progress(Console()))
    finally:
        killer.join()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
