"""Ray Tune's three doors into a sweep: a searcher, a scheduler and a callback that pass its events to the conductor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from harness.conductor import Conductor
from harness.records import last_lines
from harness.trial import CHECKPOINT, EVALUATION, FAILURE, LOG, RESTARTED

if TYPE_CHECKING:
    from ray.tune import Checkpoint


class SweepSearcher(Searcher):
    """Hands out the trials that are due, of whichever study."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config, None while others have to end first, FINISHED when all is done."""
        config = self._conductor.next_trial()
        if config is None and self._conductor.is_done:
            return str(Searcher.FINISHED)
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the callback below is told of every end, with its reason."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: a sweep goes on from its journal."""


class SweepScheduler(FIFOScheduler):
    """Stops the trials that their study's pruner gives up."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Take note of a report before Tune's own bookkeeping."""
        name = trial.config["name"]
        if FAILURE in result:
            self._conductor.on_failure(name, result[FAILURE], result[LOG])
        elif RESTARTED in result:
            self._conductor.on_restart(name)
        elif self._is_to_stop(name, result):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def _is_to_stop(self, name: str, result: dict[str, Any]) -> bool:
        stops = self._conductor.on_evaluation(name, json.loads(result[EVALUATION]))
        if CHECKPOINT in result:  # stored by Ray Train, of which Tune knows nothing
            self._conductor.on_checkpoint(name, result[CHECKPOINT])
        return stops


class SweepCallback(Callback):
    """Passes on checkpoints, restarts and ends."""

    def __init__(self, conductor: Conductor, on_step: Callable[[], None]) -> None:
        """`on_step` is called several times a second; what it raises ends the sweep."""
        self._conductor = conductor
        self._on_step = on_step

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called before each event of Tune's."""
        self._on_step()

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: "Checkpoint", **info: Any
    ) -> None:
        """A checkpoint has been stored."""
        self._conductor.on_checkpoint(trial.config["name"], checkpoint.path)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process died and is started again."""
        self._conductor.on_restart(trial.config["name"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has finished or was stopped."""
        self._conductor.on_end(trial.config["name"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial can't go on, whatever was tried."""
        log = _log(trial)
        reason = f"its process was lost {trial.run_metadata.num_failures} times: {_newest_failure(log)}"
        self._conductor.on_end(trial.config["name"], error=reason[:500], log=last_lines(log))

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles its callbacks, for a restore that is never used."""
        return str, ("callback",)


def _log(trial: Trial) -> str:
    """What Tune has noted of each failure, from this machine; `get_error` looks where that may not be yet."""
    path: str | None = trial.error_file
    return Path(path).read_text() if path else ""


def _newest_failure(log: str) -> str:
    """The first line of the last failure, below the line with its number and time."""
    lines = [line.strip() for line in log.rpartition("Failure # ")[2].splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else "unknown error"
