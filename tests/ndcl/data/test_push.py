"""Data sets pushed to object stores and disks: whole or not at all, resumed, and nothing else is overwritten."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from ndcl.data import Store
from ndcl.data import push as pushing
from ndcl.data.pull import pull
from ndcl.data.push import place_in, push
from ndcl.data.remote import UNFINISHED, is_there, names_below, remote_header
from ndcl.data.store.format import FILE_NAME, shard_name
from ndcl.errors import UserError
from ndcl.filesystems import fetch_folder, filesystem_of, join, remove_folder
from tests.made.made_store import make_sharded_store, make_store
from tests.servers.object_server import ObjectServer, serving
from tests.servers.object_stores import served_gs, served_s3

SHARDS = [shard_name(number) for number in range(3)]
FILES = [FILE_NAME, *SHARDS]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_sharded_store(tmp_path / "data" / "office")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    (tmp_path / "bucket").mkdir()
    with serving(tmp_path / "bucket") as server:
        yield server


def there(server: ObjectServer) -> list[str]:
    """What is at the place of the data set."""
    return [key.removeprefix("sets/office/") for key in server.keys("sets/office/")]


def fails_at(server: ObjectServer, name: str) -> None:
    """Have the server refuse a file."""
    server.before_write = lambda key: not key.endswith(name)


def works(server: ObjectServer) -> list[str]:
    """Have it take all files again; the list of those that come."""
    come: list[str] = []

    def take(key: str) -> bool:
        come.append(key.rpartition("/")[2])
        return True

    server.before_write = take
    return come


def test_there_and_back(store: Store, tmp_path: Path) -> None:
    with served_s3() as place:
        uri = place_in(join(place, "there"), "office")
        moved = push(store, uri)
        assert moved.moved_bytes == moved.num_bytes == sum(path.stat().st_size for path in store.folder.iterdir())
        assert names_below(join(place, "there")) == ["office"]
        assert remote_header(uri) == store.header
        assert push(store, uri).moved_bytes == 0
        moved = pull(uri, tmp_path / "elsewhere" / "mine")
        remove_folder(*filesystem_of(uri))  # the next server would have it, too
    copy = Store(tmp_path / "elsewhere" / "mine")
    copy.verify()
    assert (copy.digest, moved.moved_bytes) == (store.digest, moved.num_bytes)
    assert {path.name: path.read_bytes() for path in copy.folder.iterdir()} == {
        path.name: path.read_bytes() for path in store.folder.iterdir()
    }


def test_in_googles_storage_all_files_arrive(store: Store, tmp_path: Path) -> None:
    """They are read back as streams: the emulator answers no reads of a file's end, such as opening an index takes."""
    with served_gs() as place:
        uri = join(place, "data/office")
        push(store, uri)
        assert names_below(join(place, "data")) == ["office"]
        fetch_folder(*filesystem_of(uri), tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == {
        path.name: path.read_bytes() for path in store.folder.iterdir()
    }


@pytest.mark.parametrize("served", [served_s3, served_gs])
def test_a_bucket_that_is_not_there_is_named(served: "type[AbstractContextManager[str]]", store: Store) -> None:
    with served() as place, pytest.raises(UserError, match="there is no bucket 'nobucket'; make it first"):
        push(store, join(place.replace("bucket?", "nobucket?"), "office"))


def test_the_index_comes_last_and_the_mark_goes(server: ObjectServer, store: Store) -> None:
    come = works(server)
    push(store, server.uri("sets/office"))
    assert come[0] == UNFINISHED
    assert come[-1] == FILE_NAME
    assert there(server) == sorted(FILES)


@pytest.mark.parametrize("name", [*SHARDS, FILE_NAME])
def test_a_push_that_broke_is_no_data_set_and_resumes(server: ObjectServer, store: Store, name: str) -> None:
    uri = server.uri("sets/office")
    fails_at(server, name)
    with pytest.raises(
        UserError, match=r"s3://bucket/sets/office: .*can't be put there .*the same command resumes"
    ) as e:
        push(store, uri)
    assert "\n" not in str(e.value)
    assert not is_there(uri)
    assert names_below(server.uri("sets")) == []
    kept = {key for key in there(server) if key in SHARDS and (server.root / "sets/office" / key).stat().st_size}
    come = works(server)
    told: list[tuple[int, int | None]] = []
    moved = push(store, uri, progress=lambda done, total: told.append((done, total)))
    whole = {key for key in kept if key != name}
    assert set(come) == {UNFINISHED, *FILES} - whole
    assert moved.moved_bytes == moved.num_bytes - sum((store.folder / key).stat().st_size for key in whole)
    assert told[0] == (moved.num_bytes - moved.moved_bytes, moved.num_bytes)
    assert told[-1] == (moved.num_bytes, moved.num_bytes)
    assert remote_header(uri) == store.header


def test_what_is_cut_off_there_is_sent_again(server: ObjectServer, store: Store) -> None:
    push(store, server.uri("sets/office"))
    path = server.root / "sets/office" / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-1])
    come = works(server)
    push(store, server.uri("sets/office"))
    assert set(come) == {UNFINISHED, SHARDS[1], FILE_NAME}
    Store(server.root / "sets/office").verify()


def test_another_data_set_stays_unless_it_is_to_be_replaced(server: ObjectServer, store: Store, tmp_path: Path) -> None:
    uri = server.uri("sets/office")
    earlier = make_sharded_store(tmp_path / "other" / "office", seed=1, parts=4)
    push(earlier, uri)
    with pytest.raises(UserError, match=rf"another data set .digest {earlier.digest[:12]}. lies there; use --replace"):
        push(store, uri)
    assert remote_header(uri) == earlier.header
    seen: list[bool] = []

    def look(key: str) -> bool:
        seen.append((server.root / "sets/office" / FILE_NAME).exists())
        return True

    server.before_write = look
    push(store, uri, replace=True)
    assert not any(seen), "neither of the two, until the new one is whole"
    assert there(server) == sorted(FILES)
    Store(server.root / "sets/office").verify()


def test_a_replacement_that_broke_trusts_nothing_of_the_earlier_one(
    server: ObjectServer, store: Store, tmp_path: Path
) -> None:
    uri = server.uri("sets/office")
    push(make_sharded_store(tmp_path / "other" / "office", seed=1), uri)  # its files have the same sizes
    fails_at(server, SHARDS[0])
    with pytest.raises(UserError):
        push(store, uri, replace=True)
    works(server)
    push(store, uri)
    Store(server.root / "sets/office").verify()
    assert remote_header(uri) == store.header


def test_a_broken_push_of_other_content_is_not_taken_up(server: ObjectServer, store: Store, tmp_path: Path) -> None:
    fails_at(server, SHARDS[0])
    with pytest.raises(UserError):
        push(make_sharded_store(tmp_path / "other" / "office", seed=1), server.uri("sets/office"))
    come = works(server)
    with pytest.raises(UserError, match=r"another data set .* lies there; use --replace"):
        push(store, server.uri("sets/office"))
    assert come == []


@pytest.mark.parametrize("replace", [False, True])
def test_other_files_are_never_replaced(server: ObjectServer, store: Store, replace: bool) -> None:
    server.put("sets/office/thesis.pdf", b"years of work")
    with pytest.raises(UserError, match=r"other files lie there .thesis.pdf., which nothing replaces"):
        push(store, server.uri("sets/office"), replace=replace)
    assert there(server) == ["thesis.pdf"]


def test_files_without_an_index_are_replaced_when_asked(server: ObjectServer, store: Store) -> None:
    server.put(f"sets/office/{SHARDS[0]}", b"copied by another tool")
    server.put(f"sets/office/{FILE_NAME}", b"no index")
    with pytest.raises(UserError, match="part of a data set lies there; use --replace"):
        push(store, server.uri("sets/office"))
    push(store, server.uri("sets/office"), replace=True)
    Store(server.root / "sets/office").verify()


def test_a_damaged_data_set_is_not_sent(server: ObjectServer, store: Store) -> None:
    path = store.folder / SHARDS[1]
    content = bytearray(path.read_bytes())
    content[10_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not have the digest it was written with"):
        push(Store(store.folder), server.uri("sets/office"))
    assert there(server) == []


def test_a_data_set_that_is_replaced_here_meanwhile_is_not_finished(server: ObjectServer, store: Store) -> None:
    def replaced(key: str) -> bool:
        if key.endswith(SHARDS[2]) and Store(store.folder).digest == store.digest:
            shutil.rmtree(store.folder)
            make_sharded_store(store.folder, seed=1)
        return True

    server.before_write = replaced
    with pytest.raises(UserError, match="was replaced while it was in use; start again"):
        push(store, server.uri("sets/office"))
    assert not is_there(server.uri("sets/office"))


def test_who_pushes_something_else_to_the_place_is_noticed(server: ObjectServer, store: Store) -> None:
    def other(key: str) -> bool:
        if key.endswith(SHARDS[2]):
            server.put(f"sets/office/{UNFINISHED}", b"0" * 64)
        return True

    server.before_write = other
    with pytest.raises(UserError, match="another data set was pushed there meanwhile"):
        push(store, server.uri("sets/office"))
    assert not is_there(server.uri("sets/office"))


def test_rights_that_are_missing_are_one_line_without_the_key(server: ObjectServer, store: Store) -> None:
    server.forbids = True
    with pytest.raises(UserError, match=r"can't be put there .*check the address, the network and your cred") as caught:
        push(store, server.uri("sets/office"))
    assert "\n" not in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(("uri", "reason"), [("ftp://x/y", "unknown kind of place"), ("s3://k:secret@b/x", "a key")])
def test_places_that_are_no_place_for_data(uri: str, reason: str, store: Store) -> None:
    with pytest.raises(UserError, match=reason) as error:
        push(store, place_in(uri, "office"))
    assert "secret" not in str(error.value)


def test_a_disk_that_is_too_small_is_said_first(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(pushing.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"0\.1 GB are to come|0\.0 GB are to come and 0\.0 GB are free there"):
        push(store, (tmp_path / "shared" / "office").as_uri())
    assert not (tmp_path / "shared").exists()


LIMITED = """
import resource, sys
from pathlib import Path
from ndcl.data import Store
from ndcl.data.push import push
from ndcl.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    push(Store(Path(sys.argv[1])), sys.argv[2])
except UserError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_one_line_and_resumes(store: Store, tmp_path: Path) -> None:
    uri = (tmp_path / "shared" / "office").as_uri()
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, store.folder, uri], capture_output=True, text=True, check=False
    )
    assert run.stdout == f"{uri}: the disk is full; make room, and the same command resumes\n", run.stderr
    assert not is_there(uri)
    push(store, uri)
    assert sorted(path.name for path in (tmp_path / "shared" / "office").iterdir()) == sorted(FILES)
    assert errno.EFBIG in pushing._FULL


def test_the_place_is_the_folder_for_data_sets_or_the_data_set_itself(tmp_path: Path) -> None:
    assert place_in("s3://b/data?region=r", "PACS") == "s3://b/data/PACS?region=r"
    assert place_in("s3://b/data/PACS/?region=r", "PACS") == "s3://b/data/PACS/?region=r"
    assert place_in("s3://PACS", "PACS") == "s3://PACS/PACS", "a bucket is no data set"
    assert place_in(str(tmp_path / "a b"), "PACS") == (tmp_path / "a b" / "PACS").as_uri()
    assert place_in((tmp_path / "PACS").as_uri(), "PACS") == (tmp_path / "PACS").as_uri()


def test_a_store_of_the_first_format_is_to_be_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "old", np.ones((2, 2), int), ("a", "b"), ("c", "d"))
    monkeypatch.setattr(type(store.header), "format", 1)
    object.__setattr__(store.header, "format", 1)
    with pytest.raises(UserError, match="written by an older version; import it again"):
        push(store, "s3://bucket/old")
