"""What all tests share: no telemetry, none of the user's stores, one thread a process, and one local Ray."""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.update(RAY_USAGE_STATS_ENABLED="0", MLFLOW_DISABLE_TELEMETRY="true", OMP_NUM_THREADS="1")

STARTED = time.monotonic()
ORDER = ("integration", "harness", "ndcl", "distributed", "cluster")
"""Folders in the order in which they run: what takes longest first, and last what a slow machine may leave out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="skip tests marked slow that would begin later than this after the start"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.parent.name) if item.path.parent.name in ORDER else 1)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """With two processes (`make test`): one runs the tests that share a Ray, and one the others, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        """What a test belongs to; pytest-xdist 3.8 does not see its own groups under pytest 9.2."""
        file = nodeid.split("::")[0]
        return next((folder for folder in ("tests/integration/", "tests/cluster/") if folder in file), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("--minutes")
    if minutes is not None and item.get_closest_marker("slow") and time.monotonic() - STARTED > 60 * minutes:
        pytest.skip(f"slow, and {minutes:g} minutes have passed (--minutes)")


@pytest.fixture(scope="session")
def local_ray_session() -> Iterator[None]:
    """A Ray of two CPUs that all tests of a run share, since starting one takes seconds."""
    import ray

    from harness.local_ray import ENVIRONMENT, OBJECT_STORE_BYTES

    os.environ.update(ENVIRONMENT)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    yield
    ray.shutdown()
