"""Data sets in object stores: copied once, checked, and never left half done. The S3 client is the real one."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ndcl.config import DataConfig, ImbalanceConfig
from ndcl.data import Store, data_folder, domains_of, open_dataset, remote
from ndcl.data.datasets import cache_folder
from ndcl.data.problem import build_problem
from ndcl.data.remote import local_copy, remote_header
from ndcl.data.store.format import FILE_NAME, shard_name
from ndcl.errors import UserError
from ndcl.filesystems import join, shown
from tests.made.made_store import DOMAINS, make_sharded_store, make_store
from tests.servers.object_server import ObjectServer, serving

COUNTS = np.full((3, 3), 9)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NDCL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def original(tmp_path: Path) -> Store:
    """A data set of several shards."""
    return make_sharded_store(tmp_path / "bucket" / "sets" / "office")


@pytest.fixture
def server(original: Store, tmp_path: Path) -> Iterator[ObjectServer]:
    with serving(tmp_path / "bucket") as server:
        yield server


def left_in(cache: Path) -> list[str]:
    """What is in the cache but for locks."""
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_a_copy_holds_what_the_original_holds(server: ObjectServer, original: Store, cache: Path) -> None:
    copy = open_dataset(server.uri("sets/office"))
    rows = np.arange(81)
    assert np.array_equal(copy.inputs(rows).numpy(), original.inputs(rows).numpy())
    assert copy.labels.tolist() == original.labels.tolist()
    assert copy.digest == original.digest
    assert copy.folder == cache / original.digest[:32]
    assert sorted(path.name for path in copy.folder.iterdir()) == sorted(
        path.name for path in original.folder.iterdir()
    )


def test_the_second_opening_reads_no_more_than_the_index(server: ObjectServer) -> None:
    open_dataset(server.uri("sets/office"))
    server.reads.clear()
    open_dataset("office", server.uri("sets"))
    assert set(server.reads) == {FILE_NAME}


def test_names_in_a_remote_folder_match_as_those_in_a_local_one_do(server: ObjectServer, original: Store) -> None:
    assert open_dataset("Office", server.uri("sets")).digest == original.digest
    shutil.copytree(original.folder, original.folder.parent / "OFFICE")
    assert open_dataset("office", server.uri("sets")).digest == original.digest
    with pytest.raises(UserError, match="sets/Office holds no data set"):  # two are meant
        open_dataset("Office", server.uri("sets"))


def test_domains_are_known_without_a_copy(server: ObjectServer, cache: Path) -> None:
    assert domains_of(server.uri("sets/office")) == domains_of("office", server.uri("sets")) == DOMAINS
    assert not cache.exists()


def test_a_training_finds_its_data_by_name_in_a_remote_folder(server: ObjectServer) -> None:
    data = DataConfig(name="office", target="photo", folder=server.uri("sets"))
    made = build_problem(data, ImbalanceConfig(setting="natural", validation=2))
    assert made.store.name == "office"
    assert made.counts.tolist() == [[7, 7, 7]] * 2


def test_an_original_that_is_replaced_is_copied_anew(server: ObjectServer, original: Store, cache: Path) -> None:
    before = open_dataset(server.uri("sets/office"))
    shutil.rmtree(original.folder)
    make_store(original.folder, COUNTS)
    after = open_dataset(server.uri("sets/office"))
    assert after.input_shape == (4, 5, 3)
    assert before.folder.exists()  # a training may still map it
    assert len(left_in(cache)) == 2


def test_file_uris_are_copied_too(original: Store, cache: Path) -> None:
    copy = open_dataset(f"file://{original.folder}")
    assert copy.folder.parent == cache
    assert copy.digest == original.digest


OPEN = """
import sys
from ndcl.data import open_dataset
print(open_dataset(sys.argv[1]).digest)
"""


def opening(uri: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_eight_processes_at_once_copy_once(server: ObjectServer, original: Store, cache: Path) -> None:
    processes = [opening(server.uri("sets/office")) for _ in range(8)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert {output.strip() for output, _ in outputs} == {original.digest}
    for number in range(3):
        assert server.reads.count(shard_name(number)) == 1
    assert left_in(cache) == [original.digest[:32]]


def test_a_connection_that_drops_is_tried_again(server: ObjectServer, original: Store) -> None:
    server.drops = 1
    assert open_dataset(server.uri("sets/office")).digest == original.digest


@pytest.mark.parametrize("fault", ["drops", "flips_a_byte"])
def test_a_broken_transfer_is_one_line_and_leaves_nothing(
    server: ObjectServer, original: Store, cache: Path, fault: str
) -> None:
    setattr(server, fault, 10**6 if fault == "drops" else True)
    with pytest.raises(UserError, match=r"s3://bucket/sets/office") as caught:
        open_dataset(server.uri("sets/office"))
    text = str(caught.value)
    assert ("does not have the digest" if fault == "flips_a_byte" else "be read") in text
    assert "\n" not in text
    assert "password" not in text
    assert left_in(cache) == []
    server.drops, server.flips_a_byte = 0, False
    assert open_dataset(server.uri("sets/office")).digest == original.digest


def test_a_shard_that_is_missing_or_short_is_one_line_and_leaves_nothing(original: Store, cache: Path) -> None:
    path = original.folder / shard_name(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="the copy does not have the digest of the original; the transfer was broken"):
        open_dataset(f"file://{original.folder}")
    path.unlink()
    with pytest.raises(UserError, match="holds no data set, or not all of it; check the address"):
        open_dataset(f"file://{original.folder}")
    assert left_in(cache) == []


def test_labels_are_covered_by_the_check_too(original: Store, cache: Path) -> None:
    path = original.folder / FILE_NAME
    labels = pa.array(original.labels, pa.int32()).buffers()[1].to_pybytes()
    content = path.read_bytes()
    assert content.count(labels) == 1
    path.write_bytes(content.replace(labels, labels[4:] + labels[:4]))
    with pytest.raises(UserError, match="the copy does not have the digest"):
        open_dataset(f"file://{original.folder}")


def test_a_killed_copy_is_taken_up_by_the_next(server: ObjectServer, original: Store, cache: Path) -> None:
    partial = remote.PartialFolder(cache / original.digest[:32])
    (partial.path / shard_name(0)).write_bytes(b"half")
    partial._lock.close()  # as when its process dies
    assert open_dataset(server.uri("sets/office")).digest == original.digest
    assert left_in(cache) == [original.digest[:32]]


def test_a_process_killed_while_it_copies_leaves_no_data_set(original: Store, cache: Path) -> None:
    fifo = original.folder / shard_name(0)
    content = fifo.read_bytes()
    fifo.unlink()
    os.mkfifo(fifo)  # reading it never ends
    process = opening(f"file://{original.folder}")
    with fifo.open("wb"):  # open as soon as the process reads
        assert any(name.startswith(".partial-") for name in left_in(cache))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (cache / original.digest[:32]).exists()
    fifo.unlink()
    fifo.write_bytes(content)
    assert open_dataset(f"file://{original.folder}").digest == original.digest
    assert left_in(cache) == [original.digest[:32]]


def test_too_small_a_disk_is_said_before_anything_is_copied(
    server: ObjectServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"needs 0\.0 GB, .* has 0\.0 GB free; .* set NDCL_CACHE"):
        open_dataset(server.uri("sets/office"))
    assert set(server.reads) == {FILE_NAME}
    assert left_in(cache) == []


LIMITED = """
import resource, sys
from ndcl.data import open_dataset
from ndcl.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    open_dataset(sys.argv[1])
except UserError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_is_one_line_and_leaves_nothing(original: Store, cache: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, f"file://{original.folder}"], capture_output=True, text=True, check=False
    )
    assert run.stdout.count("\n") == 1, run.stderr
    assert f"{cache} cannot be written (File too large); nothing is left of it; free some space" in run.stdout
    assert left_in(cache) == []


def test_a_disk_that_fills_up_meanwhile_is_one_line(
    original: Store, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        open_dataset(f"file://{original.folder}")
    assert left_in(cache) == []


@pytest.mark.parametrize("name", ["sets/ofice", "sets", "nothing"])
def test_an_address_without_a_data_set_is_one_line(server: ObjectServer, name: str) -> None:
    with pytest.raises(UserError, match="holds no data set, or not all of it; check the address"):
        open_dataset(server.uri(name))


def test_credentials_that_are_refused_are_one_line_without_them(server: ObjectServer) -> None:
    server.forbids = True
    with pytest.raises(UserError, match=r"can.t be read .*check the address, the network and your cred") as caught:
        open_dataset(server.uri("sets/office"))
    assert "\n" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_an_unknown_scheme_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"ftp://x/y: unknown kind of place; valid: s3://, gs://, abfs://, abfss://"):
        open_dataset("ftp://x/y")


@pytest.mark.parametrize("uri", ["s3://key:secret@b/x", "abfs://c@a/x?region=r&client_secret=secret"])
def test_a_key_in_an_address_is_refused_since_addresses_are_kept(uri: str) -> None:
    with pytest.raises(UserError, match="holds a key") as error:
        remote_header(uri)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("format", 1), ("digest", "../../escape"), ("format", 7)])
def test_a_header_that_cannot_be_trusted_is_refused(original: Store, cache: Path, key: str, value: object) -> None:
    """The digest becomes the name of a folder."""
    path = original.folder / FILE_NAME
    table = pa.ipc.open_file(str(path)).read_all()
    header = json.loads(table.schema.metadata[b"ndcl"]) | {key: value}
    with pa.ipc.new_file(str(path), table.schema.with_metadata({"ndcl": json.dumps(header)})) as file:
        file.write_table(table)
    with pytest.raises(UserError, match=r"older version; make it again|its format is 7, this version reads 2"):
        open_dataset(f"file://{original.folder}")
    assert not cache.exists()


def test_uris_are_joined_before_their_options() -> None:
    assert join("s3://b/sets/?region=r", "office") == "s3://b/sets/office?region=r"
    assert join("gs://b", "office") == "gs://b/office"
    assert shown("s3://key:secret@b/x?endpoint_override=e") == "s3://***@b/x"
    assert shown("abfs://container@account/x") == "abfs://container@account/x"


@pytest.mark.parametrize("uri", ["gs://b/x", "abfs://c@account.dfs.core.windows.net/x", "s3://b/x?region=r"])
def test_every_kind_of_object_store_has_a_client(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem, path = remote.filesystem_of(uri)
    assert filesystem.type_name in ("gcs", "abfs", "s3")
    assert path.endswith("/x")


def test_digits_are_made_here_even_if_other_sets_are_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NDCL_DATA", "s3://bucket/sets")
    assert domains_of("digits")[0] == "scan"
    assert open_dataset("digits").folder == tmp_path / ".cache" / "ndcl" / "digits"
    with pytest.raises(UserError, match="s3://bucket/sets is not a local folder; give one"):
        data_folder()


def test_the_cache_lies_in_the_home_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("NDCL_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/ndcl/remote")


def test_the_header_alone_tells_what_there_is(original: Store) -> None:
    assert remote_header(f"file://{original.folder}") == original.header


def test_a_copy_needs_no_cache_folder_beforehand(original: Store, tmp_path: Path) -> None:
    folder = local_copy(f"file://{original.folder}", tmp_path / "a" / "b")
    assert folder.parent == tmp_path / "a" / "b"
    assert folder.stat().st_mode & 0o055 == 0o055
