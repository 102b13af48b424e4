"""Which model a study settles on, and where it came from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.commands import to_continue
from harness.records import TrialRecord, best_checkpoint, chosen_finals, select
from harness.records.ensemble import shown_ensemble
from harness.records.record import digest_of
from harness.records.selection import criteria, shown_value
from harness.state.bound_data import Bound, Source, bound_digests, header_now, refusal
from harness.storage import AnyCheckpointFolders, CheckpointFolders
from harness.storage.checkpoints import TRAINING, fetched
from harness.storage.scratch import scratch_folder
from harness.storage.storage import recorded_storage, storage_of
from ndcl.criteria import DEFAULT_OBJECTIVE
from ndcl.errors import UserError, unknown_name
from ndcl.filesystems import is_uri, shown
from ndcl.strict import from_dict

if TYPE_CHECKING:
    from ndcl.evaluation.calibration import Selective
    from ndcl.evaluation.ensembles import Combination
    from ndcl.serving import Description, Format


Run = str
"""Which model of a study: `ensemble`, `best`, or `seed-3` and so on."""
ENSEMBLE, BEST, SEED = "ensemble", "best", "seed-"


def selected_models(
    records: Sequence[TrialRecord],
    top_k: int,
    names: Sequence[str] | None = None,
    *,
    run: Run = BEST,
    remedy: str = "continue with: ndcl sweep SWEEP.yaml",
) -> list[TrialRecord]:
    """The record whose model stands for its study, for each study of `records`, or those of `names` (or titles).

    With `run` ENSEMBLE it is the ensemble of the final runs, if it was evaluated, else as with BEST: the best of the
    final runs that the study settles on, by its criterion on source domains; before any final run has finished, the
    selected search trial. With `seed-3` it is the final run of seed 3. Without `names` studies that have none are left
    out.
    Raises UserError for a name that is unknown, or whose study has none, with the `remedy`, and for a `run` that is
    none.
    """
    seed = seed_of(run)
    studies = {record.study.name: record.study for record in records}
    titles = {key.title: name for name, key in studies.items()}
    names = [titles.get(name, name) for name in names or ()]
    for name in names:
        if name not in studies:
            raise unknown_name("study", name, studies)
    own = {name: [r for r in records if r.study.name == name] for name in names or studies}
    found = {name: _model_of(study, top_k, run, seed) for name, study in own.items()}
    missing = [name for name, record in found.items() if record is None]
    if missing and seed is not None and any(chosen_finals(own[name], top_k) for name in missing):
        known = sorted({r.config["seed"] for name in missing for r in chosen_finals(own[name], top_k)})
        raise UserError(f"--run {run}: study {missing[0]} has no final run of this seed; it has {_listed(known)}")
    if missing and (names or len(missing) == len(found)):
        lacking = "finished training" if seed is None else "final run"
        raise UserError(f"study {missing[0]} has no {lacking} yet; {remedy}")
    return [record for record in found.values() if record is not None]


def seed_of(run: Run) -> int | None:
    """The seed of a run that names one. Raises UserError if it is none of those that there are."""
    if run in (ENSEMBLE, BEST):
        return None
    number = run.removeprefix(SEED)
    if not run.startswith(SEED) or not number.isdecimal():
        raise UserError(
            f"--run {run}: it is neither {ENSEMBLE}, {BEST} nor a final run such as {SEED}1; give one of them"
        )
    return int(number)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(f"{SEED}{seed}" for seed in seeds)


def _model_of(study: Sequence[TrialRecord], top_k: int, run: Run, seed: int | None) -> TrialRecord | None:
    if seed is not None:
        return next((r for r in chosen_finals(study, top_k) if r.config["seed"] == seed), None)
    ensemble = shown_ensemble(study, top_k) if run == ENSEMBLE else None
    return ensemble or _selected(study, top_k)


def members_of(record: TrialRecord, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trainings that a record's model is made of: of an ensemble its members, else itself.

    Raises UserError if a member has no record any more.
    """
    by_name = {each.name: each for each in records}
    for name in record.members:
        if name not in by_name:
            raise UserError(
                f"{record.name}: it is made of {name}, which has no record any more; run the sweep again, which trains "
                "what is missing"
            )
    return [by_name[name] for name in record.members] or [record]


def combination_of(record: TrialRecord) -> "Combination | None":
    """How the model of a record answers: its members are combined, and its probabilities calibrated; None: unknown."""
    from ndcl.evaluation.ensembles import Combination  # imports torch

    best = best_checkpoint(record) or {}
    about, calibration = best.get("ensemble"), best.get("calibration")
    if about is not None:
        return Combination(of=about["of"], scales=tuple(about["scales"]), temperature=about["temperature"])
    if not calibration:
        return None
    return Combination(of="probabilities", scales=(1.0,), temperature=calibration["temperature"])


def _selective_of(record: TrialRecord) -> "Selective | None":
    from ndcl.evaluation.calibration import Selective  # imports torch

    about = ((best_checkpoint(record) or {}).get("calibration") or {}).get("selective")
    return None if about is None else from_dict(Selective, about)


def _selected(study: Sequence[TrialRecord], top_k: int) -> TrialRecord | None:
    candidates = chosen_finals(study, top_k) or select(study)
    return max(candidates, key=lambda record: shown_value(record) or 0.0, default=None)


def checkpoint_of(folder: Path, record: TrialRecord) -> Path:
    """The training's checkpoint in the sweep at `folder`; of one in an object store, a copy for as long as we run.

    Raises UserError if there is none any more.
    """
    folders = _folders(folder)
    newest = folders.newest(record.name)
    if newest is None:
        raise UserError(_gone(folder, [record.name]))
    if not is_uri(newest):
        return Path(newest) / TRAINING
    copy = scratch_folder() / record.name
    with fetched(newest) as fetch:
        shutil.copytree(fetch, copy, dirs_exist_ok=True)
    return copy / TRAINING


def gone_checkpoints(folder: Path, records: Sequence[TrialRecord], top_k: int) -> str | None:
    """Which selected models of the sweep at `folder` have lost their checkpoints, in one line; None if none has."""
    folders = _folders(folder)
    found = [_selected(own, top_k) for own in _by_study(records).values()]
    gone = [record.name for record in found if record is not None and folders.newest(record.name) is None]
    return _gone(folder, gone) if gone else None


def _folders(folder: Path) -> AnyCheckpointFolders:
    storage = storage_of(folder)
    return storage.checkpoints() if storage else CheckpointFolders(folder / "ray")


def _gone(folder: Path, names: Sequence[str]) -> str:
    """With the command that trains all anew: what has ended is not trained again by any other."""
    its = "its checkpoint is" if len(names) == 1 else "their checkpoints are"
    anew = f"{to_continue(folder, recorded_storage(folder))} --fresh"
    return (
        f"{', '.join(names)}: {its} no longer in {shown(_folders(folder).place)}; to delete the sweep's results and "
        f"train anew: {anew}"
    )


def _by_study(records: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    own: dict[str, list[TrialRecord]] = {}
    for record in records:
        own.setdefault(record.study.name, []).append(record)
    return own


def export_model(
    folder: Path,
    record: TrialRecord,
    records: Sequence[TrialRecord],
    to: Path,
    form: "Format",
    more: Mapping[str, Any] | None = None,
) -> "Description":
    """Export the model of a record of the sweep at `folder`; an ensemble's members are among `records`.

    `more` is kept beside its origin.

    Raises UserError as `ndcl.serving.export` does.
    """
    from ndcl.serving import export  # imports torch

    checkpoints = [checkpoint_of(folder, member) for member in members_of(record, records)]
    digest = recorded_digest(folder, record)
    origin = {**origin_of(folder, record), **(more or {})}
    return export(checkpoints, to, form, origin, digest, combination_of(record), _selective_of(record))


def recorded_digest(folder: Path, record: TrialRecord) -> str | None:
    """Of the data that a training of the sweep at `folder` saw, if that is known."""
    return digest_of(record) or bound_digests(folder).get(Source.of(record.config))


def _says_its_data(checkpoint: Path) -> bool:
    """Whether a checkpoint names the data that it was made on, as those of version 0.1 do not."""
    manifest = checkpoint / "checkpoint.json"
    return manifest.exists() and "data" in json.loads(manifest.read_text())


def data_remarks(folder: Path, records: Sequence[TrialRecord], command: str, *, old_data: bool = False) -> list[str]:
    """What has to be said of the data that these trainings of the sweep at `folder` saw, a line each.

    Raises UserError if a data set has been replaced since, unless `old_data`; `command` is the one of the sweep.
    """
    digests = {record.name: (Source.of(record.config), recorded_digest(folder, record)) for record in records}
    now = {source: header.digest for source in {s for s, _ in digests.values()} if (header := header_now(source))}
    remarks, by_name = [], {record.name: record for record in records}
    for name, (source, digest) in digests.items():
        if digest is None and not _says_its_data(checkpoint_of(folder, by_name[name])):
            remarks.append(f"{name} does not say on which data it was trained; what '{source.name}' holds now is taken")
        if digest is not None and not old_data and now.get(source, digest) != digest:
            line = refusal(folder, command, Bound(source=source, digests=(digest,)), now)
            raise UserError(f"{line}; or export the models of the earlier data with: --old-data")
    return remarks


def origin_of(folder: Path, record: TrialRecord) -> dict[str, Any]:
    """What the sweep knows of a model's origin."""
    best = best_checkpoint(record)
    assert best is not None, record.name
    return {
        "sweep": folder.name,
        "study": record.study.name,
        "trial": record.name,
        "stage": record.stage,
        "seed": None if record.members else record.config["seed"],
        "members": list(record.members),
        "selected_by": list(criteria(record)),
        DEFAULT_OBJECTIVE: best[DEFAULT_OBJECTIVE],
        "target": {name: best["target"][name] for name in ("overall", "balanced", "many", "median", "few")},
        "values": record.values,
        "git_revision": record.environment.get("git_revision"),
    }
