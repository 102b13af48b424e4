"""What of the local Ray can be tested without starting it: how many trials fit, and how signals stop a sweep."""

import os
import signal
import threading
from pathlib import Path

import pytest
import ray

from harness.local_ray import concurrency, local_ray, stop_signals
from ndcl.errors import UserError


@pytest.mark.parametrize(
    ("available", "needed", "limit", "expected"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0}, None, 8),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0}, 3, 3),
        ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}, None, 2),
        ({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25}, None, 4),
        ({"CPU": 2.0}, {"CPU": 0.1, "GPU": 0.0}, None, 20),
    ],
)
def test_as_many_trials_as_fit(
    available: dict[str, float], needed: dict[str, float], limit: int | None, expected: int
) -> None:
    assert concurrency(available, needed, limit) == expected


@pytest.mark.parametrize(
    ("needed", "message"),
    [
        ({"CPU": 1.0, "GPU": 1.0}, r"a trial needs 1 GPU, but there are 0; lower resources.gpus_per_trial"),
        ({"CPU": 4.0, "GPU": 0.0}, r"a trial needs 4 CPU, but there are 2; lower resources.cpus_per_trial"),
    ],
)
def test_a_trial_that_does_not_fit_is_refused(needed: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        concurrency({"CPU": 2.0}, needed, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), threading.Event()
    with stop_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_ray_that_does_not_come_up_is_a_fault_of_rays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**options: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", slow)
    with (
        pytest.raises(RuntimeError, match="Ray did not start: The current node timed out"),
        local_ray(tmp_path / "log"),
    ):
        pass
