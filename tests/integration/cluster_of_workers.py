"""A sweep on a Ray of three nodes of this machine, over which a trial's workers are spread; one is killed, late or
given notice. Its own program, since Ray is one a process:
`python -m tests.integration.cluster_of_workers SWEEP.yaml RESULTS killed|late|noticed`.
"""

import atexit
import os
import subprocess
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
from tests.integration.train_workers import parent_of, train_workers

NODE = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}


def kill_a_node_of_the_trial(cluster: Cluster, results: Path) -> None:
    """Kill the last node once the trial has left a checkpoint; say where its workers are before and afterwards."""
    wait_for_step(results, 3)
    before = where_workers_are()
    cluster.remove_node(list(cluster.worker_nodes)[-1], allow_graceful=False)
    wait_for_step(results, sweeps.records(results)[0].step + 9)
    sys.stdout.write(f"{before}, then {where_workers_are()}\n")


def add_a_node_to_the_trial(cluster: Cluster, results: Path) -> None:
    """Add the third node once the trial has left a checkpoint; say where its workers are before and afterwards."""
    wait_for_step(results, 3)
    before = where_workers_are()
    # a process of its own, since Ray starts nodes in a main thread alone
    words = [f"--address={cluster.address}", "--num-cpus=1", f"--object-store-memory={OBJECT_STORE_BYTES}", "--block"]
    node = subprocess.Popen([Path(sys.executable).parent / "ray", "start", *words], stdout=subprocess.DEVNULL)
    atexit.register(node.terminate)
    while where_workers_are() != "3 workers on 3 nodes" and sweeps.records(results)[0].state == "running":
        time.sleep(0.5)
    sys.stdout.write(f"{before}, then {where_workers_are()}\n")


def give_notice_to_a_node_of_the_trial(cluster: Cluster, results: Path) -> None:
    """As the notice guard does on a node: on the last one, once the trial has left a checkpoint."""
    wait_for_step(results, 3)
    before = where_workers_are()
    drain_node(cluster.address, list(cluster.worker_nodes)[-1].node_id, 600, "a test")
    mark_of(results, 1).write_text("a test\n")
    while sweeps.records(results)[0].attempts == 1 and sweeps.records(results)[0].state == "running":
        time.sleep(0.02)
    wait_for_step(results, sweeps.records(results)[0].step + 9)
    sys.stdout.write(f"{before}, then {where_workers_are()}\n")


def mark_of(results: Path, node: int) -> Path:
    """The mark of one of the nodes, which are on one machine."""
    return results / f"notice-{node}"


def wait_for_step(results: Path, step: int) -> None:
    while not any(record.checkpoint and record.step >= step for record in sweeps.records(results)):
        time.sleep(0.02)


def where_workers_are() -> str:
    workers = train_workers(os.getpid())
    return f"{len(workers)} workers on {len({parent_of(pid) for pid in workers})} nodes"


CHANGES = {
    "killed": kill_a_node_of_the_trial,
    "late": add_a_node_to_the_trial,
    "noticed": give_notice_to_a_node_of_the_trial,
}


def main(path: Path, results: Path, what: str) -> None:
    os.environ.update(ENVIRONMENT)
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    for number in range(1 if what == "late" else 2):
        cluster.add_node(**NODE, env_vars={MARK: str(mark_of(results, number))})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    changer = threading.Thread(target=CHANGES[what], args=(cluster, results), daemon=True)
    changer.start()
    try:
        run_sweep(sweeps.planned(path, results), Progress(Console()))
        changer.join()
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
