"""Ray Tune's three doors into a sweep: a searcher, a scheduler and a callback; their events reach the controller."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from harness.records.record import last_lines
from harness.sweep.controller import SweepController
from harness.trials.messages import CHECKPOINT, EVALUATION, FAILURE, LOG, NOTICE, RESTARTED

if TYPE_CHECKING:
    from ray.tune import Checkpoint

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class SweepSearcher(Searcher):
    """Hands out the trials that are due, of whichever study."""

    def __init__(self, controller: SweepController) -> None:
        super().__init__()
        self._conductor = controller

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config, None while others have to end first, FINISHED when all is done."""
        config = self._conductor.next_trial()
        if config is None and self._conductor.is_done:
            return str(Searcher.FINISHED)
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the callback below is notified of every end, with its reason."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: a sweep resumes from its journal."""


class SweepScheduler(FIFOScheduler):
    """Stops the trials that their study's pruner gives up."""

    def __init__(self, controller: SweepController) -> None:
        super().__init__()
        self._conductor = controller

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Take note of a report before Tune's own bookkeeping."""
        name = trial.config["name"]
        if FAILURE in result:
            self._conductor.on_failure(name, result[FAILURE], result[LOG])
        elif RESTARTED in result:
            self._conductor.on_restart(name)
        elif NOTICE in result:
            self._take_checkpoint(name, result)
            self._conductor.on_notice(name)
            trial.run_metadata.num_failures -= 1  # its process raises next, which Tune counts as a failure
        elif self._is_to_stop(name, result):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def _is_to_stop(self, name: str, result: dict[str, Any]) -> bool:
        stops = self._conductor.on_evaluation(name, json.loads(result[EVALUATION]))
        self._take_checkpoint(name, result)
        return stops

    def _take_checkpoint(self, name: str, result: dict[str, Any]) -> None:
        if CHECKPOINT in result:  # stored by Ray Train, of which Tune knows nothing
            self._conductor.on_checkpoint(name, result[CHECKPOINT])


class SweepCallback(Callback):
    """Passes on checkpoints, restarts and ends."""

    def __init__(self, controller: SweepController, on_step: Callable[[], None]) -> None:
        """`on_step` is called several times a second; what it raises ends the sweep."""
        self._conductor = controller
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
        """The trial can't continue, whatever was tried."""
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
    """What was raised, in one line: of a Python error in the process the error itself, else what Ray says of its end.

    The first line of a failure has its number and time, the second begins with Ray's own error.
    """
    text = _COLOUR.sub("", log.rpartition("Failure # ")[2])
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    raised = re.search(r"RayTaskError\((\w+)\)", lines[0]) if lines else None
    telling = [line for line in lines if raised and re.match(rf"([\w.]+\.)?{raised[1]}: ", line)]
    return next(iter([*telling[-1:], *lines]), "unknown error")
