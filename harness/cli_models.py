"""The verbs that take models out of a sweep, and use them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli_sweeps import recorded_sweep
from ndcl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ndcl.serving.streaming import Part

WRONG_INPUT = 2
SHOWN_ROWS = 40
"""Predictions that are shown in the terminal, where no file is asked for."""
PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


def add_verbs(app: typer.Typer) -> None:
    """Put this module's verbs on the `ndcl` command."""
    app.command(epilog="Example: ndcl export digits --study ndcl.digits.long_tail-65.sign --to models")(export)
    app.command(epilog="Example: ndcl predict models/ndcl.digits.long_tail-65.sign photos/ --output photos.csv")(
        predict
    )


def export(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name or its YAML file.")],
    studies: Annotated[
        list[str] | None, typer.Option("--study", metavar="NAME", help="Repeatable; default: all studies.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Write DIR/<study> for each study.")] = None,
    form: Annotated[
        Literal["safetensors", "onnx", "torch-export"], typer.Option("--format", help="Of the files under --to.")
    ] = "safetensors",
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log each as an MLflow model on its study's run.")] = False,
    register: Annotated[
        str | None, typer.Option("--register", metavar="MODEL", help="Also register the one --study under this name.")
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", metavar="ALIAS", help="Point this alias of MODEL to it, such as champion.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where all results lie.")] = Path("results"),
) -> None:
    """Take the selected model of each study out of a sweep: as files, into MLflow, or both.

    It is the final run with the best objective on source domains, at its best checkpoint.
    """
    from harness.exports import export_model, selected_models
    from harness.report_files import planned_studies

    _require_purpose(to, mlflow, register, alias, studies)
    folder, records = recorded_sweep(name, results)
    top_k = max((study.top_k for study in planned_studies(folder)), default=1)
    for record in selected_models(records, top_k, studies):
        if to is not None:
            export_model(folder, record, to / record.study.name, form)
            typer.echo(f"{record.name}: {to / record.study.name}")
        if mlflow or register:
            from harness.tracking.models import log_model

            typer.echo(f"{record.name}: {log_model(results, folder, record, register, alias)}")


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that ndcl export made.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, or quoted patterns.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write all predictions to this .csv or .parquet.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images in one forward.")] = 64,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU if any.")] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 2 if any image can't be read.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Predict images of any size and number: class, probability, and margin to the next class.

    Images that can't be read are told at the end; exit code 2 if none can.
    """
    from rich.console import Console

    from ndcl.serving import Model
    from ndcl.serving.streaming import image_paths, predict_files
    from ndcl.training import resolve_device

    paths = image_paths(images)
    loaded = Model.load(model, resolve_device(device))
    faults: list[str] = []
    parts = _counted(predict_files(loaded, paths, batch_size), faults, Console(stderr=True, quiet=quiet))
    num_images = _show(parts) if output is None else _write(parts, output)
    for fault in faults:
        typer.echo(f"ndcl: {fault}", err=True)
    if num_images + len(faults) == 0:
        raise UserError(f"there are no images in {', '.join(images)}; give images, or folders that hold some")
    if output is not None:
        typer.echo(f"{num_images} predictions: {output}")
    if faults and (strict or num_images == 0):
        raise typer.Exit(WRONG_INPUT)


def _require_purpose(
    to: Path | None, mlflow: bool, register: str | None, alias: str | None, studies: list[str] | None
) -> None:
    """Raise UserError unless the options say what is to be done with which models."""
    if to is None and not mlflow and register is None:
        raise UserError("say where the models are to go: --to DIR, --mlflow, or --register MODEL")
    if register is not None and len(studies or ()) != 1:
        raise UserError("--register: a name stands for one study's model; give exactly one --study")
    if alias is not None and register is None:
        raise UserError("--alias: an alias belongs to a registered model; give --register MODEL, too")


def _counted(parts: "Iterable[Part]", faults: list[str], console: "Console") -> "Iterator[Part]":
    """`parts`, with their number shown in a terminal while they come, and their faults put aside."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} images"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for part in parts:
            progress.advance(task, len(part.paths) + len(part.faults))
            faults.extend(part.faults)
            yield part


def _write(parts: "Iterable[Part]", output: Path) -> int:
    """Write all predictions to a file; returns their number."""
    from harness.predictions import rows_of, written_to

    num_images = 0
    with written_to(output) as writer:
        for part in parts:
            writer.write_batch(rows_of(part))
            num_images += len(part.paths)
    return num_images


def _show(parts: "Iterable[Part]") -> int:
    """Show the first SHOWN_ROWS predictions; returns the number of all."""
    from rich.console import Console

    from harness.predictions import rows_of, table_of

    kept, num_images = [], 0
    for part in parts:
        if num_images < SHOWN_ROWS:
            kept.append(rows_of(part))
        num_images += len(part.paths)
    console = Console()
    if num_images:
        plain = Console(width=PLAIN_WIDTH)
        (console if console.is_terminal else plain).print(table_of(kept, SHOWN_ROWS))
    if num_images > SHOWN_ROWS:
        typer.echo(f"and {num_images - SHOWN_ROWS} more; all of them go to a file by: --output predictions.csv")
    return num_images
