"""What can be said of a whole sweep: its studies, and the report in its folder. Pure."""

from dataclasses import dataclass
from pathlib import Path

from harness.study_state import StudyState
from harness.sweep_folder import SWEEP_FILE

REPORT_FILES = ("report.html", "report.md", "report.json", "report.tex", SWEEP_FILE)


@dataclass(frozen=True, kw_only=True)
class SweepState:
    """One sweep, as its MLflow run and experiment show it."""

    folder: Path
    studies: tuple[StudyState, ...]

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.folder.name

    @property
    def is_done(self) -> bool:
        """Whether every study has come to its end."""
        return all(study.stage in ("done", "stopped") for study in self.studies)

    @property
    def updated(self) -> float:
        """When its newest trial ended, in seconds since the epoch."""
        return max((study.updated for study in self.studies), default=0.0)

    @property
    def files(self) -> list[Path]:
        """The report and the resolved sweep, as far as they have been written."""
        return [path for name in REPORT_FILES if (path := self.folder / name).exists()]
