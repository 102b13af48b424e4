"""What several verbs take: options and arguments, exit codes, the plan that they mean."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.records import TrialRecord

WRONG_INPUT, INTERRUPTED = 2, 130
"""Exit codes: something the user gave is wrong; stopped by Ctrl-C or SIGTERM."""
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep, such as search_spaces/digits.yaml.")]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, its YAML file, or its folder.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a value over the file's; repeatable.")
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what an earlier run left, and start anew.")]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="Run trials on this Ray cluster; auto: the one of this machine."),
]
StoragePlace = Annotated[
    str | None,
    typer.Option("--storage", metavar="PLACE", help="Also keep the sweep in this shared folder or URI (s3://, gs://)."),
]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Stop another process that runs it with this storage.")]
OnNewData = Annotated[
    str | None,
    typer.Option("--on-new-data", metavar="NAME", help="After its data were replaced: start anew as sweep NAME."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
ClusterYaml = Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="A cluster, such as clusters/aws.yaml.")]


def given_sweep(name: str, results: Path) -> tuple[str, Path]:
    """The name of a sweep and where its results lie: in `results`, unless it is given by its own folder."""
    if is_sweep_file(name):
        from harness.config import load_sweep

        return load_sweep(Path(name)).name, results
    folder = Path(name)
    return folder.name or name, folder.parent if len(folder.parts) > 1 else results


def is_sweep_file(name: str) -> bool:
    """Whether a sweep is given by its YAML file."""
    return name.endswith((".yaml", ".yml"))


def recorded_sweep(name: str, results: Path) -> "tuple[Path, list[TrialRecord]]":
    """The folder and the records of a sweep. Raises UserError if there are none, or none yet."""
    from harness.config.commands import no_sweep
    from harness.records import Journal
    from harness.records.places import SWEEP_FILE

    name, results = given_sweep(name, results)
    folder = results / name
    records = Journal(folder).read()
    if records:
        return folder, records
    if not (folder / SWEEP_FILE).exists():
        raise no_sweep(name, results)
    raise UserError(f"sweep '{name}' has begun no training yet; {to_go_on(folder)}")


def to_go_on(folder: Path, settings: Sequence[str] = ()) -> str:
    """The remedy where trainings of the sweep at `folder` are missing, which need these `settings`."""
    from harness.config.commands import ndcl_command
    from harness.records.places import SWEEP_FILE
    from harness.storage import is_locked
    from harness.storage.storage import recorded_storage

    look = ndcl_command("status", folder.name, results=folder.parent)
    wait = f"the sweep is running; wait for it, and see: {look}" if is_locked(folder) else ""
    if wait and not settings:
        return wait

    storage = recorded_storage(folder)
    again = ndcl_command("sweep", folder / SWEEP_FILE, results=folder.parent, storage=storage, settings=settings)
    return f"{wait}; then continue with: {again}" if wait else f"continue with: {again}"


def require_writable(option: str, folder: Path) -> None:
    """Raise UserError unless files can be written to a folder, which need not be there and is left as it is."""
    from ndcl.files import clear_write_errors

    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    with clear_write_errors(f"{option} {folder}", "give another folder"):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        finally:
            for each in missing:
                with contextlib.suppress(OSError):
                    each.rmdir()


def require_suffix(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Raise UserError unless the name of a file to write ends in one of `suffixes`, as `.png`."""
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{option} {path}: its name must end in {' or '.join(suffixes)}")


def planned(sweep: Path, settings: list[str] | None, results: Path, on_new_data: str | None) -> "Plan":
    """The plan of a sweep as the command line has it."""
    from harness.config import load_sweep
    from harness.plan import make_plan
    from harness.state.new_data import load_on_new_data

    if on_new_data is None:
        return make_plan(load_sweep(sweep, settings or ()), results)
    return make_plan(load_on_new_data(sweep, settings or (), on_new_data, results), results)
