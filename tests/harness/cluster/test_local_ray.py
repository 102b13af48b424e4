"""What of the local Ray can be tested without starting it: how signals stop a sweep."""

import os
import signal
import threading
from pathlib import Path

import pytest
import ray

from harness.cluster.local_ray import local_ray, stop_signals


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
