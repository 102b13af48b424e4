"""What all tests share: no telemetry, none of the user's stores, one thread a process, and one local Ray."""

import logging
import os
import time
from collections.abc import Iterator

import pytest

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.update(RAY_USAGE_STATS_ENABLED="0", MLFLOW_DISABLE_TELEMETRY="true", OMP_NUM_THREADS="1")

STARTED = time.monotonic()
ORDER = ("integration", "harness", "ndcl", "cluster")
"""Folders in the order in which they run: what takes longest first, and last what a slow machine may leave out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="skip tests marked slow that would begin later than this after the start"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (`make test`) the tests of a file run in one of them, and all that share a Ray in one."""
    items.sort(key=lambda item: ORDER.index(item.path.parent.name) if item.path.parent.name in ORDER else 1)
    for item in items:
        if "local_ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


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
