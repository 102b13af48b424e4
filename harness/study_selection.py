"""Which trial a study selected, why, and the values to train it by anew: for people and for other programs. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.records import StudyKey, TrialRecord
from harness.selection import best_checkpoint, criteria, merit, ranking


@dataclass(frozen=True, kw_only=True)
class StudySelection:
    """The end of a study's search."""

    key: StudyKey
    selected: TrialRecord
    records: Sequence[TrialRecord]
    """Of the study, search trials and final runs."""

    @property
    def name(self) -> str:
        """Unique within the sweep."""
        return f"{self.key.name}.selection"

    def files(self) -> dict[str, str]:
        """Contents by file name: `best_config.yaml`, a TrainConfig for `ndcl train`, and `selection.json`."""
        return {
            "best_config.yaml": yaml.safe_dump(self.selected.config, sort_keys=False),
            "selection.json": json.dumps(self.record(), indent=1, allow_nan=False),
        }

    def record(self) -> dict[str, Any]:
        """By what the trials were compared, all that could be selected in their order, and the final runs."""
        finished = [record for record in self.records if record.state == "finished"]
        search = ranking(record for record in finished if record.stage == "search")
        return {
            "study": self.key.name,
            "selected_by": list(criteria(self.selected)),
            "selected": self.selected.name,
            "values": self.selected.values,
            "candidates": [_candidate(record) for record in search],
            "final_runs": [
                _candidate(record) | {"seed": record.config["seed"], "selected": record.recipe == self.selected.recipe}
                for record in sorted(finished, key=lambda record: record.number)
                if record.stage == "final"
            ],
        }


def _candidate(record: TrialRecord) -> dict[str, Any]:
    best = best_checkpoint(record)
    return {
        "trial": record.name,
        "step": best and best["step"],
        "merit": best and merit(best, criteria(record)),
        "values": record.values,
    }
