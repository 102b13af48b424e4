"""Files from the web, whole or not at all: resumed where a connection broke, and compared with their checksums."""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ndcl.data.catalogue.entries import OpenFile
from ndcl.errors import UserError
from ndcl.files import locked, reason_of

HUB = "https://huggingface.co"
"""Where the hub's files lie, unless the environment's HF_ENDPOINT names a mirror."""
MAX_FRUITLESS_ATTEMPTS = 6
"""Attempts in a row that bring not a byte, before the download is given up."""
STALL_SECONDS = 30.0
"""A connection that brings nothing for so long is given up and opened again."""
FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0
_BLOCK_BYTES = 2**20
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
)
_WORTH_ANOTHER_ATTEMPT = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int], None]
"""Receives how many bytes of a file are there."""


def download_all(
    files: Sequence[OpenFile], folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Path]:
    """Fetch files into a folder; those that are there and whole are kept. `progress` gets bytes done and total.

    Raises UserError if the disk is too small, the server refuses, or a file stays incomplete; the same call continues.
    """
    total = sum(file.bytes for file in files)
    with _clear_disk_errors(folder):
        _check_space(files, folder)
    paths: list[Path] = []
    for number, file in enumerate(files):
        before = sum(earlier.bytes for earlier in files[:number])
        paths.append(download(file, folder / file_name(file), _Shifted(progress, before, total)))
    return paths


@dataclass(frozen=True)
class _Shifted:
    """Progress of one file as progress of all."""

    progress: Callable[[int, int], None]
    before: int
    total: int

    def __call__(self, done: int) -> None:
        self.progress(self.before + done, self.total)


def file_name(file: OpenFile) -> str:
    """The last part of the URL."""
    return urlsplit(file.url).path.rsplit("/", 1)[-1]


def download(file: OpenFile, path: Path, progress: Progress = lambda done: None) -> Path:
    """Fetch one file to `path`; two processes may ask at once. Raises UserError as `download_all` does."""
    with _clear_disk_errors(path), locked(path.with_name(f".{path.name}.lock")):
        if _size(path) == file.bytes and _sha256(path) == file.sha256:
            progress(file.bytes)
            return path
        part = path.with_name(f"{path.name}.part")
        for _ in range(2):
            _fetch(file, part, progress)
            if _sha256(part) == file.sha256:
                part.replace(path)
                return path
            part.unlink()  # damaged on the way, or begun by something else: once more from the start
        raise _changed(file, "its checksum is not the listed one, twice")


def _fetch(file: OpenFile, part: Path, progress: Progress) -> None:
    """Fetch until `part` has all bytes. Raises UserError if nothing more comes."""
    if _size(part) > file.bytes:
        part.unlink()
    part.touch()  # a folder that can't be written to shows here
    fruitless, pause = 0, FIRST_PAUSE_SECONDS
    while (done := _size(part)) < file.bytes:
        progress(done)
        reason = _attempt(file, part, done, progress)
        if _size(part) > done:
            fruitless, pause = 0, FIRST_PAUSE_SECONDS
            continue
        fruitless += 1
        if fruitless == MAX_FRUITLESS_ATTEMPTS:
            raise UserError(
                f"{file.url}: {reason}; {done / 1e6:.0f} of {file.bytes / 1e6:.0f} MB are kept, and the same command "
                "resumes from there"
            )
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    if _size(part) > file.bytes:
        part.unlink()
        raise _changed(file, "it is longer than listed")
    progress(file.bytes)


def _attempt(file: OpenFile, part: Path, done: int, progress: Progress) -> str:
    """One connection; what it brings is kept. The reason why it ended early. Raises UserError if others are no use."""
    try:
        with _opened(file.url, done) as answer:
            resumes = answer.status == http.client.PARTIAL_CONTENT
            if resumes and not answer.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                return "the server sends another part than was asked for"
            _copy(answer, part, done if resumes else 0, file.bytes, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _changed(file, "it is shorter than listed") from None
        if error.code not in _WORTH_ANOTHER_ATTEMPT:
            raise UserError(
                f"{file.url}: the server refuses it ({error.code} {error.reason}); if it has moved, fetch it by hand, "
                "and import it with: ndcl data import"
            ) from None
        return f"the server answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        reason = getattr(error, "reason", None) or error
        return f"the connection fails ({' '.join(str(reason).split()) or type(error).__name__})"
    return "the connection ends early"


def _changed(file: OpenFile, how: str) -> UserError:
    return UserError(
        f"{file.url} is not the file of the catalogue: {how}; it has changed, or a proxy alters it: fetch it by hand, "
        "and import it with: ndcl data import"
    )


def _opened(url: str, done: int) -> Any:
    """The server's answer, from byte `done` on if it can."""
    headers = {"User-Agent": "ndcl", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(_at_mirror(url), headers=headers)
    return urllib.request.urlopen(request, timeout=STALL_SECONDS)


def _at_mirror(url: str) -> str:
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return mirror + url.removeprefix(HUB) if mirror and url.startswith(HUB) else url


def _copy(answer: IO[bytes], part: Path, start: int, num_bytes: int, progress: Progress) -> None:
    """Write what comes from byte `start` on; never more than the file is long."""
    with part.open("r+b" if start else "wb") as target:
        target.seek(start)
        done = start
        while done <= num_bytes and (block := answer.read(_BLOCK_BYTES)):
            target.write(block)
            done += len(block)
            progress(min(done, num_bytes))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_space(files: Sequence[OpenFile], folder: Path) -> None:
    missing = 0
    for file in files:
        path = folder / file_name(file)
        missing += file.bytes - max(_size(path), _size(path.with_name(f"{path.name}.part")))
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise UserError(
            f"{folder}: {missing / 1e9:.1f} GB are left to download and {free / 1e9:.1f} GB are free; "
            "give another folder with --to"
        )


@contextlib.contextmanager
def _clear_disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({reason_of(error)}); make room, or give another folder with --to"
        ) from None
