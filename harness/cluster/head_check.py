"""What a cluster's head can't do, checked there: `python -m harness.cluster.head_check`, which `ndcl cluster up` runs.

`ray up` ends well also where the head has no credentials, and trials would then wait for nodes for ever.
"""

import argparse
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import yaml

from harness.cluster import idle_guard
from harness.cluster.commands import MLFLOW
from harness.cluster.market import is_spot
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written, is_guarded
from harness.storage import Storage
from harness.terminal.lines import say
from ndcl.errors import UserError

HEALTH = f"{MLFLOW}/health"
GUARD_STARTS_SECONDS = 30
PROBE = ".head-check"


def problems(config: Mapping[str, Any], ray: str, storage: str | None) -> Iterator[str]:
    """What is wrong, each with its remedy; `ray` is the version of the machine that started the cluster."""
    if version("ray") != ray:
        yield f"Ray {version('ray')} is installed here, but {ray} where the cluster was started; install the same"
    if storage:
        yield from _storage_problems(storage)
    yield from _mlflow_problems()
    if any(map(is_spot, config["available_node_types"].values())) and not _is_soon(is_guarded):
        yield "the spot guard does not run, so that trials wait while there is no spot capacity; see ~/spot_guard.log"
    if idle_guard.is_wanted(config) and not _is_soon(idle_guard.is_guarded):
        yield (
            "the idle guard does not run, so that the cluster costs until `ndcl cluster down`; see ~/idle_guard.log, "
            "start it as clusters/aws.yaml does, or set metadata.idle_hours: 0"
        )
    if config["provider"]["type"] == "aws":
        from harness.cluster.aws.head_permissions import missing_rights

        yield from missing_rights(config)


def _storage_problems(place: str) -> Iterator[str]:
    try:
        storage = Storage(place, PROBE)
        storage.put("probe", "written by ndcl cluster up")
        storage.clear()
    except UserError as error:
        yield f"metadata.results: {error}"


def _mlflow_problems() -> Iterator[str]:
    try:
        with urllib.request.urlopen(HEALTH, timeout=10) as answer:
            answer.read()
    except OSError as error:
        yield f"MLflow does not answer at {HEALTH} ({error}); see ~/mlflow/server.log"


def _is_soon(is_guarded: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GUARD_STARTS_SECONDS
    while not is_guarded():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def main() -> None:
    """Print what is wrong; exit code 2 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.head_check", description=__doc__)
    parser.add_argument("--ray", required=True, help="version of Ray on the machine that starts the cluster")
    parser.add_argument("--storage", help="where results outlive the cluster")
    options = parser.parse_args()
    config = as_written(yaml.safe_load(BOOTSTRAP_FILE.expanduser().read_text()))
    found = list(problems(config, options.ray, options.storage))
    for problem in found:
        say(f"head: {problem}")
    say(f"head: {len(found)} problems" if found else "head: it can do what it must")
    sys.exit(2 if found else 0)


if __name__ == "__main__":
    main()
