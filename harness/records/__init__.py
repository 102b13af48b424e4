"""What happened: a JSON file for each trial, the truth that all else is made from, and the rule by which models are
selected. Pure.
"""

from harness.records.journal import Journal
from harness.records.record import ENDED, STAGES, TRAININGS, Stage, State, StudyKey, TrialRecord
from harness.records.selection import best_checkpoint, chosen_finals, select

__all__ = [
    "ENDED",
    "STAGES",
    "TRAININGS",
    "Journal",
    "Stage",
    "State",
    "StudyKey",
    "TrialRecord",
    "best_checkpoint",
    "chosen_finals",
    "select",
]
