"""The journal of a sweep: one JSON file per trial, written atomically by the driver after each report.

These files are the truth that reports are made from, that MLflow is completed from and that a stopped sweep goes on
from. They need neither Ray nor Optuna nor MLflow to be read.
"""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from harness.storage import Storage

State = Literal["running", "waiting", "interrupted", "finished", "pruned", "failed"]
"""`waiting`: it has come as far as it may before the rest of its population has (population based training)."""
Stage = Literal["search", "final"]
STAGES: tuple[Stage, ...] = ("search", "final")
WARM_STARTED = "values from studies of other target domains"
"""Note of a trial whose study began with values that were selected with images of its target domain; the sweep."""
ENVIRONMENT = "environment"
"""Key of a reported evaluation: what its trial knows of where it runs."""
ENDED: tuple[State, ...] = ("finished", "pruned", "failed")
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
        """File-system safe name, unique per study: `ndcl.digits.long_tail-65.scan`."""
        return ".".join((self.algorithm, self.dataset, self.setting.replace("/", "~"), self.target))


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One training: what was asked, what came of it."""

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
    """Step at which it waits for its population; None: it trains to its end."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Such as the sweep that its first values were taken from."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Of its newest attempt: `git_revision` and `cluster` from its start on, the rest (`harness.environment`) from its
    first evaluation on."""

    @property
    def name(self) -> str:
        """Unique within the sweep: `ndcl.digits.long_tail-65.scan.search-003`."""
        return f"{self.study.name}.{self.stage}-{self.number:03d}"

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

    def with_evaluation(self, evaluation: dict[str, Any]) -> "TrialRecord":
        """The record with one more checkpoint; a step replayed after a fault replaces the earlier one.

        An evaluation that a trial reports has its `environment` with it, which the record keeps once.
        """
        kept = tuple(e for e in self.evaluations if e["step"] < evaluation["step"])
        own = {key: value for key, value in evaluation.items() if key != ENVIRONMENT}
        environment = self.environment | evaluation.get(ENVIRONMENT, {})
        return replace(self, evaluations=(*kept, own), environment=environment)


def last_lines(log: str) -> str:
    """The end of a log, as much as a record holds: MOST_LOG_LINES of LOG_WIDTH characters."""
    return "\n".join(line.rstrip()[:LOG_WIDTH] for line in log.strip().splitlines()[-MOST_LOG_LINES:])


class Journal:
    """The records of one sweep below a folder."""

    def __init__(self, folder: Path, storage: "Storage | None" = None) -> None:
        """What is written goes into the `storage` first, if there is one."""
        self.folder = folder / "trials"
        self._storage = storage

    def write(self, record: TrialRecord) -> None:
        """Replace the record's file atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{record.name}.json"
        partial = path.with_suffix(".partial")
        text = json.dumps({**vars(record), "study": vars(record.study)}, indent=1, allow_nan=False)
        if self._storage is not None:
            self._storage.put(f"{self.folder.name}/{path.name}", text)
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def read(self) -> list[TrialRecord]:
        """All records, by name."""
        return [_load(path) for path in sorted(self.folder.glob("*.json"))]


def _load(path: Path) -> TrialRecord:
    values = json.loads(path.read_text())
    values["study"] = StudyKey(**values["study"])
    values["evaluations"] = tuple(values["evaluations"])
    values["schedule"] = tuple(values.get("schedule", ()))
    return TrialRecord(**values)
