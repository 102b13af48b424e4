"""Which trial a study selected, why, and the values to train it by anew: for people and for other programs. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.dotted_keys import without
from harness.config.yaml_files import yaml_text
from harness.records import StudyKey, TrialRecord, best_checkpoint
from harness.records.places import SWEEP_FILE
from harness.records.selection import criteria, merit, ranking
from harness.search.figures import StudyFigures
from harness.state import StudySummary
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.unused import unused_keys

REPORT_FILES = ("report.html", "report.md", "report.json", "report.tex", SWEEP_FILE)


@dataclass(frozen=True, kw_only=True)
class StudySelection:
    """The end of a study's search."""

    key: StudyKey
    selected: TrialRecord
    records: Sequence[TrialRecord]
    """Of the study, search trials, second looks and final runs."""

    @property
    def name(self) -> str:
        """Unique within the sweep."""
        return f"{self.key.name}.selection"

    def files(self) -> dict[str, str]:
        """Contents by file name: `best_config.yaml`, a TrainConfig for `ndcl train`, and `selection.json`."""
        return {
            "best_config.yaml": yaml_text(_trainable(self.selected.config)),
            "selection.json": json.dumps(self.record(), indent=1, allow_nan=False),
        }

    def record(self) -> dict[str, Any]:
        """By what the trials were compared, all that could be selected in their order, and the final runs."""
        finished = [record for record in self.records if record.state == "finished"]
        search, reviews = (
            ranking(record for record in finished if record.stage == stage) for stage in ("search", "review")
        )
        return {
            "study": self.key.name,
            "selected_by": list(criteria((reviews or [self.selected])[0])),
            "selected": self.selected.name,
            "values": self.selected.values,
            "candidates": [_candidate(record) for record in search],
            **({"second_looks": [_candidate(record) for record in reviews]} if reviews else {}),
            "final_runs": [
                _candidate(record) | {"seed": record.config["seed"], "selected": record.recipe == self.selected.recipe}
                for record in sorted(finished, key=lambda record: record.number)
                if record.stage == "final"
            ],
        }


def _trainable(config: dict[str, Any]) -> dict[str, Any]:
    """The config without values that a search may try, but that change nothing and `ndcl train` would refuse."""
    try:
        unused = unused_keys(TrainConfig.from_dict(config))
    except UserError:  # of an algorithm or with keys that this code does not have
        return config
    for key in unused:
        config = without(config, key)
    return config


def _candidate(record: TrialRecord) -> dict[str, Any]:
    best = best_checkpoint(record)
    return {
        "trial": record.name,
        "step": best and best["step"],
        "merit": best and merit(best, criteria(record)),
        "values": record.values,
    }


@dataclass(frozen=True, kw_only=True)
class SweepSummary:
    """One sweep, as its MLflow run and experiment show it."""

    folder: Path
    studies: tuple[StudySummary, ...]

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.folder.name

    @property
    def is_done(self) -> bool:
        """Whether every study has ended."""
        return all(study.stage in ("done", "stopped") for study in self.studies)

    @property
    def started(self) -> float:
        """When its first trial began, in seconds since the epoch; 0 before."""
        return min((study.started for study in self.studies if study.started), default=0.0)

    @property
    def updated(self) -> float:
        """When its newest trial ended, in seconds since the epoch."""
        return max((study.updated for study in self.studies), default=0.0)

    @property
    def files(self) -> list[Path]:
        """The report and the resolved sweep, as far as they have been written."""
        return [path for name in REPORT_FILES if (path := self.folder / name).exists()]


Item = TrialRecord | StudySummary | StudySelection | StudyFigures | SweepSummary
"""What a run, or a part of it, is brought to."""
