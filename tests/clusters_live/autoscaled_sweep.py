"""A sweep on a cluster whose autoscaler starts and ends nodes, which are processes, for waiting trials: a program.

`python -m tests.clusters_live.autoscaled_sweep SWEEP.yaml RESULTS [once]`, in network, mount and process namespaces of
its own, since it starts a head as a cluster's YAML does. The sweep runs twice: first with one trial at a time, then,
with more trials, as it is written; with `once` only as it is written. Prints, as JSON, the numbers of nodes one after
the other, of each.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.autoscaler._private import fake_multi_node
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from rich.console import Console

from harness.cli.progress import Progress
from harness.cluster.spot_guard import BOOTSTRAP_FILE
from harness.sweep.run import run_sweep
from tests.integration import sweeps

MAX_WORKERS = 2
IDLE_SECONDS = 6
SCALES_DOWN_SECONDS = 120
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
CONFIG: dict[str, Any] = {
    "cluster_name": "made",
    "max_workers": MAX_WORKERS,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": IDLE_SECONDS / 60,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
    },
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {
            "resources": {"CPU": 1, "object_store_memory": 100_000_000},
            "node_config": {},
            "min_workers": 0,
            "max_workers": MAX_WORKERS,
        },
    },
    **{f"{name}_commands": [] for name in COMMANDS},
}


class Watch:
    """The numbers of nodes that there have been, as they changed."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            try:
                number = sum(node["Alive"] for node in ray.nodes())
            except Exception:  # the sweep joins and leaves in the other thread
                continue
            if not self.seen or self.seen[-1] != number:
                self.seen.append(number)


def start_head() -> None:
    """As head_start_ray_commands do."""
    text = yaml.safe_dump(CONFIG)
    BOOTSTRAP_FILE.expanduser().write_text(text)
    (Path(fake_multi_node.__file__).parent / "example.yaml").write_text(text)  # the wheel lacks it, and Ray reads it
    options = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1"}
    options |= {"RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}
    command = [
        "ray",
        "start",
        "--head",
        "--num-cpus=0",
        "--object-store-memory=100000000",
        "--dashboard-host=127.0.0.1",
        "--node-ip-address=127.0.0.1",  # Ray looks for its own by a way out, which there is not
    ]
    subprocess.run(
        [*command, f"--autoscaling-config={BOOTSTRAP_FILE.expanduser()}"], env={**os.environ, **options}, check=True
    )


def numbers_of_nodes(path: Path, results: Path) -> list[int]:
    """Of a run of the sweep, until idle nodes have gone or should have."""
    watch = Watch()
    watch.start()
    run_sweep(sweeps.planned(path, results), Progress(Console(quiet=True)), address="auto")
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    deadline = time.monotonic() + SCALES_DOWN_SECONDS
    while watch.seen[-1] > 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    watch.stop()
    ray.shutdown()
    return watch.seen


def one_at_a_time(path: Path) -> Path:
    """The sweep with nothing that waits but one trial, and fewer of these."""
    values = yaml.safe_load(path.read_text())
    values["search"]["num_trials"] //= 2
    values["resources"] = {"max_concurrent": 1}
    changed = path.with_name("one_at_a_time.yaml")
    changed.write_text(yaml.safe_dump(values))
    return changed


def main(path: Path, results: Path, *options: str) -> None:
    start_head()
    paths = [path] if "once" in options else [one_at_a_time(path), path]
    seen = [numbers_of_nodes(each, results) for each in paths]
    sys.stdout.write(f"\n{json.dumps(seen)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
