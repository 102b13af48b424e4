"""The `ndcl data` command: what concerns data sets on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.data.lookup import Folder, Name, Replace, how_to_get, local_root, present, stored
from harness.cli.options import INTERRUPTED, Quiet, require_suffix
from harness.terminal.lines import say
from ndcl.errors import UserError
from ndcl.names import require_name

if TYPE_CHECKING:
    from ndcl.data.catalogue import Entry
    from ndcl.data.importing import ImportOptions
    from ndcl.data.importing.source import Source

DIFFERENT = 1
"""Exit code: `verify` finds something missing or extra."""
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


def import_a_data_set(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="A folder DOMAIN/CLASS/IMAGE or of Parquet, .parquet files, or .npz."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the data set in sweeps.")],
    size: Size = None,
    fit: Fit = "stretch",
    format: Format = "raw",
    skip_corrupt: SkipCorrupt = False,
    replace: Replace = False,
    domains: Annotated[
        str,
        typer.Option(
            "--domains",
            metavar="A,B,...",
            help="Names of the domain numbers 0, 1, ...; of a list with names, those to take.",
        ),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            metavar="A,B,...",
            help="Names of the label numbers 0, 1, ...; of a list with names, those to take.",
        ),
    ] = "",
    lists: Annotated[
        list[Path] | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="A list of the images in SOURCE (CSV, text or COCO-style JSON), or a folder of lists; repeatable.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--columns",
            metavar="path=A,...",
            help="Columns of a list, by name or number: path=A,label=B,domain=C,split=D; default: found.",
        ),
    ] = "",
    jobs: Jobs = None,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Make a data set of images or features, on all cores.

    It appears whole or not at all. Images that can't be read are named together, equal ones are listed.
    """
    from ndcl.data.importing import ImportOptions, open_source
    from ndcl.data.importing.lists import Columns

    require_name(name, "--name")
    options = ImportOptions(size=size, fit=fit, format=format, skip_corrupt=skip_corrupt, jobs=jobs, replace=replace)
    source = open_source(
        sources,
        classes=_names(classes),
        domains=_names(domains),
        lists=lists or [],
        columns=Columns.parsed(columns) if columns else None,
    )
    _import(source, [*sources, *(lists or [])], name, options, folder, quiet)


def list_data_sets(folder: Folder = None) -> None:
    """List the data sets that are here, and those of the catalogue."""
    from harness.cli.data.tables import folder_bytes, form_of
    from harness.config.commands import ndcl_command
    from harness.terminal.numbers import size
    from harness.terminal.table import Table
    from harness.terminal.terminal import console_of
    from ndcl.data import Store, dataset_names
    from ndcl.data.catalogue import CATALOGUE, plain
    from ndcl.data.store.store import is_store

    table = Table()
    table.add_column("name", "name")
    for column in ("images", "domains", "classes", "stored as", "size"):
        table.add_column(column, "text" if column == "stored as" else "number")
    root, names = local_root(folder), dataset_names(folder)
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
        table.add_row(name, *numbers, form_of(store), size(folder_bytes(store.folder)))
    for entry in CATALOGUE.values():
        if plain(entry.name) not in map(plain, names):
            remedy = (
                f"not here: {ndcl_command('data', 'download' if entry.files else 'show', entry.name, folder=folder)}"
            )
            numbers = (f"{entry.counts.sum():,}", str(len(entry.domains)), str(len(entry.classes)))
            total = size(sum(file.bytes for file in entry.files)) if entry.files else ""
            table.add_row(entry.name, *numbers, remedy, total)
    console_of().print(table)
    say(f"data folder: {root}")


def show(
    name: Name,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PNG", help="Where the contact sheet goes; default: NAME.png.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Show a data set's counts and origin, and draw a contact sheet of its images."""
    from harness.cli.data.tables import counts_table, store_lines
    from harness.terminal.terminal import console_of
    from ndcl.data.catalogue import find_entry
    from ndcl.data.contact_sheet import save_contact_sheet, shown_classes

    if out is not None:
        require_suffix("--out", out, (".png",))
    entry, store = find_entry(name), stored(name, folder)
    if store is None:
        assert entry is not None
        _show_entry(entry, folder)
        return
    console_of().print(counts_table(store.domains, store.classes, store.available(), store.name))
    for line in store_lines(store) + _origin_lines(entry):
        say(line)
    if store.kind != "vectors":
        path = out or Path(f"{store.name}.png")
        save_contact_sheet(store, path)
        say(f"contact sheet of {len(shown_classes(len(store.classes)))} classes: {path}")


def verify(
    name: Name,
    listed_as: Annotated[
        str, typer.Option("--as", metavar="ENTRY", help="The catalogue's name, if the data set has another.")
    ] = "",
    counts_only: Annotated[bool, typer.Option("--counts-only", help="Don't read every byte for the digest.")] = False,
    folder: Folder = None,
) -> None:
    """Compare a data set with the catalogue, and check that its files are whole.

    Exit code 1 if it differs.
    """
    from harness.cli.data.tables import check_lines
    from ndcl.data.catalogue import entry_of, find_entry
    from ndcl.data.catalogue.check import check

    entry = entry_of(listed_as) if listed_as else find_entry(name)
    store = present(name, folder)
    if not counts_only and store.header.format > 1:
        store.verify()
        say(f"files: whole, digest {store.digest}")
    if entry is None:
        say(f"{name} is not in the catalogue; if it is an entry under another name, give that with --as")
        return
    result = check(store, entry)
    for line in check_lines(result):
        say(line)
    if not result.is_whole:
        raise typer.Exit(DIFFERENT)


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
    """Download a public data set from its open hub, check it, and import it.

    A download that was stopped resumes where it was. HF_ENDPOINT names a mirror of the hub.
    """
    from harness.terminal.bars import progress_bar
    from harness.terminal.terminal import console_of
    from ndcl.data.catalogue import entry_of
    from ndcl.data.catalogue.download import download_all
    from ndcl.data.importing import ImportOptions, open_source

    entry = entry_of(name)
    if not entry.files:
        raise UserError(f"{entry.name} has no open file of all its images; {entry.how_to_get}")
    options = ImportOptions(size=size, fit=fit, format=format, jobs=jobs)
    if not only_files and (local_root(folder) / entry.name).exists():
        raise UserError(f"{entry.name} is in {local_root(folder)} already; delete it first, or use --only-files")
    say(f"licence of {entry.name}: {entry.licence} ({entry.source})", error=True)
    target = to or local_root(folder) / "downloads" / entry.name
    with progress_bar(console_of(error=True), entry.name, kind="bytes", quiet=quiet) as progress:
        paths = download_all(entry.files, target, progress)
    say(f"{len(paths)} {'file' if len(paths) == 1 else 'files'} with the right checksum in {target}")
    if not only_files:
        _import(open_source(paths), [target], entry.name, options, folder, quiet)


def _import(
    source: "Source", origins: Sequence[Path], name: str, options: "ImportOptions", folder: str | None, quiet: bool
) -> None:
    from harness.cli.data.tables import bad_lines, check_lines, imported_lines
    from harness.config.commands import ndcl_command
    from harness.terminal.bars import progress_bar
    from harness.terminal.terminal import console_of
    from ndcl.data import Store
    from ndcl.data.catalogue import find_entry
    from ndcl.data.catalogue.check import check
    from ndcl.data.importing import BadImagesError, checked, import_dataset

    origin = " ".join(str(path) for path in origins)
    content = checked(source)
    for line in (*content.remarks, *(f"warning: {warning}" for warning in content.warnings)):
        say(line, error=True)
    try:
        with progress_bar(console_of(error=True), name, quiet=quiet) as progress:
            result = import_dataset(content, local_root(folder), name, options, origin=origin, progress=progress)
    except BadImagesError as error:
        for line in bad_lines(error.bad):
            say(line, error=True)
        raise
    except KeyboardInterrupt:
        say("ndcl: stopped; nothing was imported", error=True)
        raise typer.Exit(INTERRUPTED) from None
    store = Store(result.folder)
    lines = imported_lines(result, store)
    lines += [f"warning: {warning}" for warning in result.warnings if warning not in content.warnings]
    entry = find_entry(name)
    if entry is not None:
        compared = check_lines(check(store, entry))
        lines.append(
            compared[0] + (f"; see: {ndcl_command('data', 'verify', name, folder=folder)}" if len(compared) > 1 else "")
        )
    for line in lines:
        say(line)
    say(f"next: {ndcl_command('data', 'show', name, folder=folder)}")


def _show_entry(entry: "Entry", folder: str | None) -> None:
    from harness.cli.data.tables import counts_table
    from harness.terminal.terminal import console_of

    console_of().print(
        counts_table(entry.domains, entry.classes, entry.counts, f"{entry.name} (as listed; it is not here)")
    )
    for line in (*_origin_lines(entry), how_to_get(entry, folder)):
        say(line)


def _origin_lines(entry: "Entry | None") -> list[str]:
    """Where a data set of the catalogue comes from, and its other editions."""
    if entry is None:
        return []
    lines = [entry.title, f"source: {entry.source}", f"licence: {entry.licence}"]
    for variant in entry.variants:
        lines.append(f"variant {variant.name}: {int(variant.totals.sum()):,} images; {variant.note}")
        if variant.options:
            lines.append(f"  with the lists in {entry.folder}: {entry.command(variant)}")
    return lines


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"'{text}' is no list of names; give each once, separated by commas")
    return names
