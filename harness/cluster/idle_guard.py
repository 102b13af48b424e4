"""Ends a cluster that nobody uses: `python -m harness.cluster.idle_guard`, started on the head beside Ray.

A cluster is used while a job runs or waits for nodes, and while somebody is connected to the head by SSH. Where it has
not been for `metadata.idle_hours` of its YAML (2 by default; 0: never), its workers are ended and then the head itself,
by what Ray's autoscaler ends nodes with. Without `metadata.results` it stays up: only its head has the results.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from harness.cluster.commands import DASHBOARD_PORT
from harness.cluster.one_at_a_time import is_held, keep_alone
from harness.cluster.ray_internals import node_provider
from harness.cluster.ray_jobs import OPEN
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written
from ndcl.errors import UserError

DEFAULT_HOURS = 2.0
PAID = ("aws", "gcp", "azure")
"""Providers whose machines cost as long as they are there."""
LOCK_FILE = Path("~/.ndcl-idle-guard.lock")
"""Held while a guard runs."""
SSH_PORT = 22
ESTABLISHED = "01"
"""Of a connection in /proc/net/tcp."""
POLL_SECONDS = 60.0
END_SECONDS = 600.0
"""So long may a cloud take to end the head; then it is switched off."""
SWITCH_OFF = ("sudo", "-n", "shutdown", "-h", "now")


class Nodes(Protocol):
    """What Ray's node providers have in common."""

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """Ids of the nodes that have these tags."""

    def terminate_nodes(self, node_ids: list[str]) -> Any:
        """End nodes."""


def idle_hours(metadata: Mapping[str, Any]) -> float:
    """After how many hours without use a cluster ends; 0: never. Raises UserError if that is no such number."""
    value = metadata.get("idle_hours", DEFAULT_HOURS)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UserError(f"metadata.idle_hours: {value!r} is no number of hours; such as 2, or 0 for never")
    return float(value)


def is_wanted(config: Mapping[str, Any]) -> bool:
    """Whether a cluster costs while nobody uses it, and its file does not say that it is to stay up."""
    return config["provider"]["type"] in PAID and idle_hours(config.get("metadata") or {}) > 0


def is_used(ray_runs: Callable[[], bool], open_jobs: Callable[[], int], sessions: Callable[[], int]) -> bool:
    """Whether somebody works with the cluster. Jobs that can't be listed may run."""
    if sessions():
        return True
    if not ray_runs():
        return False
    try:
        return open_jobs() > 0
    except Exception:  # whatever Ray raises: what is not known must not end a sweep
        logging.exception("the jobs can't be listed, so that one may run")
        return True


class IdleGuard:
    """Counts how long a cluster has not been used, and ends it."""

    def __init__(self, config_file: Path, look: Callable[[], bool], end: Callable[[Mapping[str, Any]], None]) -> None:
        self._file, self._look, self._end = config_file, look, end
        self._used: float | None = None
        """When it was used last."""

    def step(self, now: float) -> bool:
        """Look once; whether the cluster was told to end."""
        config = as_written(yaml.safe_load(self._file.read_text()))
        metadata = config.get("metadata") or {}
        hours = idle_hours(metadata)
        if self._used is None or not hours or not metadata.get("results") or self._look():
            self._used = now
        if now - self._used < hours * 3600 or not hours:
            return False
        logging.info("no job and no SSH session for %g hours: the cluster ends", hours)
        self._end(config)
        return True


def end_cluster(config: Mapping[str, Any], provider: Nodes, stop_ray: Callable[[], object]) -> None:
    """End the workers, then Ray, whose autoscaler would start others, then the head; this machine goes with it."""
    from ray.autoscaler.tags import NODE_KIND_HEAD, NODE_KIND_WORKER, TAG_RAY_NODE_KIND

    _end_all(provider, {TAG_RAY_NODE_KIND: NODE_KIND_WORKER})
    stop_ray()
    _end_all(provider, {TAG_RAY_NODE_KIND: NODE_KIND_WORKER})
    _end_all(provider, {TAG_RAY_NODE_KIND: NODE_KIND_HEAD})


def _end_all(provider: Nodes, tags: dict[str, str]) -> None:
    nodes = list(provider.non_terminated_nodes(tags))
    if nodes:
        logging.info("ends %s", ", ".join(nodes))
        provider.terminate_nodes(nodes)


def num_sessions(*tables: Path) -> int:
    """The connections to this machine's SSH server, by the kernel's tables."""
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return sum(row[3] == ESTABLISHED and int(row[1].rpartition(":")[2], 16) == SSH_PORT for row in lines)


def num_open_jobs() -> int:
    """The jobs that run or wait, also programs that were started on the head by hand."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(f"http://127.0.0.1:{DASHBOARD_PORT}").list_jobs()
    return sum(job.status.name in OPEN for job in jobs)


def does_ray_run() -> bool:
    """Whether Ray's node process is there."""
    return subprocess.run(["pgrep", "-x", "raylet"], stdout=subprocess.DEVNULL, check=False).returncode == 0


def is_used_now() -> bool:
    """Whether somebody works with this head's cluster now."""
    return is_used(does_ray_run, num_open_jobs, lambda: num_sessions(Path("/proc/net/tcp"), Path("/proc/net/tcp6")))


def end_this_cluster(config: Mapping[str, Any]) -> None:
    """As `end_cluster`; the head is switched off where the cloud does not end it."""
    ray = Path(sys.executable).with_name("ray")
    provider = node_provider(config)
    try:
        end_cluster(config, provider, lambda: subprocess.run([ray, "stop"], stdout=subprocess.DEVNULL, check=False))
    except Exception:
        logging.exception("the cloud does not end the nodes; they are tried again, as long as the head runs")
        if does_ray_run():  # workers are left, which the autoscaler still ends
            return
    time.sleep(END_SECONDS)
    logging.info("the head still runs, and is switched off; its disk may keep costing: ndcl cluster down")
    subprocess.run(SWITCH_OFF, check=False)


def is_guarded() -> bool:
    """Whether a guard runs on this machine."""
    return is_held(LOCK_FILE)


def main() -> None:
    """Guard until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.idle_guard", description=__doc__)
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    guard = IdleGuard(BOOTSTRAP_FILE.expanduser(), is_used_now, end_this_cluster)
    keep_alone(LOCK_FILE, lambda: guard.step(time.monotonic()), options.poll_seconds)


if __name__ == "__main__":
    main()
