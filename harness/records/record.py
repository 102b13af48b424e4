"""The journal of a sweep: one JSON file per trial, written atomically by the driver after each report.

These files are the truth that reports are made from, that MLflow is completed from and that a stopped sweep continues
from. They need neither Ray nor Optuna nor MLflow to be read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.records.file_names import file_name
from ndcl.config import NO_TARGET

State = Literal["running", "waiting", "interrupted", "finished", "pruned", "failed"]
"""`waiting`: it has come as far as it may before the rest of its population has (population based training), or to a
rung from which it has to be promoted (successive halving)."""
Stage = Literal["search", "review", "final", "ensemble"]
STAGES: tuple[Stage, ...] = ("search", "final")
"""Those that a sweep goes through. A second look (`review`) belongs to the search, and an ensemble to the final runs
that it combines: each starts when these may, and occupies what they do."""
TRAININGS: tuple[Stage, ...] = ("search", "review", "final")
"""Those that train."""
WARM_STARTED = "values from studies of other target domains"
"""Note of a trial whose study began with values that were selected with images of its target domain; the sweep."""
FIRST_VALUES = "values from an earlier sweep"
"""Note of a search trial whose study began with values of another sweep; the sweep."""
CHECKPOINT_BY = "checkpoint chosen by"
"""Note of a trial that is not judged at the checkpoint where its own criteria are highest: by which it is chosen. Of a
second look these are the search's; of a search by likelihood see `harness.records.selection.checkpoint_criteria`."""
AVERAGED = "weights are averaged"
"""Note of an ensemble that is to be one network, the mean of its members' weights; true."""
PAUSED = "paused at steps"
"""Note of a trial that has waited for its promotion: at which rungs."""
ENVIRONMENT = "environment"
"""Key of a reported evaluation: what its trial knows of where it runs."""
ENDED: tuple[State, ...] = ("finished", "pruned", "failed")
SELECTED = "selected"
"""Key of a reported evaluation: what the target's test images say of an earlier one, by its step."""
CONFUSION = "target_confusion"
"""Key of an evaluation: the confusion matrix [K][K] of the target's test images; a record keeps that of one."""
MOST_LOG_LINES, LOG_WIDTH = 40, 500


@dataclass(frozen=True, kw_only=True)
class StudyKey:
    """What makes a study: unique within a sweep."""

    algorithm: str
    dataset: str
    setting: str
    """Name of the setting, with its ratio where it has one: `long_tail-65`, `released/cross`."""
    target: str

    @property
    def name(self) -> str:
        """Fit for files, folders and addresses, and unique within the sweep: `ndcl.digits.long_tail-65.scan`."""
        return file_name(self.algorithm, self.dataset, self.setting, self.target)

    @property
    def title(self) -> str:
        """The same for people, with the target domain's name as it is."""
        return ".".join((self.algorithm, self.dataset, self.setting, self.target))


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One training, or one ensemble of some: what was asked, what came of it."""

    study: StudyKey
    stage: Stage
    number: int
    """Counts from 0 within the study and stage."""
    values: dict[str, Any]
    """Searched values by dotted key, such as `algorithm.alpha`, as they were drawn; `schedule` may change them."""
    config: dict[str, Any]
    """The resolved TrainConfig; while a schedule is found, with the values of now."""
    state: State = "running"
    reason: str | None = None
    """Why it failed or was pruned, in one line."""
    log: str = ""
    """If it failed, the last lines of what it left, such as a traceback."""
    evaluations: tuple[dict[str, Any], ...] = ()
    """`ndcl.evaluation.Evaluation.to_dict()` of each checkpoint, by rising step."""
    started: float = 0.0
    """Seconds since the epoch."""
    ended: float | None = None
    attempts: int = 1
    """How often it was started: more than one after an interruption or a fault."""
    checkpoint: str | None = None
    """Folder or URI of the newest checkpoint."""
    schedule: tuple[dict[str, Any], ...] = ()
    """Population based training: the `step` of each change, and all searched `values` from there on."""
    until: int | None = None
    """Step at which it waits for its population or its promotion; None: it trains to its end."""
    members: tuple[str, ...] = ()
    """Of an ensemble, the names of the final runs that it combines."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Such as the sweep that its first values were taken from."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Of its newest attempt: `git_revision` and `cluster` from its start on, the rest
    (`harness.trials.environment`) from its first evaluation on."""

    @property
    def name(self) -> str:
        """Unique within the sweep: `ndcl.digits.long_tail-65.scan.search-003`."""
        return f"{self.study.name}.{self.stage}-{self.number:03d}"

    @property
    def is_training(self) -> bool:
        """Whether it trained anything; an ensemble combines what others have."""
        return self.stage in TRAININGS

    @property
    def has_target(self) -> bool:
        """Whether a domain stays unseen; without one it is trained for a site that nobody has labels for."""
        known = [evaluation.get("target", {}).get("num_images") for evaluation in self.evaluations]
        return self.study.target != NO_TARGET or any(known)

    @property
    def recipe(self) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
        """What it has to be trained by anew, but for the seed: values to start with, and their changes."""
        if self.schedule and self.schedule[0]["step"] == 0:  # it has taken over the past of another
            return self.schedule[0]["values"], self.schedule[1:]
        return self.values, self.schedule

    @property
    def step(self) -> int:
        """Optimiser steps up to the newest evaluation."""
        return int(self.evaluations[-1]["step"]) if self.evaluations else 0

    @property
    def is_waiting(self) -> bool:
        """Whether it has come as far as it may: to an exchange of its population, or to a rung."""
        return self.state == "waiting" and self.step == self.until

    @property
    def has_stopped(self) -> bool:
        """Whether nothing of it is on its way: it has ended, or waits."""
        return self.state in ENDED or self.is_waiting

    def with_evaluation(self, evaluation: dict[str, Any]) -> "TrialRecord":
        """The record with one more checkpoint; a step replayed after a fault replaces the earlier one.

        An evaluation that a trial reports has its `environment` with it, which the record keeps once.
        """
        own = {key: value for key, value in evaluation.items() if key != ENVIRONMENT}
        environment = self.environment | evaluation.get(ENVIRONMENT, {})
        return replace(self, evaluations=tuple(joined(self.evaluations, own)), environment=environment)


def joined(evaluations: Iterable[dict[str, Any]], newest: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluations before the step of `newest`, and that one.

    What the last of a training has learned of the `selected` one stands with the latter from then on.
    """
    look = newest.get(SELECTED, {})
    own = {key: value for key, value in newest.items() if key != SELECTED}
    found = [*(each for each in evaluations if each["step"] < newest["step"]), own]
    return [each | look if each["step"] == look.get("step") else each for each in found]


def phase_of(stage: Stage) -> Stage:
    """Which of the STAGES it is part of."""
    return "search" if stage == "review" else "final" if stage == "ensemble" else stage


def last_lines(log: str) -> str:
    """The end of a log, as much as a record holds: MOST_LOG_LINES of LOG_WIDTH characters."""
    return "\n".join(line.rstrip()[:LOG_WIDTH] for line in log.strip().splitlines()[-MOST_LOG_LINES:])


def digest_of(record: TrialRecord) -> str | None:
    """That of the data a training saw, if it says so: from its first evaluation on, and not in early versions."""
    digest: str | None = record.environment.get("data", {}).get("digest")
    return digest
