"""What all tests share: no telemetry, none of the user's stores, one thread a process, one local Ray, and their order.

Nothing of what a process inherits may matter: signals, time zone, locale and working directory are set here.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.update(RAY_USAGE_STATS_ENABLED="0", MLFLOW_DISABLE_TELEMETRY="true", OMP_NUM_THREADS="1")
os.environ.update(TZ="UTC", LC_ALL="C.UTF-8")
time.tzset()

STARTED = time.monotonic()
TESTS = Path(__file__).parent
ORDER = ("integration", "journeys", "harness", "ndcl", "distributed", "clusters_live")
"""Folders in the order in which they run: what takes longest first, and last what a slow machine may leave out."""
WHOLE = {
    "clusters": ("clusters_live",),
    "docs": ("journeys",),
    "README.md": ("journeys",),
    "search_spaces": ("integration", "journeys"),
    "ndcl/parallel": ("distributed", "ndcl/parallel"),
    "harness/cluster": ("clusters_live", "harness/cluster"),
    "harness/search": ("integration", "harness/search"),
    "harness/state": ("integration", "harness/state"),
    "harness/storage": ("integration", "harness/storage"),
    "harness/sweep": ("integration", "harness/sweep", "distributed"),
    "harness/trials": ("integration", "harness/trials", "distributed"),
}
"""By the folder of a change, the folders of tests that play it in full; other changes have the folder of their name."""
NOT_BEGUN = "not begun"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="skip and name tests that would begin later than this")
    parser.addoption("--touched-first", action="store_true", help="begin with tests of what the last commit touches")


def pytest_configure() -> None:
    """A shell's job in the background inherits ignored interrupts, and would hand them on."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(TESTS.parent)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(_folder(item)) if _folder(item) in ORDER else 1)
    if config.getoption("--touched-first"):
        touched = touched_by(changes())
        items.sort(key=lambda item: not item.path.relative_to(TESTS).as_posix().startswith(touched))


def _folder(item: pytest.Item) -> str:
    """The folder of tests/ that a test is in, or its file."""
    return item.path.relative_to(TESTS).parts[0]


def changes() -> list[str]:
    """The files that the newest commit touches; none if there is no commit before it."""
    command = ["git", "diff", "HEAD~1", "--name-only"]
    return subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False).stdout.splitlines()


def touched_by(files: list[str]) -> tuple[str, ...]:
    """The beginnings of the paths below tests/ that these files touch."""
    found: set[str] = set()
    for file in files:
        top, _, rest = file.partition("/")
        if top == "tests":
            found.add(rest)
            continue
        folder = "/".join(file.split("/")[:2])
        found.update(WHOLE.get(folder) or WHOLE.get(top) or (folder,))
    return tuple(sorted(found))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """With two processes (`make test`): one runs the tests that share a Ray, and one the others, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        """What a test belongs to; pytest-xdist 3.8 does not see its own groups under pytest 9.2."""
        file = nodeid.split("::")[0]
        return next((folder for folder in ("tests/integration/", "tests/clusters_live/") if folder in file), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("--minutes")
    if minutes is not None and time.monotonic() - STARTED > 60 * minutes:
        pytest.skip(f"{NOT_BEGUN}: {minutes:g} minutes have passed (--minutes)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every test that was left out for lack of time; pytest's own summary gives their number alone."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report.nodeid for report in skipped if f"{NOT_BEGUN}: " in str(report.longrepr)]
    if left_out:
        terminalreporter.section(f"{len(left_out)} tests not begun for lack of time")
        for name in left_out:
            terminalreporter.line(name)


@pytest.fixture(scope="session")
def local_ray_session() -> Iterator[None]:
    """A Ray of two CPUs that all tests of a run share, since starting one takes seconds."""
    import ray

    from harness.cluster.local_ray import start_ray

    start_ray(num_cpus=2)
    yield
    ray.shutdown()
