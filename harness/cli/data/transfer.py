"""`ndcl data push` and `pull`: a data set to an object store or a shared folder, and from there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.data.lookup import Folder, local_root, present
from harness.cli.options import Quiet
from harness.terminal.lines import say
from ndcl.errors import UserError, unknown_name
from ndcl.names import require_name

if TYPE_CHECKING:
    from ndcl.data import Store
    from ndcl.data.store.format import Header

Place = Annotated[
    str, typer.Argument(metavar="URI", help="A folder for data sets: s3://, gs://, abfs://, file://, or a path.")
]
Source = Annotated[
    str, typer.Argument(metavar="URI", help="A data set, or a folder of them: s3://, gs://, abfs://, file://, a path.")
]


def push(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set: its name in the data folder, or its path.")],
    place: Place,
    replace: Annotated[bool, typer.Option("--replace", help="Replace another data set that lies there.")] = False,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Copy a data set to where a cluster's nodes find it: URI/NAME, only what isn't there yet.

    It counts as a data set there once all of it has come; what was stopped resumes by the same command.
    """
    from harness.config.commands import ndcl_command
    from harness.terminal.bars import progress_bar
    from harness.terminal.numbers import size
    from harness.terminal.terminal import console_of
    from ndcl.data.push import place_in
    from ndcl.data.push import push as push_store
    from ndcl.filesystems import shown

    store = present(name, folder)
    known_as = _name_of(store, name)
    uri = place_in(place, known_as)
    with progress_bar(console_of(error=True), known_as, kind="bytes", quiet=quiet) as progress:
        moved = push_store(store, uri, replace=replace, progress=progress)
    what = f"{size(moved.moved_bytes)} of {size(moved.num_bytes)} sent" if moved.moved_bytes else "all of it was there"
    say(f"{_described(known_as, moved.header)} is at {shown(uri)}: {what}")
    say(f"for a cluster: write `data: {_folder_of(uri)}` under `metadata` in its YAML (docs/clusters.md)")
    say(f"next: {ndcl_command('data', 'pull', uri)}")


def pull(
    source: Source,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="By which it will be known here; default: as there.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another data set that has the name here.")
    ] = False,
    folder: Folder = None,
    quiet: Quiet = False,
) -> None:
    """Copy a data set from an object store or a shared folder into the data folder, and check every byte of it.

    It appears there once all of it has come; what was stopped resumes by the same command.
    """
    from harness.config.commands import ndcl_command
    from harness.terminal.bars import progress_bar
    from harness.terminal.numbers import size
    from harness.terminal.terminal import console_of
    from ndcl.data.pull import pull as pull_store

    uri = _found(source, name)
    known_as = name or _last_part(uri)
    target = Path(known_as).expanduser() if "/" in known_as else local_root(folder) / require_name(known_as, "NAME")
    with progress_bar(console_of(error=True), target.name, kind="bytes", quiet=quiet) as progress:
        moved = pull_store(uri, target, replace=replace, progress=progress)
    what = f"{size(moved.moved_bytes)} of {size(moved.num_bytes)} fetched, every byte checked"
    say(f"{_described(target.name, moved.header)} is in {target}: {what if moved.moved_bytes else 'it was there'}")
    say(f"next: {ndcl_command('data', 'show', known_as, folder=folder)}")


def _found(source: str, name: str | None) -> str:
    """The URI of the data set that is meant: `source`, or `name` in it. Raises UserError if there is none."""
    from harness.config.commands import ndcl_command
    from ndcl.data.catalogue import plain
    from ndcl.data.remote import is_there, names_below
    from ndcl.filesystems import is_uri, join, shown

    uri = source if is_uri(source) else Path(source).expanduser().resolve().as_uri()
    if is_there(uri):
        return uri
    names = names_below(uri)
    same = [each for each in names if each == name] or [
        each for each in names if not name or plain(each) == plain(name)
    ]
    if len(same) == 1:
        return join(uri, same[0])
    if not names:
        raise UserError(f"{shown(uri)} holds no data set, or not all of it; check the address")
    if name:
        raise unknown_name(f"data set in {shown(uri)}:", name, names)
    which = ndcl_command("data", "pull", source, names[0])
    raise UserError(f"{shown(uri)} holds several data sets ({', '.join(names)}); name one, as in: {which}")


def _name_of(store: "Store", name: str) -> str:
    """By which others will know the data set that `name` stands for here."""
    from ndcl.data.catalogue import plain
    from ndcl.filesystems import is_uri

    if is_uri(name):
        return _last_part(name)
    here = store.folder.absolute().name
    is_path = "/" in name or name.startswith((".", "~"))
    return here if is_path or plain(here) == plain(name) else name  # else a copy, which has its digest for a name


def _described(name: str, header: "Header") -> str:
    from ndcl.data.store.format import short_digest

    count = sum(rows for rows, _ in header.shards)
    return f"{name} ({count:,} items, digest {short_digest(header.digest)})"


def _last_part(uri: str) -> str:
    return uri.partition("?")[0].rstrip("/").rpartition("/")[2]


def _folder_of(uri: str) -> str:
    """Where the data set of a URI lies."""
    place, mark, options = uri.partition("?")
    return f"{place.rstrip('/').rpartition('/')[0]}{mark}{options}"
