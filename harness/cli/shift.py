"""`ndcl shift`: how far unlabelled images of a new site are from what a model was trained on."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.options import WRONG_INPUT, Quiet
from harness.terminal.lines import say
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.terminal.table import Table
    from ndcl.serving import Model
    from ndcl.serving.shift import Shift

SHOWN_CLASSES = 20
"""Of the shares of predicted classes, in the terminal: those that differ most."""
ARRAYS = (".npy", ".npz")
"""Files in which a model of vectors is given its site."""


def shift(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that ndcl export or ndcl deploy made.")],
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTOS...", help="Files, folders, or quoted patterns; vectors as .npz.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON, in one line.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images in one forward.")] = 64,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: a GPU if any.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Compare unlabelled photos of a new site with the model's source domains, before anyone trusts it there.

    Distances of features, with those of the sources among themselves as the measure; predicted classes, confidence, and
    of an ensemble disagreement, beside those of the sources. Nothing is trained.
    """
    from harness.terminal.terminal import console_of
    from ndcl.data.importing.walk import passed_over_line
    from ndcl.parallel import resolve_device
    from ndcl.serving import Model
    from ndcl.serving.looks import Looker
    from ndcl.serving.shift import shift_of
    from ndcl.serving.sources import read_sources

    loaded = Model.load(model, resolve_device(device))
    sources = read_sources(model, loaded.description)
    looker, faults, passed_over = Looker(loaded), list[str](), list[int]()
    for batch in _batches(loaded, photos, batch_size, faults, passed_over, quiet=quiet):
        looker.add(batch)
    for fault in faults:
        say(f"ndcl: {fault}", error=True)
    passed = passed_over_line(sum(passed_over))
    if not looker.num_images and faults:
        raise typer.Exit(WRONG_INPUT)
    if looker.num_images < 2:
        few = f"{', '.join(photos)}: a site takes several images, and there are {looker.num_images}"
        raise UserError(f"{few}{f'; {passed}' if passed else ''}; give more")
    if passed:
        say(f"ndcl: {passed}", error=True)
    found = shift_of(looker.look(), sources)
    if as_json:
        warnings = list(_warnings(found, loaded.classes))
        say(json.dumps({"unreadable": len(faults), "warnings": warnings, **found.to_dict(loaded.classes)}))
        return
    console = console_of()
    console.print(_distances(found))
    console.print(_shares(found, loaded.classes))
    for line in _verdict(found, loaded.classes):
        say(line)


def _batches(
    model: "Model", places: Sequence[str], size: int, faults: list[str], passed_over: list[int], *, quiet: bool
) -> "Iterator[Any]":
    """What the network takes of the site, part by part; what can't be read is put aside."""
    from harness.terminal.bars import progress_bar
    from harness.terminal.terminal import console_of
    from ndcl.serving.streaming import image_paths, read_files

    if model.description.inputs.kind == "vectors":
        yield from (model.prepare(_vectors(Path(place))) for place in places)
        return
    done = 0
    with progress_bar(console_of(error=True, quiet=quiet), "images", kind="unknown number") as progress:
        for paths, batch, lines in read_files(model, image_paths(places, passed_over.append), size):
            done += len(paths) + len(lines)
            progress(done, None)
            faults.extend(lines)
            yield batch


def _vectors(path: Path) -> object:
    """The array of a .npy, or `x` of a .npz. Raises UserError if there is none."""
    import numpy as np

    if path.suffix not in ARRAYS:
        raise UserError(f"{path}: this model takes vectors of features; give a .npy of them, or a .npz with x [n, F]")
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: it can't be read ({' '.join(str(error).split())}); give another file") from None
    if isinstance(loaded, np.ndarray):
        return loaded
    if "x" not in loaded:
        raise UserError(f"{path}: it has no array x [n, F] of vectors; it has {', '.join(loaded) or 'none'}")
    return loaded["x"]


def _distances(found: "Shift") -> "Table":
    from harness.terminal.numbers import percent
    from harness.terminal.table import Table

    has_members = found.site.disagreement is not None
    table = Table(title="Distance of features from each source domain, in units of a source's own spread")
    table.add_column("", "name")
    for name in found.sources:
        table.add_column(name)
    for name in ("images", "confidence", *(["disagreement"] if has_members else [])):
        table.add_column(name)
    rows = [("new site", found.site, found.distances)]
    rows += [(name, look, found.among[name]) for name, look in found.sources.items()]
    for name, look, distances in rows:
        apart = [f"{distances[other]:.2f}" if other in distances else "-" for other in found.sources]
        members = [f"{look.disagreement:.3f}"] if look.disagreement is not None else []
        cells = (name, *apart, f"{look.num_images:,}", percent(look.confidence), *members)
        table.add_row(*cells, ends_section=look is found.site)
    return table


def _shares(found: "Shift", classes: Sequence[str]) -> "Table":
    from harness.terminal.numbers import percent
    from harness.terminal.table import Table

    sources = [look.shares for look in found.sources.values()]
    means = [sum(float(shares[k]) for shares in sources) / len(sources) for k in range(len(classes))]
    apart = sorted(range(len(classes)), key=lambda k: -abs(float(found.site.shares[k]) - means[k]))[:SHOWN_CLASSES]
    left = len(classes) - len(apart)
    table = Table(title="Predicted classes" + (f", without {left} that differ less" if left else ""))
    table.add_column("class", "name")
    for name in ("new site", "sources, mean", "lowest", "highest"):
        table.add_column(name)
    for k in apart:
        own = [float(shares[k]) for shares in sources]
        table.add_row(classes[k], *map(percent, (float(found.site.shares[k]), means[k], min(own), max(own))))
    return table


def _verdict(found: "Shift", classes: Sequence[str]) -> Iterator[str]:
    """What the numbers mean, as far as they mean something."""
    from ndcl.serving.shift import FEW_IMAGES

    nearest, usual = found.distances[found.nearest], found.usual
    if usual is None:
        yield f"The model has one source domain, so that nothing says whether a distance of {nearest:.2f} is large."
    elif nearest <= usual:
        yield (
            f"The new site is {nearest:.2f} from {found.nearest}, its nearest source; sources are up to {usual:.2f} "
            "from the nearest of the others."
        )
    warnings = list(_warnings(found, classes))
    yield from (f"warning: {warning}" for warning in warnings)
    if found.site.num_images < FEW_IMAGES:
        yield f"{found.site.num_images} images make the distance uncertain; give {FEW_IMAGES} or more."
    if warnings:
        yield "Label some of these images before you trust the model here: no number above is an accuracy."
    else:
        yield "Nothing here warns, but no number above is an accuracy: only labels tell how often the model is right."


def _warnings(found: "Shift", classes: Sequence[str]) -> Iterator[str]:
    """In what the site is beyond every source."""
    from harness.terminal.numbers import percent

    nearest, usual, site, sources = found.distances[found.nearest], found.usual, found.site, found.sources.values()
    if usual is not None and nearest > usual:
        yield (
            f"the new site is {nearest:.2f} from {found.nearest}, its nearest source, and no source is more than "
            f"{usual:.2f} from the nearest of the others"
        )
    lowest = min(look.confidence for look in sources)
    if site.confidence < lowest:
        yield f"confidence is {percent(site.confidence)}, below that on every source ({percent(lowest)} or more)"
    apart = [look.disagreement for look in sources if look.disagreement is not None]
    if site.disagreement is not None and site.disagreement > max(apart):
        own = f"the ensemble's networks disagree by {site.disagreement:.3f}"
        yield f"{own}, more than on any source (up to {max(apart):.3f})"
    for k in found.excessive_classes:
        most = max(float(look.shares[k]) for look in sources)
        yield (
            f"{percent(float(site.shares[k]))} are taken for {classes[k]}, and at most {percent(most)} on a source: "
            "the site has more of it, or the model doesn't know what it sees"
        )
