"""A Ray of one node, which the notice guard drains; its own program, since Ray is one a process:
`python -m tests.integration.noticed_node SERVER` prints what the guard has logged.
"""

import os
import subprocess
import sys
import time

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group

from harness.cluster.local_ray import ENVIRONMENT, OBJECT_STORE_BYTES
from harness.cluster.notice import mark_file


def main(server: str) -> None:
    os.environ.update(ENVIRONMENT)
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    earlier = placement_group([{"CPU": 1}])
    assert earlier.wait(60)
    remove_placement_group(earlier)
    command = [sys.executable, "-m", "harness.cluster.notice_guard", "--cloud", "gcp", "--server", server]
    guard = subprocess.Popen(
        command, env={**os.environ, "RAY_ADDRESS": cluster.address}, stderr=subprocess.PIPE, text=True
    )
    try:
        while not mark_file().exists():
            assert guard.poll() is None
            time.sleep(0.1)
        group = placement_group([{"CPU": 1}])  # as Tune asks for each trial; a task might reuse what is leased
        sys.stdout.write("placed\n" if group.wait(5) else "nothing new is placed\n")
    finally:
        guard.terminate()
        sys.stdout.write(guard.communicate()[1] + "\n")
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
