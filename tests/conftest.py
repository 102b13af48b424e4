"""What all tests share: no telemetry, none of the user's stores, one thread a process, and one local Ray."""

import logging
import os
from collections.abc import Iterator

import pytest

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.update(RAY_USAGE_STATS_ENABLED="0", MLFLOW_DISABLE_TELEMETRY="true", OMP_NUM_THREADS="1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (`make test`) the tests of a file run in one of them, and all that share a Ray in one."""
    for item in items:
        if "local_ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


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
