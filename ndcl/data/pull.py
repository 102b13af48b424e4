"""A data set taken from an object store or a shared folder into the data folder: resumed, checked, then shown whole."""

import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from ndcl.data.copying import Progress, Tally, copy_all
from ndcl.data.push import RESUMES, Moved
from ndcl.data.remote import clear_read_errors, is_copy, remote_header
from ndcl.data.store.format import FILE_NAME, Header, file_names, shard_name, short_digest
from ndcl.data.store.store import Store, is_store
from ndcl.data.store.writer import PartialFolder
from ndcl.errors import UserError
from ndcl.files import clear_write_errors, locked
from ndcl.filesystems import CHUNK_BYTES, filesystem_of, shown

_STAGED_DIGITS = 16
"""Of the digest, in the name of the folder in which the files wait."""

MAKE_ROOM = f"make room, or give another --folder; {RESUMES}"


def pull(uri: str, folder: Path, *, replace: bool = False, progress: Progress = lambda done, total: None) -> Moved:
    """Have the data set of `uri` in `folder`, which appears once all of it is there and has the original's digest.

    What an earlier pull brought is kept. With `replace` another data set that lies in `folder` gives way.
    Raises UserError if there is none at `uri`, if something else lies in `folder`, if the disk is too small or the
    content damaged.
    """
    header = remote_header(uri)
    _require_free(folder, header, replace)
    if not _is_here(folder, header):
        with clear_write_errors(folder.parent, MAKE_ROOM), locked(folder.parent / f".pull-{folder.name}.lock"):
            if not _is_here(folder, header):  # else another process brought it while this one waited
                return _pulled(uri, header, folder, replace, progress)
    return Moved(header=header, num_bytes=_size(folder), moved_bytes=0)


def _is_here(folder: Path, header: Header) -> bool:
    return is_store(folder) and Store(folder).digest == header.digest


def _pulled(uri: str, header: Header, folder: Path, replace: bool, progress: Progress) -> Moved:
    staged = folder.parent / f".pull-{folder.name}-{header.digest[:_STAGED_DIGITS]}"
    _remove_others(staged)
    staged.mkdir(exist_ok=True)
    (staged / FILE_NAME).unlink(missing_ok=True)  # what it notes beside the content may have changed
    filesystem, source = filesystem_of(uri)
    sizes = _sizes(uri, filesystem, source, header)
    here = {name: min(size, _size(staged / name)) for name, size in sizes.items()}
    missing = sum(sizes.values()) - sum(here.values())
    _require_space(uri, missing, staged)
    tally = Tally(progress, sum(here.values()), sum(sizes.values()))
    fetch = partial(_fetch, uri, filesystem, tally)
    copy_all([partial(fetch, f"{source}/{name}", staged / name, here[name]) for name in sizes], tally)
    _verify(uri, header, staged)
    _publish(staged, folder, replace)
    return Moved(header=header, num_bytes=sum(sizes.values()), moved_bytes=missing)


def _require_free(folder: Path, header: Header, replace: bool) -> None:
    """Raise UserError if something else lies in `folder`, of which `replace` allows to replace a data set."""
    if not folder.exists() or _is_here(folder, header):
        return
    if not is_store(folder):
        raise UserError(f"{folder} holds no data set, and nothing else is replaced; give another NAME")
    if not replace:
        raise UserError(
            f"{folder} holds another data set (digest {short_digest(Store(folder).digest)}, there "
            f"{short_digest(header.digest)}); use --replace to replace it, or give another NAME"
        )


def _remove_others(staged: Path) -> None:
    """Remove what was brought of other content under the same name."""
    stem = staged.name[:-_STAGED_DIGITS]
    for path in staged.parent.iterdir():
        if path != staged and re.fullmatch(f"{re.escape(stem)}[0-9a-f]{{{_STAGED_DIGITS}}}", path.name):
            shutil.rmtree(path)


def _sizes(uri: str, filesystem: Any, source: str, header: Header) -> dict[str, int]:
    """All files and their bytes. Raises UserError if one is missing or cut off."""
    names = list(file_names(header))
    with clear_read_errors(uri):
        infos = filesystem.get_file_info([f"{source}/{name}" for name in names])
    sizes = {name: int(info.size) if info.is_file else 0 for name, info in zip(names, infos, strict=True)}
    for number, (_, size) in enumerate(header.shards):
        if sizes[shard_name(number)] != size:
            raise UserError(
                f"{shown(uri)}: {shard_name(number)} has {sizes[shard_name(number)]} of {size} bytes; push it again"
            )
    return sizes


def _require_space(uri: str, missing: int, staged: Path) -> None:
    free = shutil.disk_usage(staged).free
    if missing > free:
        raise UserError(
            f"{shown(uri)}: {missing / 1e9:.1f} GB are to come and {free / 1e9:.1f} GB are free in {staged.parent}; "
            "make room, or give another --folder"
        )


def _fetch(uri: str, filesystem: Any, tally: Tally, source: str, target: Path, start: int) -> None:
    """Copy a file from its byte `start` on, behind what is here of it."""
    with target.open("r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        with clear_read_errors(uri, f"; {RESUMES}"), filesystem.open_input_file(source) as stream:
            stream.seek(start)
            while chunk := stream.read(CHUNK_BYTES):
                with clear_write_errors(target.parent.parent, MAKE_ROOM):
                    file.write(chunk)
                tally.add(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _verify(uri: str, header: Header, staged: Path) -> None:
    """Raise UserError, and remove what came, unless it has the digest of the original."""
    if not is_copy(header, staged):
        shutil.rmtree(staged)
        raise UserError(
            f"{shown(uri)}: what came does not have the digest of the original; the transfer was broken, or the "
            "original is damaged or being replaced: pull again, or push it again"
        )


def _publish(staged: Path, folder: Path, replace: bool) -> None:
    whole = PartialFolder(folder)
    try:
        for path in staged.iterdir():
            path.rename(whole.path / path.name)
        whole.publish(replace)
    finally:
        whole.remove()
    staged.rmdir()


def _size(path: Path) -> int:
    """Bytes of a file or of all in a folder; 0 if there is none."""
    if path.is_dir():
        return sum(_size(each) for each in path.iterdir())
    return path.stat().st_size if path.exists() else 0
