"""What a head has of a sweep that has run there: its folder, and what outlives the head."""

from pathlib import Path

from harness.records import Journal
from harness.storage import Storage
from harness.sweep.prepare import prepare
from tests.integration import sweeps
from tests.made.made_records import RATE, record

NAME = "tiny"


def sweep_file(folder: Path) -> Path:
    """The sweep's YAML: one study, searched and trained finally."""
    data = {"name": "digits", "targets": ["scan"]}
    return sweeps.written(folder, data=data, algorithms={"erm": None})


def results_of_head(folder: Path, place: Path) -> Path:
    """The sweep's folder below `folder`, as the head has it; `place` is its shared storage. A report is written."""
    folder.mkdir()
    storage = Storage(str(place), NAME)
    plan = sweeps.planned(sweep_file(folder), folder / "results")
    plan.folder.mkdir(parents=True)
    prepare(plan, False, storage)
    search = [record(0), record(1, accuracy=0.75), record(2, "pruned", steps=(2,))]
    for one in (*search, record(0, stage="final", rate=search[1].values[RATE], seed=1)):
        Journal(plan.folder, storage.put).write(one)
    (plan.folder / "report.html").write_text("<p>the report</p>")
    return plan.folder
