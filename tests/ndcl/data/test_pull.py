"""Data sets pulled into the data folder: whole or not at all, resumed, checked, and nothing else is overwritten."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ndcl.data import Store
from ndcl.data import pull as pulling
from ndcl.data.pull import pull
from ndcl.data.store.format import FILE_NAME, shard_name
from ndcl.errors import UserError
from tests.made.made_store import make_sharded_store
from tests.servers.object_server import ObjectServer, serving


@pytest.fixture
def original(tmp_path: Path) -> Store:
    return make_sharded_store(tmp_path / "bucket" / "sets" / "office")


@pytest.fixture
def server(original: Store, tmp_path: Path) -> Iterator[ObjectServer]:
    with serving(tmp_path / "bucket") as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "office"


def left(target: Path) -> list[str]:
    """What is in the data folder but for locks."""
    return sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock")


def test_it_appears_whole_and_is_not_fetched_twice(server: ObjectServer, original: Store, target: Path) -> None:
    moved = pull(server.uri("sets/office"), target)
    assert moved.moved_bytes == moved.num_bytes == sum(path.stat().st_size for path in original.folder.iterdir())
    assert Store(target).digest == original.digest
    assert target.stat().st_mode & 0o055 == 0o055
    server.reads.clear()
    again = pull(server.uri("sets/office"), target)
    assert (again.moved_bytes, again.num_bytes) == (0, moved.num_bytes)
    assert set(server.reads) == {FILE_NAME}
    assert left(target) == ["office"]


def test_what_was_stopped_resumes_within_a_file(
    server: ObjectServer, original: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "CHUNK_BYTES", 5000)
    told: list[int] = []

    def stopped(done: int, total: int | None) -> None:
        if done > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(server.uri("sets/office"), target, progress=stopped)
    assert not target.exists()
    (staged,) = target.parent.glob(".pull-office-*")
    kept = sum(path.stat().st_size for path in staged.iterdir() if path.name != FILE_NAME)
    assert kept > 15_000
    moved = pull(server.uri("sets/office"), target, progress=lambda done, total: told.append(done))
    assert told[0] == kept
    assert moved.moved_bytes == moved.num_bytes - kept == told[-1] - told[0]
    Store(target).verify()
    assert left(target) == ["office"]


def test_a_transfer_that_breaks_is_one_line_and_resumes(server: ObjectServer, original: Store, target: Path) -> None:
    server.drops = 10**6
    with pytest.raises(
        UserError, match=r"s3://bucket/sets/office: .*can't be read .*the same command resumes"
    ) as caught:
        pull(server.uri("sets/office"), target)
    assert "\n" not in str(caught.value)
    assert "password" not in str(caught.value)
    server.drops = 0
    pull(server.uri("sets/office"), target)
    Store(target).verify()


def test_damage_on_the_way_or_there_is_found_and_nothing_of_it_kept(
    server: ObjectServer, original: Store, target: Path
) -> None:
    server.flips_a_byte = True
    with pytest.raises(UserError, match=r"does not have the digest of the original; .*pull again, or push it again"):
        pull(server.uri("sets/office"), target)
    assert left(target) == []
    server.flips_a_byte = False
    pull(server.uri("sets/office"), target)
    Store(target).verify()


def test_damage_in_what_an_earlier_pull_left_is_found(server: ObjectServer, original: Store, target: Path) -> None:
    staged = target.parent / f".pull-office-{original.digest[:16]}"
    staged.mkdir(parents=True)
    (staged / shard_name(0)).write_bytes(b"x" * 10_000)
    with pytest.raises(UserError, match="does not have the digest of the original"):
        pull(server.uri("sets/office"), target)
    assert left(target) == []


def test_what_was_fetched_of_replaced_content_goes(server: ObjectServer, target: Path) -> None:
    for name in (f".pull-office-{'0' * 16}", f".pull-office-2-{'0' * 16}"):
        (target.parent / name).mkdir(parents=True)
    pull(server.uri("sets/office"), target)
    assert left(target) == [f".pull-office-2-{'0' * 16}", "office"], "that of another name stays"


def test_another_data_set_stays_unless_it_is_to_be_replaced(
    server: ObjectServer, original: Store, target: Path
) -> None:
    earlier = make_sharded_store(target, seed=1)
    with pytest.raises(UserError, match=rf"another .*digest {earlier.digest[:12]}, there {original.digest[:12]}"):
        pull(server.uri("sets/office"), target)
    assert Store(target).digest == earlier.digest
    pull(server.uri("sets/office"), target, replace=True)
    assert Store(target).digest == original.digest
    assert left(target) == ["office"]


def test_a_folder_that_is_no_data_set_is_never_replaced(server: ObjectServer, target: Path) -> None:
    target.mkdir(parents=True)
    (target / "thesis.pdf").write_bytes(b"years of work")
    with pytest.raises(UserError, match="holds no data set, and nothing else is replaced; give another NAME"):
        pull(server.uri("sets/office"), target, replace=True)
    assert (target / "thesis.pdf").exists()


def test_a_file_that_is_cut_off_there_is_named_before_anything_is_fetched(
    server: ObjectServer, original: Store, target: Path
) -> None:
    path = original.folder / shard_name(1)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"inputs-00001.arrow has {size - 1} of {size} bytes; push it again"):
        pull(server.uri("sets/office"), target)
    path.unlink()
    with pytest.raises(UserError, match=rf"inputs-00001.arrow has 0 of {size} bytes; push it again"):
        pull(server.uri("sets/office"), target)
    (original.folder / FILE_NAME).unlink()
    with pytest.raises(UserError, match="holds no data set, or not all of it"):
        pull(server.uri("sets/office"), target)
    assert set(server.reads) == {FILE_NAME}


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    server: ObjectServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"are to come and 0.0 GB are free in .*; make room, or give another --folder"):
        pull(server.uri("sets/office"), target)
    assert set(server.reads) == {FILE_NAME}


LIMITED = """
import resource, sys
from pathlib import Path
from ndcl.data.pull import pull
from ndcl.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    pull(sys.argv[1], Path(sys.argv[2]))
except UserError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_one_line_and_resumes(original: Store, target: Path) -> None:
    uri = original.folder.as_uri()
    run = subprocess.run([sys.executable, "-c", LIMITED, uri, target], capture_output=True, text=True, check=False)
    assert run.stdout == (
        f"{target.parent}: it can't be written (File too large); make room, or give another --folder; "
        "the same command resumes\n"
    ), run.stderr
    assert not target.exists()
    pull(uri, target)
    Store(target).verify()


PULL = """
import sys
from pathlib import Path
from ndcl.data.pull import pull
print(pull(sys.argv[1], Path(sys.argv[2])).moved_bytes > 0)
"""


def test_of_several_at_once_one_fetches(server: ObjectServer, target: Path) -> None:
    words = [sys.executable, "-c", PULL, server.uri("sets/office"), str(target)]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = sorted(process.communicate()[0].strip() for process in processes)
    assert outputs == ["False", "False", "True"]
    Store(target).verify()
