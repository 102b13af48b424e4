"""`ndcl data embed`: features of images as a data set."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.data.lookup import Folder, Name, Replace, stored
from harness.cli.options import INTERRUPTED, Quiet
from harness.terminal.legible import legible
from harness.terminal.lines import say
from ndcl.errors import UserError
from ndcl.names import require_name

if TYPE_CHECKING:
    from harness.terminal.terminal import Console


def embed(
    dataset: Name,
    out: Annotated[str, typer.Option("--name", metavar="OUT", help="Name of the feature data set to write.")],
    backbone: Annotated[str, typer.Option("--backbone", metavar="B", help="Such as resnet50, or timm:NAME.TAG.")],
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W",
            help="imagenet (timm: pretrained), the default; none (random), or a state dict's path.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        Literal["float16", "float32"], typer.Option("--dtype", help="Numbers on disk; training is in float32.")
    ] = "float16",
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", min=8, help="As data.image_size; default: the backbone's, else as stored."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images in one forward.")] = 64,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU if any.")] = "auto",
    replace: Replace = False,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Write a data set of features: what a frozen network makes of each image.

    Sweeps on it train a head in seconds, without a GPU. Nothing is left if it is stopped.
    """
    from harness.config.commands import ndcl_command, setting
    from harness.terminal.terminal import console_of
    from ndcl.config import ModelConfig
    from ndcl.data import data_folder, open_dataset
    from ndcl.data.store.writer import require_free
    from ndcl.features import embed as embedded
    from ndcl.parallel import resolve_device
    from ndcl.timm_models import is_timm

    require_name(out, "--name")
    target = data_folder(folder) / out
    require_free(target, replace)  # before the weights are read, which takes a while
    source = stored(dataset, folder)
    if source is None:
        raise UserError(
            f"{dataset} is not in the data folder yet; see: {ndcl_command('data', 'show', dataset, folder=folder)}"
        )
    if target.resolve() == source.folder.resolve():
        raise UserError(f"--name {out}: the features would replace the images that they are made of; give another name")
    model = ModelConfig(backbone=backbone, weights=weights or ("pretrained" if is_timm(backbone) else "imagenet"))
    where = resolve_device(device)
    options: dict[str, Any] = {"dtype": dtype, "image_size": image_size, "batch_size": batch_size, "replace": replace}
    steps = embedded(source, target, model, device=where, **options)
    try:
        show_progress(steps, len(source), f"{dataset} by {backbone}", console_of(error=True, quiet=quiet))
    except KeyboardInterrupt:
        say("ndcl: stopped; nothing was written; run the same command to start again", error=True)
        raise typer.Exit(INTERRUPTED) from None
    num_features = open_dataset(out, folder).input_shape[0]
    say(f"{out}: {len(source)} images as vectors of {num_features} features ({dtype}), in {target}")
    settings = [setting("data.name", out), setting("name", out)]
    settings += [] if folder is None else [setting("data.folder", folder)]
    say(f"next: {ndcl_command('sweep', 'search_spaces/features.yaml', settings=settings)}")


def show_progress(steps: Iterator[int], total: int, what: str, console: "Console") -> None:
    """Go through `steps`, the numbers of images done; a bar on a terminal, else a line at every tenth."""
    from harness.terminal.bars import progress_bar

    with progress_bar(console, what) as progress:
        shown = 0
        for done in steps:
            progress(done, total)
            if not console.is_terminal and 10 * done // total > shown:
                shown = 10 * done // total
                console.print(legible(f"{what}: {done} of {total} images"), soft_wrap=True)
