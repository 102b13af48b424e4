"""The verbs of `ndcl data` that make features of images, and show what an imbalance setting makes of a data set."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.data_sets import stored
from ndcl.errors import UserError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from ndcl.config import ImbalanceConfig
    from ndcl.imbalance import Overview

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, by its name in the data folder.")]
Folder = Annotated[
    str | None, typer.Option("--folder", metavar="DIR", help="Where data sets lie; default: NDCL_DATA, ~/.cache/ndcl.")
]
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
SAFE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, so that none of its numbers is cut."""


def add_verbs(data: typer.Typer) -> None:
    """Put this module's verbs on the `data` command."""
    data.command(epilog="Example: ndcl data embed pacs --backbone resnet50 --name pacs_resnet50")(embed)
    data.command(epilog="Example: ndcl data imbalance digits --setting long_tail --ratio 65 --picture tail.png")(
        imbalance
    )


def embed(
    dataset: Name,
    out: Annotated[str, typer.Option("--name", metavar="OUT", help="Name of the feature data set to write.")],
    backbone: Annotated[str, typer.Option("--backbone", metavar="B", help="Such as resnet18 or resnet50.")],
    weights: Annotated[
        str, typer.Option("--weights", metavar="W", help="imagenet, none (random), or a state dict's path.")
    ] = "imagenet",
    dtype: Annotated[
        Literal["float16", "float32"], typer.Option("--dtype", help="Numbers on disk; training is in float32.")
    ] = "float16",
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", min=8, help="As data.image_size; default: the backbone's, else as stored."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images in one forward.")] = 64,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU if any.")] = "auto",
    folder: Folder = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Write a data set of features: what a frozen network makes of each image.

    Sweeps on it train a head in seconds, without a GPU. Nothing is left if it is stopped.
    """
    from rich.console import Console

    from ndcl.config import ModelConfig
    from ndcl.data import data_folder, open_dataset
    from ndcl.features import embed as embedded
    from ndcl.training import resolve_device

    if not re.fullmatch(SAFE_NAME, out):
        raise UserError(f"--name {out!r}: give letters, digits, '_', '-' and '.', such as {dataset}_{backbone}")
    target = data_folder(folder) / out
    if target.exists():  # before the weights are read, which takes a while
        raise UserError(f"{target} exists already; delete it first, or give another --name")
    source = stored(dataset, folder)
    if source is None:
        raise UserError(f"{dataset} is not in the data folder yet; see: ndcl data show {dataset}")
    model = ModelConfig(backbone=backbone, weights=weights)
    where = resolve_device(device)
    steps = embedded(source, target, model, dtype=dtype, image_size=image_size, batch_size=batch_size, device=where)
    try:
        _show_progress(steps, len(source), f"{dataset} by {backbone}", Console(stderr=True, quiet=quiet))
    except KeyboardInterrupt:
        typer.echo("ndcl: stopped; nothing was written, the same command starts again", err=True)
        raise typer.Exit(INTERRUPTED) from None
    num_features = open_dataset(out, folder).input_shape[0]
    typer.echo(f"{out}: {len(source)} images as vectors of {num_features} features ({dtype}), in {target}")
    elsewhere = "" if folder is None else f" --set data.folder={folder}"
    typer.echo(f"next: ndcl sweep search_spaces/features.yaml --set data.name={out} --set name={out}{elsewhere}")


def imbalance(
    dataset: Name,
    setting: Annotated[
        str, typer.Option("--setting", metavar="S", help="long_tail, released/duality, ...; see docs/imbalance.md.")
    ] = "natural",
    ratio: Annotated[float | None, typer.Option("--ratio", metavar="R", help="Imbalance ratio, of long_tail.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of `imbalance`, as in a sweep; repeatable."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="T", help="Only this target domain; default: each in turn.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="OUT.png", help="Draw it, too (png, pdf or svg).")
    ] = None,
    folder: Folder = None,
) -> None:
    """Show what training would see: images of each source domain and class, shot groups, ratio, validation images."""
    from rich.console import Console

    config = _imbalance_config(setting, ratio, settings or ())
    counted = _counted(dataset, folder)
    views, refused = _overviews(config, counted, target)
    if views:
        title = f"{dataset}, {_label(config)}"
        console = Console()
        _print_views(console if console.is_terminal else Console(width=PLAIN_WIDTH), views, title, counted.origin)
        if picture is not None:
            _draw(views, counted.domains, title, picture)
    if refused:
        raise UserError("; ".join(f"target {', '.join(names)}: {reason}" for reason, names in refused.items()))


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A data set's names and numbers of images."""

    name: str
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    available: "NDArray[np.int64]"
    """[D, K]"""
    origin: str = ""
    """Where the numbers are from, if not from the data set itself."""


def _counted(dataset: str, folder: str | None) -> Counted:
    """The data set's own numbers, or the catalogue's of a set that is not there yet."""
    from ndcl.data.catalogue import entry_of

    store = stored(dataset, folder)
    if store is not None:
        return Counted(name=store.name, domains=store.domains, classes=store.classes, available=store.available())
    entry = entry_of(dataset)
    return Counted(
        name=entry.name,
        domains=entry.domains,
        classes=entry.classes,
        available=entry.counts,
        origin=f"{entry.name} is not in the data folder; these are the numbers of the catalogue",
    )


def _imbalance_config(setting: str, ratio: float | None, settings: Sequence[str]) -> "ImbalanceConfig":
    from harness.dotted import laid_over
    from ndcl.config import ImbalanceConfig
    from ndcl.strict import from_dict

    values = {"setting": setting} if ratio is None else {"setting": setting, "ratio": ratio}
    return from_dict(ImbalanceConfig, laid_over(values, dict(map(_change, settings))), "imbalance")


def _change(text: str) -> tuple[str, Any]:
    """The key below `imbalance` and the value that one `--set` argument gives."""
    from harness.yaml_files import parse_setting

    key, value = parse_setting(text, "class_order=per_domain")
    return key.removeprefix("imbalance."), value


def _overviews(
    config: "ImbalanceConfig", data: Counted, target: str | None
) -> "tuple[list[Overview], dict[str, list[str]]]":
    """What each target gives, and the targets that the setting does not suit, by reason."""
    from ndcl.imbalance import overview

    if len(data.domains) < 2:
        raise UserError(f"{data.name} has a single domain; a target and at least one source are needed")
    if target is not None and target not in data.domains:
        raise unknown_name(f"target domain of {data.name}:", target, data.domains)
    views, refused = [], dict[str, list[str]]()
    for domain in data.domains if target is None else (target,):
        try:
            views.append(overview(config, data.name, data.domains, data.classes, data.available, domain))
        except UserError as error:
            refused.setdefault(str(error), []).append(domain)
    if len(refused) == 1 and not views:
        raise UserError(next(iter(refused)))
    return views, refused


def _print_views(console: "Console", views: "list[Overview]", title: str, origin: str) -> None:
    from harness.imbalance_view import class_table, summary_table, thresholds_text

    for view in views:
        console.print(class_table(view))
    console.print(summary_table(views, title))
    thresholds = {thresholds_text(view): view.target for view in views}
    for text, name in thresholds.items():
        console.print(text if len(thresholds) == 1 else f"{name}: {text}", highlight=False, soft_wrap=True)
    if origin:
        console.print(origin, highlight=False, soft_wrap=True)


def _label(config: "ImbalanceConfig") -> str:
    return config.setting if config.ratio is None else f"{config.setting}, ratio {config.ratio:g}"


def _draw(views: "list[Overview]", domains: Sequence[str], title: str, path: Path) -> None:
    from harness.imbalance_picture import draw

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(views, domains, title, path)
    except ValueError as error:  # of matplotlib, for a suffix it does not know
        raise UserError(f"--picture {path}: {error}; give a name that ends in .png") from None
    except OSError as error:
        raise UserError(f"--picture {path}: it can't be written ({error.strerror}); give another place") from None
    typer.echo(f"picture: {path}")


def _show_progress(steps: Iterator[int], total: int, what: str, console: "Console") -> None:
    """Go through `steps`, the numbers of images done; a bar on a terminal, else a line at every tenth."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        shown = 0
        for done in steps:
            progress.update(task, completed=done)
            if not console.is_terminal and 10 * done // total > shown:
                shown = 10 * done // total
                console.print(f"{what}: {done} of {total} images", highlight=False, soft_wrap=True)
