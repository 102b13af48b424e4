"""The `ndcl data` command: what concerns data sets on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness import cli_data_tools
from harness.data_sets import stored
from ndcl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ndcl.data.catalogue import Entry
    from ndcl.data.importing import ImportOptions
    from ndcl.data.importing.source import Source

DIFFERENT, INTERRUPTED = 1, 130
"""Exit codes: `verify` finds something missing or extra; stopped by Ctrl-C."""

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data sets: import, download, look at and check them; features of their images; what a setting makes of them.",
    epilog="Example: ndcl data import ~/my_images --name mine",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, by its name in the data folder or catalogue.")]
Folder = Annotated[
    str | None, typer.Option("--folder", metavar="DIR", help="Where data sets lie; default: NDCL_DATA, ~/.cache/ndcl.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
Size = Annotated[
    int | None,
    typer.Option(
        "--size", metavar="PIXELS", help="Height and width of stored images; default: 256, arrays as they are."
    ),
]
Fit = Annotated[
    Literal["stretch", "crop"],
    typer.Option("--fit", help="Make images square by stretching them, or by cropping their middle."),
]
Format = Annotated[
    Literal["raw", "jpeg"], typer.Option("--format", help="Pixels, fastest to train on; or JPEG, a tenth of the space.")
]
SkipCorrupt = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out what can't be read; the list is kept with the data set.")
]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", help="Processes; default: one a core.")]


@data.command(name="import", epilog="Example: ndcl data import ~/PACS/kfold --name PACS")
def import_a_data_set(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="A folder DOMAIN/CLASS/IMAGE or of Parquet, .parquet files, or .npz."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="By which sweeps will know it.")],
    size: Size = None,
    fit: Fit = "stretch",
    format: Format = "raw",
    skip_corrupt: SkipCorrupt = False,
    domains: Annotated[
        str, typer.Option("--domains", metavar="A,B,...", help="Names of a domain column's numbers 0, 1, ...")
    ] = "",
    classes: Annotated[
        str, typer.Option("--classes", metavar="A,B,...", help="Names of a label column's numbers 0, 1, ...")
    ] = "",
    jobs: Jobs = None,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Make a data set of images or features, on all cores.

    It appears whole or not at all. Images that can't be read are named together, equal ones are listed.
    """
    from ndcl.data.importing import ImportOptions, open_source

    options = ImportOptions(size=size, fit=fit, format=format, skip_corrupt=skip_corrupt, jobs=jobs)
    source = open_source(sources, classes=_names(classes), domains=_names(domains))
    _import(source, sources, name, options, folder, quiet)


@data.command(name="list", epilog="Example: ndcl data list --folder /data/ndcl")
def list_data_sets(folder: Folder = None) -> None:
    """List the data sets that are here, and those of the catalogue."""
    from rich import box
    from rich.table import Table

    from harness.data_view import folder_bytes, form_of, size_text
    from ndcl.data import dataset_names
    from ndcl.data.catalogue import CATALOGUE, plain
    from ndcl.data.store import Store, is_store

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "images", "domains", "classes", "stored as", "size"):
        table.add_column(column, justify="right" if column in ("images", "domains", "classes", "size") else "left")
    root, names = _root(folder), dataset_names(folder)
    for name in names:
        if not is_store(root / name):  # a built-in one
            table.add_row(name, "", "", "", "made on first use", "")
            continue
        try:
            store = Store(root / name)
        except UserError:
            table.add_row(name, "", "", "", "damaged: delete it and make it again", "")
            continue
        numbers = (f"{len(store):,}", str(len(store.domains)), str(len(store.classes)))
        table.add_row(name, *numbers, form_of(store), size_text(folder_bytes(store.folder)))
    for entry in CATALOGUE.values():
        if plain(entry.name) not in map(plain, names):
            remedy = f"not here: ndcl data {'download' if entry.files else 'show'} {entry.name}"
            numbers = (f"{entry.counts.sum():,}", str(len(entry.domains)), str(len(entry.classes)))
            size = size_text(sum(file.bytes for file in entry.files)) if entry.files else ""
            table.add_row(entry.name, *numbers, remedy, size)
    _console().print(table)
    typer.echo(f"data folder: {root}")


@data.command(epilog="Example: ndcl data show PACS --out pacs.png")
def show(
    name: Name,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PNG", help="Where the contact sheet goes; default: NAME.png.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Show a data set's counts and origin, and draw a contact sheet of its images."""
    from harness.data_view import counts_table, store_lines
    from ndcl.data.catalogue import find_entry
    from ndcl.data.contact_sheet import save_contact_sheet, shown_classes

    entry, store = find_entry(name), stored(name, folder)
    if store is None:
        assert entry is not None
        _show_entry(entry)
        return
    console = _console()
    console.print(counts_table(store.domains, store.classes, store.available(), store.name))
    for line in store_lines(store) + _origin_lines(entry):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if store.kind != "vectors":
        path = out or Path(f"{store.name}.png")
        save_contact_sheet(store, path)
        typer.echo(f"contact sheet of {len(shown_classes(len(store.classes)))} classes: {path}")


@data.command(epilog="Example: ndcl data verify PACS")
def verify(
    name: Name,
    listed_as: Annotated[
        str, typer.Option("--as", metavar="ENTRY", help="The catalogue's name, if the data set has another.")
    ] = "",
    counts_only: Annotated[bool, typer.Option("--counts-only", help="Don't read every byte for the digest.")] = False,
    folder: Folder = None,
) -> None:
    """Say what a data set lacks or has too much against the catalogue, and whether its files are whole.

    Exit code 1 if it is not as listed.
    """
    from harness.data_view import check_lines
    from ndcl.data.catalogue import entry_of, find_entry
    from ndcl.data.catalogue_check import check

    entry = entry_of(listed_as) if listed_as else find_entry(name)
    store = stored(name, folder)
    if store is None:
        assert entry is not None
        raise UserError(f"{entry.name} is not in {_root(folder)}; {_remedy(entry)}")
    if not counts_only and store.header.format > 1:
        store.verify()
        typer.echo(f"files: whole, digest {store.digest}")
    if entry is None:
        typer.echo(f"{store.name} is not in the catalogue; name the entry by --as if it is one under another name")
        return
    result = check(store, entry)
    typer.echo("\n".join(check_lines(result)))
    if not result.is_whole:
        raise typer.Exit(DIFFERENT)


@data.command(epilog="Example: ndcl data download PACS")
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="PACS or OfficeHome; others have no open file.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where the files go; default: downloads in --folder.")
    ] = None,
    only_files: Annotated[bool, typer.Option("--only-files", help="Download without importing.")] = False,
    size: Size = None,
    fit: Fit = "stretch",
    format: Format = "raw",
    jobs: Jobs = None,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Download a public data set from its open hub, check it, and import it; ready for a sweep then.

    A download that was stopped goes on where it was. HF_ENDPOINT names a mirror of the hub.
    """
    from harness.data_view import progress_bar
    from ndcl.data.catalogue import entry_of
    from ndcl.data.download import download_all
    from ndcl.data.importing import ImportOptions, open_source

    entry = entry_of(name)
    if not entry.files:
        raise UserError(f"{entry.name} has no open file of all its images; {entry.how_to_get}")
    options = ImportOptions(size=size, fit=fit, format=format, jobs=jobs)
    if not only_files and (_root(folder) / entry.name).exists():
        raise UserError(f"{entry.name} is in {_root(folder)} already; delete it first, or use --only-files")
    typer.echo(f"licence of {entry.name}: {entry.licence} ({entry.source})", err=True)
    target = to or _root(folder) / "downloads" / entry.name
    with progress_bar(_console(error=True), entry.name, quiet=quiet, in_bytes=True) as progress:
        paths = download_all(entry.files, target, progress)
    typer.echo(f"{len(paths)} {'file' if len(paths) == 1 else 'files'} with the right checksum in {target}")
    if not only_files:
        _import(open_source(paths), [target], entry.name, options, folder, quiet)


def _import(
    source: "Source", origins: Sequence[Path], name: str, options: "ImportOptions", folder: str | None, quiet: bool
) -> None:
    from harness.data_view import bad_lines, check_lines, imported_lines, progress_bar
    from ndcl.data.catalogue import find_entry
    from ndcl.data.catalogue_check import check
    from ndcl.data.importing import BadImagesError, import_dataset
    from ndcl.data.store import Store

    origin = " ".join(str(path) for path in origins)
    try:
        with progress_bar(_console(error=True), name, quiet=quiet) as progress:
            result = import_dataset(source, _root(folder), name, options, origin=origin, progress=progress)
    except BadImagesError as error:
        typer.echo("\n".join(bad_lines(error.bad)), err=True)
        raise
    except KeyboardInterrupt:
        typer.echo("ndcl: stopped; nothing is left of this import", err=True)
        raise typer.Exit(INTERRUPTED) from None
    store = Store(result.folder)
    lines = imported_lines(result, store)
    entry = find_entry(name)
    if entry is not None:
        checked = check_lines(check(store, entry))
        lines.append(checked[0] + (f"; see: ndcl data verify {name}" if len(checked) > 1 else ""))
    typer.echo("\n".join(lines))
    typer.echo(f"next: ndcl data show {name}{f' --folder {folder}' if folder else ''}")


def _show_entry(entry: "Entry") -> None:
    from harness.data_view import counts_table

    console = _console()
    console.print(counts_table(entry.domains, entry.classes, entry.counts, f"{entry.name} (as listed; it is not here)"))
    for line in (*_origin_lines(entry), _remedy(entry)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _origin_lines(entry: "Entry | None") -> list[str]:
    """Where a data set of the catalogue comes from, and its other editions."""
    if entry is None:
        return []
    lines = [entry.title, f"source: {entry.source}", f"licence: {entry.licence}"]
    return lines + [f"variant {v.name}: {int(v.totals.sum()):,} images; {v.note}" for v in entry.variants]


def _remedy(entry: "Entry") -> str:
    return f"get it by: ndcl data download {entry.name}" if entry.files else entry.how_to_get


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"'{text}' is no list of names; give each once, separated by commas")
    return names


def _root(folder: str | None) -> Path:
    from ndcl.data import data_folder

    return data_folder(folder)


def _console(*, error: bool = False) -> "Console":
    """A table that goes to a file or a pipe is not cut to the width of a terminal that isn't there."""
    from rich.console import Console

    console = Console(stderr=error)
    return console if console.is_terminal else Console(stderr=error, width=cli_data_tools.PLAIN_WIDTH)


cli_data_tools.add_verbs(data)
