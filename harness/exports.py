"""Which model a study settles on, and where it came from."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints import TRAINING, CheckpointFolders, fetched
from harness.records import TrialRecord
from harness.scratch import scratch_folder
from harness.selection import best_checkpoint, chosen_finals, criteria, select, shown_value
from harness.storage import storage_of
from ndcl.data.remote import is_uri, shown
from ndcl.errors import UserError, unknown_name

if TYPE_CHECKING:
    from ndcl.serving import Description, Format


def selected_models(
    records: Sequence[TrialRecord], top_k: int, names: Sequence[str] | None = None
) -> list[TrialRecord]:
    """The training whose model stands for its study, for each study of `records`, or those of `names`.

    It is the best of the final runs that the study settles on, by its criterion on source domains; before any final run
    has finished, the selected search trial. Without `names` studies that have neither are left out.
    Raises UserError for a name that is unknown, or whose study has neither.
    """
    studies = {record.study.name: record.study for record in records}
    for name in names or ():
        if name not in studies:
            raise unknown_name("study", name, studies)
    found = {name: _selected([r for r in records if r.study.name == name], top_k) for name in names or studies}
    missing = [name for name, record in found.items() if record is None]
    if missing and (names or len(missing) == len(found)):
        raise UserError(f"study {missing[0]} has no finished training yet; go on with: ndcl sweep")
    return [record for record in found.values() if record is not None]


def _selected(study: Sequence[TrialRecord], top_k: int) -> TrialRecord | None:
    candidates = chosen_finals(study, top_k) or select(study)
    return max(candidates, key=lambda record: shown_value(record) or 0.0, default=None)


def checkpoint_of(folder: Path, record: TrialRecord) -> Path:
    """The training's checkpoint in the sweep at `folder`; of one in an object store, a copy for as long as we run.

    Raises UserError if there is none any more.
    """
    storage = storage_of(folder)
    folders = storage.checkpoints() if storage else CheckpointFolders(folder / "ray")
    newest = folders.newest(record.name)
    if newest is None:
        raise UserError(f"{record.name}: its checkpoint is no longer in {shown(folders.place)}; run the sweep anew")
    if not is_uri(newest):
        return Path(newest) / TRAINING
    copy = scratch_folder() / record.name
    with fetched(newest) as fetch:
        shutil.copytree(fetch, copy, dirs_exist_ok=True)
    return copy / TRAINING


def export_model(folder: Path, record: TrialRecord, to: Path, form: "Format") -> "Description":
    """Export the model of a training of the sweep at `folder`. Raises UserError as `ndcl.serving.export` does."""
    from ndcl.serving import export  # imports torch

    return export(checkpoint_of(folder, record), to, form, origin_of(folder, record))


def origin_of(folder: Path, record: TrialRecord) -> dict[str, Any]:
    """What the sweep knows of a model's origin."""
    best = best_checkpoint(record)
    assert best is not None, record.name
    return {
        "sweep": folder.name,
        "study": record.study.name,
        "trial": record.name,
        "stage": record.stage,
        "seed": record.config["seed"],
        "selected_by": list(criteria(record)),
        "validation_accuracy": best["validation_accuracy"],
        "target": {name: best["target"][name] for name in ("overall", "balanced", "many", "median", "few")},
        "values": record.values,
        "git_revision": record.environment.get("git_revision"),
    }
