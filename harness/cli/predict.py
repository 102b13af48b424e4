"""`ndcl predict`: an exported model on images."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import WRONG_INPUT, Quiet
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.terminal.terminal import Console
    from ndcl.serving import Model
    from ndcl.serving.streaming import Part

SHOWN_ROWS = 40
"""Predictions that are shown in the terminal, where no file is asked for."""


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that ndcl export made.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Files, folders, or quoted patterns.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write all predictions to this .csv or .parquet.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images in one forward.")] = 64,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU if any.")] = "auto",
    reject: Annotated[
        float | None,
        typer.Option("--reject", min=0, max=1, metavar="ACCURACY", help="Mark images too doubtful for so many right."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 2 if any image can't be read.")] = False,
    quiet: Quiet = False,
) -> None:
    """Predict images of any size and number: class, probability, and margin to the next class.

    Of an ensemble also its disagreement: 0 where all its networks say the same, up to 1.

    Images that can't be read are listed at the end, with the number of files that are no images by their names; exit
    code 2 if none can.
    """
    from harness.terminal.terminal import console_of
    from ndcl.data.importing.walk import passed_over_line
    from ndcl.parallel import resolve_device
    from ndcl.serving import Model
    from ndcl.serving.streaming import image_paths, predict_files

    loaded = Model.load(model, resolve_device(device))
    passed_over: list[int] = []
    paths = image_paths(images, passed_over.append)
    is_ensemble = loaded.description.members is not None
    faults: list[str] = []
    parts = _counted(predict_files(loaded, paths, batch_size), faults, console_of(error=True, quiet=quiet))
    threshold = None if reject is None else _threshold(loaded, reject)
    rejected = Counter[bool]()
    parts = _judged(parts, threshold, rejected)
    num_images = (
        _show(parts, threshold) if output is None else _write(parts, output, threshold, is_ensemble=is_ensemble)
    )
    for fault in faults:
        say(f"ndcl: {fault}", error=True)
    passed = passed_over_line(sum(passed_over))
    if num_images + len(faults) == 0:
        none = f"there are no images in {', '.join(images)}" + (f"; {passed}" if passed else "")
        raise UserError(f"{none}; give images, or folders that hold some")
    if passed:
        say(f"ndcl: {passed}", error=True)
    if output is not None:
        say(f"{num_images} predictions: {output}")
    if reject is not None and threshold is not None:
        say(
            f"{rejected[True]} of {num_images} rejected: confidence below {threshold:.3f}; above it {100 * reject:g} % "
            "or more of the source domains' validation images are right, and on a new domain fewer"
        )
    if faults and (strict or num_images == 0):
        raise typer.Exit(WRONG_INPUT)


def _counted(parts: "Iterable[Part]", faults: list[str], console: "Console") -> "Iterator[Part]":
    """`parts`, with their number shown in a terminal while they come, and their faults put aside."""
    from harness.terminal.bars import progress_bar

    done = 0
    with progress_bar(console, "images", kind="unknown number") as progress:
        for part in parts:
            done += len(part.paths) + len(part.faults)
            progress(done, None)
            faults.extend(part.faults)
            yield part


def _threshold(model: "Model", accuracy: float) -> float:
    """The confidence that the model's validation images need for this accuracy. Raises UserError if it has none."""
    selective = model.description.selective
    if selective is None:
        raise UserError("--reject: this model doesn't say how often it is right; export it again from its sweep")
    found = selective.threshold(accuracy)
    if found is None:
        best = max(selective.accuracies)
        raise UserError(
            f"--reject {accuracy:g}: not even the most confident of {selective.num_images} validation images are right "
            f"so often; at most {best:.2f} is reached"
        )
    return found[0]


def _judged(parts: "Iterable[Part]", threshold: float | None, rejected: Counter[bool]) -> "Iterator[Part]":
    """`parts`, with the rejected ones counted."""
    for part in parts:
        if threshold is not None:
            rejected.update((part.predictions.confidences < threshold).tolist())
        yield part


def _write(parts: "Iterable[Part]", output: Path, threshold: float | None, *, is_ensemble: bool) -> int:
    """Write all predictions to a file; returns their number."""
    from harness.cli.predictions import rows_of, schema_of, written_to

    num_images = 0
    with written_to(output, schema_of(is_ensemble=is_ensemble, rejects=threshold is not None)) as writer:
        for part in parts:
            writer.write_batch(rows_of(part, threshold))
            num_images += len(part.paths)
    return num_images


def _show(parts: "Iterable[Part]", threshold: float | None) -> int:
    """Show the first SHOWN_ROWS predictions; returns the number of all."""
    from harness.cli.predictions import rows_of, table_of
    from harness.terminal.terminal import console_of

    kept, num_images = [], 0
    for part in parts:
        if num_images < SHOWN_ROWS:
            kept.append(rows_of(part, threshold))
        num_images += len(part.paths)
    if num_images:
        console_of().print(table_of(kept, SHOWN_ROWS))
    if num_images > SHOWN_ROWS:
        say(f"and {num_images - SHOWN_ROWS} more; write all of them to a file with: --output predictions.csv")
    return num_images
