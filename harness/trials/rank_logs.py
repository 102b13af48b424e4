"""What each of several workers prints, kept with the results: Ray's own logs lie on the worker's node alone."""

import os
import platform
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from harness.storage.scratch import scratch_folder
from ndcl.filesystems import files_below, filesystem_of, is_uri, join
from ndcl.parallel import Group

UPLOAD_SECONDS = 30.0
"""In an object store a log is replaced this often, if it has grown."""


def log_folder(place: str, name: str) -> str:
    """Where the logs of a run of that place and name lie, a path or a URI."""
    return join(place, f"{name}/logs")


def logs_exist(folder: str) -> bool:
    """Whether any worker has begun a log there; not where all failed before."""
    if not is_uri(folder):
        return Path(folder).is_dir()
    filesystem, place = filesystem_of(folder)
    try:
        return bool(files_below(filesystem, place))
    except OSError:  # why the workers failed is to be told all the same
        return False


@contextmanager
def kept_log(folder: str) -> Iterator[None]:
    """Append what this process and its children print, and its error, to `rank-<number>.log` in a folder or URI."""
    share = Group.current().share
    name = f"rank-{share.rank}.log"
    with _local(folder, name) as path:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        with path.open("a") as file:
            file.write(
                f"{now} worker {share.rank} of {share.world_size} begins on {platform.node()}, pid {os.getpid()}\n"
            )
        with _copied_to(path), _told():
            yield


@contextmanager
def _told() -> Iterator[None]:
    """An error, which Ray would tell the driver alone."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@contextmanager
def _local(folder: str, name: str) -> Iterator[Path]:
    """A file on this machine: the log itself, or what is sent there meanwhile and at the end."""
    if not is_uri(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder) / name
        return
    with tempfile.TemporaryDirectory(prefix="log-", dir=scratch_folder()) as scratch:
        path, ended = Path(scratch) / name, threading.Event()
        sender = threading.Thread(target=_send, args=(path, join(folder, name), ended), daemon=True)
        sender.start()
        try:
            yield path
        finally:
            ended.set()
            sender.join()


def _send(path: Path, uri: str, ended: threading.Event) -> None:
    filesystem, place = filesystem_of(uri)
    earlier = b""
    if (found := filesystem.get_file_info(place)).is_file:  # of a worker that was lost
        with filesystem.open_input_stream(found.path) as stream:
            earlier = stream.read()
    sent = 0
    while True:
        is_last = ended.wait(UPLOAD_SECONDS)
        content = path.read_bytes() if path.exists() else b""
        if len(content) > sent:
            with filesystem.open_output_stream(place) as stream:
                stream.write(earlier + content)
            sent = len(content)
        if is_last:
            return


@contextmanager
def _copied_to(path: Path) -> Iterator[None]:
    """Copy stdout and stderr, also what libraries such as NCCL write there, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    # not this process: a full disk, or one that is gone, must not stop the training
    tee = subprocess.Popen(["tee", "-a", str(path)], stdin=subprocess.PIPE, stdout=before[0], stderr=subprocess.DEVNULL)
    assert tee.stdin is not None
    os.dup2(tee.stdin.fileno(), 1)
    os.dup2(tee.stdin.fileno(), 2)
    try:
        yield
    finally:
        for descriptor, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, descriptor)
            os.close(kept)
        tee.stdin.close()
        tee.wait(timeout=10)
