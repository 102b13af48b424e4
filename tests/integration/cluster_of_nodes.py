"""A sweep on a Ray of three nodes on this machine, one of which is killed or given notice; its own program, since
Ray is one a process: `python -m tests.integration.cluster_of_nodes SWEEP.yaml RESULTS killed|noticed`.
"""

import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from harness.cli.progress import Progress
from harness.cluster.local_ray import ENVIRONMENT, OBJECT_STORE_BYTES
from harness.cluster.notice import MARK
from harness.cluster.ray_internals import drain_node
from harness.sweep.run import run_sweep
from tests.integration import sweeps


def kill_when_all_train(cluster: Cluster, results: Path) -> None:
    """Kill the last node as soon as each has a trial that has left a checkpoint."""
    *_, head, last = (cluster.head_node, *cluster.worker_nodes)
    assert head is not last
    while sum(record.checkpoint is not None for record in sweeps.in_state(results, "running")) < 2:
        time.sleep(0.05)
    cluster.remove_node(last, allow_graceful=False)


def give_notice_when_all_train(cluster: Cluster, results: Path) -> None:
    """As the notice guard does on a node, for the last one."""
    last = list(cluster.worker_nodes)[-1]
    while sum(record.checkpoint is not None for record in sweeps.in_state(results, "running")) < 2:
        time.sleep(0.05)
    drain_node(cluster.address, last.node_id, 600, "a test")
    mark_of(results, 1).write_text("a test\n")


def mark_of(results: Path, node: int) -> Path:
    """The mark of one of the nodes, which are on one machine."""
    return results / f"notice-{node}"


def main(path: Path, results: Path, what: str) -> None:
    os.environ.update(ENVIRONMENT)
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for number in range(2):
        variables = {MARK: str(mark_of(results, number))}
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, env_vars=variables)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    change = {"killed": kill_when_all_train, "noticed": give_notice_when_all_train}[what]
    killer = threading.Thread(target=change, args=(cluster, results))
    killer.start()
    try:
        run_sweep(sweeps.planned(path, results), Progress(Console()))
    finally:
        killer.join()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
