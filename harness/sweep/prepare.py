"""The folder of a sweep: one owner at a time, one sweep at a time, and a clear word when it can't be written."""

import json
import shlex
import shutil
from pathlib import Path

from harness.config.yaml_files import yaml_text
from harness.plan import Plan
from harness.plan.changes import difference, extends
from harness.plan.own_modules import own_digests
from harness.plan.sweep_file import recorded_values
from harness.records.places import SWEEP_FILE
from harness.records.sweep_files import json_of
from harness.state.bound_data import bind
from harness.storage import Storage
from harness.storage.folder import LOCK_FILE, SWEEP_ID_FILE
from harness.storage.lease import OWN_FILE
from harness.storage.storage import record_storage, recorded_storage
from ndcl.errors import UserError
from ndcl.files import write_whole

OWN_CODE_FILE = ".own_code.json"
"""In a sweep's folder: digests of the files of a user's own algorithms when it began."""


def prepare(plan: Plan, fresh: bool, storage: Storage | None = None) -> list[str]:
    """Leave the folder ready for this plan, with what the `storage` holds of the sweep, if there is one.

    Returns remarks, a line each. Raises UserError if the folder or the storage holds a sweep that this plan does not go
    on with, or if that was started on other data than lie there now.
    """
    path = plan.folder / SWEEP_FILE
    if fresh:
        _remove_sweep(plan.folder)
    _take_from(storage, plan, fresh)
    reason = refusal(plan)
    if reason:
        raise UserError(reason)
    remarks = [*bind(plan, storage), *_changed_code(plan)]
    text = yaml_text(plan.resolved)
    if storage is not None:
        storage.put(SWEEP_FILE, text)
    write_whole(path, text)
    return remarks


def _changed_code(plan: Plan) -> list[str]:
    """A line for each file of a user's own algorithm that is another one than when the sweep began."""
    path = plan.folder / OWN_CODE_FILE
    known = json_of(path, "delete it: the files of now then count as those it began with") if path.exists() else {}
    now = own_digests({str(study.base["algorithm"]["name"]) for study in plan.studies})
    write_whole(path, json.dumps(now | known, indent=1))
    return [
        f"warning: {name} is not as it was when this sweep began, so that its trials are of different algorithms; to "
        "compare like with like start anew with --fresh, or under another name"
        for name, digest in now.items()
        if known.get(name, digest) != digest
    ]


def refusal(plan: Plan) -> str | None:
    """Why the folder's sweep does not continue this plan, in one line; None if it does, or there is none."""
    old = recorded_values(plan.folder)
    if old is None:
        return None
    lines = difference(old, plan.resolved)
    if not lines or extends(old, plan.resolved):
        return None
    return (
        f"sweep '{plan.name}' in {plan.results} was started with other values ({'; '.join(lines)}); "
        "take them back, give the sweep another name, or use --fresh to delete the earlier one"
    )


def _take_from(storage: Storage | None, plan: Plan, fresh: bool) -> None:
    """Bring the folder to what the storage holds, and write down which storage that is. Raises UserError."""
    recorded, given = recorded_storage(plan.folder), storage.place if storage else None
    if (plan.folder / SWEEP_FILE).exists() and recorded != given and not _has_moved(plan.folder, recorded, storage):
        remedy = f"give --storage {shlex.quote(recorded)}" if recorded else "leave out --storage"
        raise UserError(
            f"sweep '{plan.name}' in {plan.results} was started with {recorded or 'no'} storage; {remedy}, give the "
            "sweep another name, or use --fresh to delete the earlier one"
        )
    if storage is not None:
        if fresh:
            storage.clear()
        storage.fetch(plan.folder)
        record_storage(plan.folder, storage)


def _has_moved(folder: Path, recorded: str | None, storage: Storage | None) -> bool:
    """Whether the `storage` is the one that the folder's sweep has, at another place than was `recorded`."""
    path = folder / SWEEP_ID_FILE
    return bool(recorded and storage and path.exists() and storage.read(SWEEP_ID_FILE) == path.read_text())


def _remove_sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK_FILE, OWN_FILE):
            path.unlink()
