"""A sweep on a Ray of three nodes on this machine, over which a trial's workers are spread, and one of which is killed.

A program of its own, since Ray is one a process: `python -m tests.integration.cluster_of_workers SWEEP.yaml RESULTS`.
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
from tests.integration.train_workers import parent_of, train_workers


def kill_a_node_of_the_trial(cluster: Cluster, results: Path) -> None:
    """Kill the last node once the trial has left a checkpoint; say where its workers are before and afterwards."""
    wait_for_step(results, 3)
    before = where_workers_are()
    cluster.remove_node(list(cluster.worker_nodes)[-1], allow_graceful=False)
    wait_for_step(results, sweeps.records(results)[0].step + 9)
    sys.stdout.write(f"{before}, then {where_workers_are()}\n")


def wait_for_step(results: Path, step: int) -> None:
    while not any(record.checkpoint and record.step >= step for record in sweeps.records(results)):
        time.sleep(0.02)


def where_workers_are() -> str:
    workers = train_workers(os.getpid())
    return f"{len(workers)} workers on {len({parent_of(pid) for pid in workers})} nodes"


def main(path: Path, results: Path) -> None:
    os.environ.update(ENVIRONMENT)
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    killer = threading.Thread(target=kill_a_node_of_the_trial, args=(cluster, results), daemon=True)
    killer.start()
    try:
        run_sweep(sweeps.planned(path, results), Progress(Console()))
        killer.join()
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
