"""What Ray Tune runs as a trial. The driver of a sweep holds it without torch, which only the workers import."""

from typing import Any


def run_trial(config: dict[str, Any]) -> None:
    """As `trial.run_trial`."""
    from harness.trials import trial

    trial.run_trial(config)
