"""A budget: what nodes cost while they run, and a sweep that stops cleanly when it is spent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import budget
from harness.cluster.budget import Meter, Watch, meter_of
from harness.cluster.cost import fleet_of
from harness.plan.cost import Range
from tests.harness.cluster.made_clusters import ROOT, changed
from tests.harness.cluster.test_cost import PRICES

SWEEP = """
import pathlib, signal, sys, time
def stop(*_):
    print("stopped cleanly", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print("begun", flush=True)
pathlib.Path(sys.argv[3]).touch()
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def meter(tmp_path: Path) -> Meter:
    """Of clusters/aws.yaml by round prices: 0.5 an hour for the head, 2 for a worker, spot at least a quarter of it."""
    return Meter(fleet_of(changed("aws", tmp_path, lambda _: None), PRICES), PRICES)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


def test_the_nodes_that_run_cost_and_no_others(meter: Meter) -> None:
    meter.add(3600, {"head": 1})
    assert meter.spent == Range(least=0.5, most=0.5)
    meter.add(1800, {"head": 1, "gpu_spot": 4, "gpu_ondemand": 1})
    assert meter.spent == Range(least=0.5 + 0.5 * (0.5 + 4 * 0.5 + 2), most=0.5 + 0.5 * (0.5 + 4 * 2 + 2))
    assert meter.seconds == 5400


@pytest.mark.parametrize("running", [None, {"head": 1, "a_type_of_another_file": 1}])
def test_nodes_that_are_not_known_cost_the_most_there_can_be(meter: Meter, running: Mapping[str, int] | None) -> None:
    assert meter.hour(running) == Range(least=0, most=8 * 2.0 + 0.5)


def test_the_limits_that_the_spot_guard_has_changed_are_no_limits_here(tmp_path: Path) -> None:
    file = changed("aws", tmp_path, lambda _: None)
    assert meter_of(file.values, PRICES).hour({"gpu_spot": 1}).most == 2.0


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A file that the sweep makes once it can be stopped cleanly."""
    return tmp_path / "begun"


def watched(
    meter: Meter, begun: Path, dollars: float, seconds: float, code: int = 0, nodes: Mapping[str, int] | None = None
) -> int:
    """Run the sweep; it is looked at once it has begun. Without `nodes` none can be seen."""

    def look() -> Mapping[str, int]:
        while not begun.exists():
            time.sleep(0.01)
        if nodes is None:
            raise ConnectionError("Ray is restarting")
        return nodes

    watch = Watch(meter, dollars, look, poll_seconds=0.1)
    return watch.run([sys.executable, "-c", SWEEP, str(seconds), str(code), str(begun)])


def test_a_sweep_within_its_budget_ends_as_it_does(
    meter: Meter, begun: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert watched(meter, begun, 5, 0.5, 3, {"head": 1}) == 3
    output = capfd.readouterr().out
    assert "stopped" not in output
    assert "budget: 0.00 to 0.00 of 5.00 US dollars spent in" in output


def test_a_sweep_is_stopped_cleanly_when_its_budget_is_spent(
    meter: Meter, begun: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    thousands = 10**6  # of dollars an hour, so that two rounds are enough
    assert watched(meter, begun, 100, 600, nodes={"head": 1, "gpu_spot": thousands}) == 130
    output = capfd.readouterr().out
    assert "stopped cleanly" in output
    [line] = [line for line in output.splitlines() if line.startswith("budget: ")]
    assert " of 100.00 US dollars spent in " in line
    assert ": stopped; submit the sweep again to resume it. " in line


def test_a_sweep_that_does_not_stop_is_killed(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(budget, "STOP_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    watch = Watch(meter, 100, lambda: {"gpu_spot": 10**7}, poll_seconds=1.0)
    assert watch.run([sys.executable, "-c", deaf]) == 130
    assert "budget: " in capfd.readouterr().out


def test_nodes_that_can_not_be_seen_spend_the_budget_too(
    meter: Meter, begun: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert watched(meter, begun, 0.0001, 600) == 130
    assert "stopped cleanly" in capfd.readouterr().out


def test_a_stop_of_the_job_is_left_to_the_sweep(meter: Meter, begun: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`ray job stop` sends SIGTERM to both processes; here the sweep is sent its own by the timer."""

    def stop() -> None:
        while "begun" not in seen:
            seen.append(capfd.readouterr().out.strip())
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        [child] = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "begun"], capture_output=True).stdout.split()
        os.kill(int(child), signal.SIGTERM)

    seen: list[str] = []
    thread = threading.Thread(target=stop)
    thread.start()
    assert watched(meter, begun, 5, 600, nodes={"head": 1}) == 130
    thread.join()


def test_a_sweep_does_not_outlive_its_watch(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(changed("aws", tmp_path, lambda _: None).values))
    code = (
        "import pathlib, sys; from harness.cluster import budget\n"
        f"budget.main(lambda: {{'head': 1}}, pathlib.Path({str(config)!r}))"
    )
    words = ["--dollars", "5", "--poll-seconds", "0.1", sys.executable, "-c", SWEEP, "600", "0"]
    words.append(str(tmp_path / "begun"))
    watch: Any = subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = iter(watch.stdout.readline, "")
    assert "begun\n" in lines
    watch.kill()
    assert "stopped cleanly\n" in lines
    watch.stdout.close()
    watch.wait()
