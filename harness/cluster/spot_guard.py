"""From spot instances to on-demand ones while there is no spot capacity, and back again later.

`python -m harness.cluster.spot_guard`, started on the head beside Ray. Ray's autoscaler asks for the same type of node
for ever, whatever the cloud answers, but reads its config anew in every round. So the guard reads the autoscaler's log,
and where a spot type could not be had a few times in a row, lets the config allow no more of it than run already: what
waits then gets the on-demand type. After a while the type is allowed again. Nodes that run are left alone.

What was written before the change stands in the config's own `metadata`, so that neither a restart of the guard nor a
new `ray up`, which replaces the file, can lose it.
"""

import argparse
import copy
import json
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.market import is_spot
from harness.cluster.one_at_a_time import is_held, keep_alone
from harness.cluster.ray_internals import bootstrap_address

BOOTSTRAP_FILE = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` puts the autoscaler's config on a head."""
MONITOR_LOG = Path("/tmp/ray/session_latest/logs/monitor.log")
LOCK_FILE = Path("~/.ndcl-spot-guard.lock")
"""Held while a guard runs."""
NO_CAPACITY = (
    "InsufficientInstanceCapacity",  # AWS, from here
    "SpotMaxPriceTooLow",
    "MaxSpotInstanceCountExceeded",
    "UnfulfillableCapacity",
    "ZONE_RESOURCE_POOL_EXHAUSTED",  # Google Cloud
    "SkuNotAvailable",  # Azure, from here
    "AllocationFailed",
)
"""What clouds say when they have no spot instance left, or none for this account."""
_LAUNCH = re.compile(r"(Launched|Failed to launch) \d+ nodes of type ([^\s:.]+)(.*)")
HELD = "spot_guard"
"""Key of the config's metadata that holds what the guard has changed."""
LIMITS = ("min_workers", "max_workers")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When to give spot up, and for how long."""

    failures: int = 3
    """Launches of a type that fail in a row before it is held back."""
    cooldown_seconds: float = 900.0
    """Until it is tried again."""


def as_written(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what the guard has changed in it."""
    original = copy.deepcopy(dict(config))
    for name, held in (original.get("metadata") or {}).pop(HELD, {}).items():
        original["available_node_types"][name].update({key: held[key] for key in LIMITS if key in held})
    return original


def held_back(config: Mapping[str, Any], until: Mapping[str, float], running: Mapping[str, int]) -> dict[str, Any]:
    """The config with no more of each type in `until` allowed than is `running`.

    `until` has the end of its time, in seconds since the epoch; other types are as they were written.
    """
    changed = as_written(config)
    for name, end in until.items():
        node_type = changed["available_node_types"][name]
        kept = {key: node_type[key] for key in LIMITS if key in node_type}
        changed["metadata"] = changed.get("metadata") or {}
        changed["metadata"].setdefault(HELD, {})[name] = kept | {"until": end}
        most = min(running.get(name, 0), kept.get("max_workers", running.get(name, 0)))
        node_type.update(max_workers=most, min_workers=min(most, kept.get("min_workers", 0)))
    return changed


def held_until(config: Mapping[str, Any]) -> dict[str, float]:
    """The types that are held back, with the end of their time."""
    return {name: held["until"] for name, held in ((config.get("metadata") or {}).get(HELD) or {}).items()}


class LaunchFailures:
    """How often in a row each type could not be had, by what the autoscaler logs."""

    def __init__(self, log: Path) -> None:
        """What is in the log now is over, and not counted."""
        self.in_a_row: Counter[str] = Counter()
        self._log = log
        self._inode, self._position = self._where()

    def read(self) -> None:
        """Count what has been logged since."""
        inode, size = self._where()
        if inode != self._inode or size < self._position:  # Ray was started anew, or the log was rotated
            self._inode, self._position = inode, 0
        if size == self._position:
            return
        with self._log.open("rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._position += len(whole + newline)
        for outcome, name, reason in _LAUNCH.findall(whole.decode(errors="replace")):
            if outcome == "Launched":
                self.in_a_row[name] = 0
            elif any(code in reason for code in NO_CAPACITY):
                self.in_a_row[name] += 1

    def _where(self) -> tuple[int, int]:
        if not self._log.exists():
            return 0, 0
        found = self._log.stat()
        return found.st_ino, found.st_size


class SpotGuard:
    """Keeps the autoscaler's config in step with what spot capacity there is."""

    def __init__(self, config_file: Path, failures: LaunchFailures, patience: Patience) -> None:
        self._file = config_file
        self._failures = failures
        self._patience = patience

    def step(self, now: float, running: Mapping[str, int]) -> None:
        """Hold types back, or allow them again; `running` has the number of nodes of each type."""
        self._failures.read()
        config = yaml.safe_load(self._file.read_text())
        until = {name: end for name, end in held_until(config).items() if end > now}
        for name, number in list(self._failures.in_a_row.items()):
            if number >= self._patience.failures and is_spot(config["available_node_types"].get(name, {})):
                until[name] = now + self._patience.cooldown_seconds
                self._failures.in_a_row[name] = 0
        self._log(held_until(config), until)
        wanted = held_back(config, until, running)
        if wanted != config:
            self._write(wanted)

    def _log(self, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        for name in after.keys() - before.keys():
            logging.info("%s: no capacity; held back for %g s", name, self._patience.cooldown_seconds)
        for name in before.keys() - after.keys():
            logging.info("%s: allowed again", name)

    def _write(self, config: Mapping[str, Any]) -> None:
        partial = self._file.with_name(f"{self._file.name}.partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(config))
        shutil.copymode(self._file, partial)
        partial.replace(self._file)


def running_nodes() -> Counter[str]:
    """The number of nodes of each type that Ray's autoscaler has or has asked for and got."""
    from ray.autoscaler.v2.sdk import get_cluster_status

    status = get_cluster_status(bootstrap_address())
    nodes = [*status.active_nodes, *status.idle_nodes, *status.pending_nodes]
    return Counter(node.ray_node_type_name for node in nodes)


def main() -> None:
    """Guard until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.spot_guard", description=__doc__)
    parser.add_argument("--failures", type=int, default=Patience.failures, help="in a row, before spot is given up")
    parser.add_argument(
        "--cooldown-seconds", type=float, default=Patience.cooldown_seconds, help="until it is tried again"
    )
    parser.add_argument("--poll-seconds", type=float, default=5.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    patience = Patience(failures=options.failures, cooldown_seconds=options.cooldown_seconds)
    guard = SpotGuard(BOOTSTRAP_FILE.expanduser(), LaunchFailures(MONITOR_LOG), patience)
    keep_alone(LOCK_FILE, lambda: guard.step(time.time(), running_nodes()), options.poll_seconds)


def is_guarded() -> bool:
    """Whether a guard runs on this machine."""
    return is_held(LOCK_FILE)


if __name__ == "__main__":
    main()
