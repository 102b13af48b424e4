"""Writing: streamed, bounded in memory, and whole or not at all whatever happens."""

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndcl.data import Store, StoreWriter, dataset_names
from ndcl.data.store.store import is_store
from ndcl.data.store.writer import PARTIAL_PREFIX, REPLACED_PREFIX, PartialFolder
from ndcl.errors import UserError
from tests.made.made_store import make_store

FACTS: dict[str, Any] = {"name": "made", "classes": ("a", "b"), "domains": ("x", "y")}


def writer_of(folder: Path, **changes: Any) -> StoreWriter:
    return StoreWriter(folder, **{**FACTS, "kind": "raw", "shape": (2, 2, 3), **changes})


def images(num: int) -> np.ndarray:
    return np.random.default_rng(num).integers(0, 256, (num, 2, 2, 3), np.uint8)


@pytest.mark.parametrize("batch_bytes", [1, 30, 10_000])
def test_parts_of_any_size_give_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    inputs, labels, domain_ids = images(20), [0, 1] * 10, [0] * 5 + [1] * 15
    with writer_of(tmp_path / "once") as writer:
        writer.append(inputs, labels, domain_ids)
    monkeypatch.setattr("ndcl.data.store.writer.BATCH_BYTES", batch_bytes)
    with writer_of(tmp_path / "parts", max_shard_bytes=700) as writer:
        for start, end in ((0, 1), (1, 1), (1, 14), (14, 20)):
            writer.append(inputs[start:end], labels[start:end], domain_ids[start:end])
    once, parts = Store(tmp_path / "once"), Store(tmp_path / "parts")
    assert once.digest == parts.digest
    assert np.array_equal(parts.inputs(np.arange(20)).numpy(), inputs)
    assert parts.labels.tolist() == labels
    assert parts.domain_ids.tolist() == domain_ids


@pytest.mark.parametrize("batch_bytes", [1, 5, 10_000])
def test_encoded_images_come_back_byte_by_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    monkeypatch.setattr("ndcl.data.store.writer.BATCH_BYTES", batch_bytes)
    files = [b"abc", b"", b"defgh", b"i"]
    with writer_of(tmp_path / "made", kind="encoded", shape=(8, 8, 3), max_shard_bytes=300) as writer:
        writer.append(files[:3], [0, 1, 1], [0, 0, 1], ["1", "2", "3"])
        writer.append(files[3:], [0], [1], ["4"])
    store = Store(tmp_path / "made")
    assert [store.encoded(i) for i in range(4)] == files
    assert store.paths() == ["1", "2", "3", "4"]
    assert (store.kind, store.input_shape) == ("encoded", (8, 8, 3))
    store.verify()


def test_where_one_file_ends_and_the_next_begins_is_part_of_the_digest(tmp_path: Path) -> None:
    for name, files in (("one", [b"ab", b"c"]), ("two", [b"a", b"bc"])):
        with writer_of(tmp_path / name, kind="encoded", shape=(8, 8, 3)) as writer:
            writer.append(files, [0, 0], [0, 0])
    assert Store(tmp_path / "one").digest != Store(tmp_path / "two").digest


def test_what_is_appended_may_be_reused_by_the_caller(tmp_path: Path) -> None:
    buffer = images(3)
    before = buffer.copy()
    with writer_of(tmp_path / "made") as writer:
        writer.append(buffer, [0] * 3, [0] * 3)
        buffer[:] = 0
    assert np.array_equal(Store(tmp_path / "made").inputs(np.arange(3)).numpy(), before)


def test_numbers_of_a_wider_type_are_narrowed(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 4))
    with writer_of(tmp_path / "made", kind="vectors", shape=(4,), dtype="float16") as writer:
        writer.append(values, [0] * 3, [0] * 3)
    assert np.array_equal(Store(tmp_path / "made").inputs(np.arange(3)).numpy(), values.astype(np.float16))


def test_notes_may_grow_until_the_end(tmp_path: Path) -> None:
    with writer_of(tmp_path / "made", notes={"source": "a folder"}) as writer:
        writer.append(images(1), [0], [0])
        writer.notes["skipped"] = [{"path": "x/ü.png", "reason": "empty"}]
    assert Store(tmp_path / "made").notes == {
        "source": "a folder",
        "skipped": [{"path": "x/ü.png", "reason": "empty"}],
    }


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndcl.data.store.writer.BATCH_BYTES", 2**20)
    part = np.zeros((16, 128, 128, 3), np.uint8)
    tracemalloc.start()
    with writer_of(tmp_path / "made", shape=(128, 128, 3), max_shard_bytes=2**23) as writer:
        for _ in range(25):  # 20 MB
            writer.append(part, [0] * 16, [0] * 16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20
    assert max(size for _, size in Store(tmp_path / "made").header.shards) < 2**23 + 2**20


def test_a_shard_holds_one_record_batch_at_least(tmp_path: Path) -> None:
    with writer_of(tmp_path / "made", max_shard_bytes=1) as writer:
        writer.append(images(5), [0] * 5, [0] * 5)
    assert [rows for rows, _ in Store(tmp_path / "made").header.shards] == [5]


@pytest.mark.parametrize(
    ("inputs", "labels", "domain_ids"),
    [
        (images(2), [0], [0, 0]),
        (images(2), [0, 2], [0, 0]),
        (images(2), [0, 1], [0, -1]),
        (np.zeros((2, 2, 3, 3), np.uint8), [0, 1], [0, 0]),
    ],
)
def test_what_does_not_fit_is_a_bug_of_the_caller(
    tmp_path: Path, inputs: np.ndarray, labels: list[int], domain_ids: list[int]
) -> None:
    with pytest.raises(AssertionError), writer_of(tmp_path / "made") as writer:
        writer.append(inputs, labels, domain_ids)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a data set needs at least one"), writer_of(tmp_path / "made"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, OSError])
def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with writer_of(tmp_path / "made") as writer:
            writer.append(images(3), [0] * 3, [0] * 3)
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    with writer_of(tmp_path / "made") as writer:
        writer.append(images(1), [0], [0])
    with pytest.raises(UserError, match=r"made exists already; use --replace"), writer_of(tmp_path / "made"):
        pass


def write(folder: Path, num: int, **changes: Any) -> None:
    with writer_of(folder, **changes) as writer:
        writer.append(images(num), [0] * num, [0] * num)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_data_set_is_replaced_when_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Also where the file system can't exchange two names."""
    if not at_once:
        monkeypatch.setattr("ndcl.data.store.writer._exchanged_at_once", lambda first, second: False)
    write(tmp_path / "made", 1, replace=True)  # nothing to replace yet
    with writer_of(tmp_path / "made", replace=True) as writer:
        writer.append(images(2), [0] * 2, [0] * 2)
        assert len(Store(tmp_path / "made")) == 1
    assert len(Store(tmp_path / "made")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["data.arrow", "inputs-00000.arrow"]


def test_a_writer_that_fails_leaves_the_earlier_data_set(tmp_path: Path) -> None:
    write(tmp_path / "made", 1)
    with pytest.raises(UserError, match="at least one"), writer_of(tmp_path / "made", replace=True):
        pass
    assert len(Store(tmp_path / "made")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_data_set_is_replaced_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk" / "made", 1)
    (tmp_path / "made").symlink_to(tmp_path / "disk" / "made")
    write(tmp_path / "made", 2, replace=True)
    assert (tmp_path / "made").is_symlink()
    assert len(Store(tmp_path / "made")) == 2


def test_nothing_but_a_data_set_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "photo.png").write_text("mine")
    with pytest.raises(UserError, match="made holds no data set, and nothing else is replaced"):
        write(tmp_path / "made", 1, replace=True)
    assert (tmp_path / "made" / "photo.png").read_text() == "mine"


def test_a_kill_between_two_names_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / "made", 1)
    (tmp_path / "made").rename(tmp_path / f"{REPLACED_PREFIX}made")  # where the first of two renames leaves it
    with pytest.raises(UserError, match="at least one"), writer_of(tmp_path / "made", replace=True):
        pass
    assert len(Store(tmp_path / "made")) == 1


def test_the_faster_of_two_writers_wins(tmp_path: Path) -> None:
    slow = writer_of(tmp_path / "made").__enter__()
    slow.append(images(1), [0], [0])
    with writer_of(tmp_path / "made") as fast:
        fast.append(images(2), [0, 0], [0, 0])
    with pytest.raises(UserError, match="made by another process meanwhile"):
        slow.__exit__(None, None, None)
    assert len(Store(tmp_path / "made")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ndcl.data.store.writer.write_file", full)
    with (
        pytest.raises(UserError, match=r"No space left on device\).*free some space") as caught,
        writer_of(tmp_path / "made") as writer,
    ):
        writer.append(images(3), [0] * 3, [0] * 3)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, sys, numpy as np
from pathlib import Path
from ndcl.data.store.writer import StoreWriter
from ndcl.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))
try:
    with StoreWriter(Path(sys.argv[1]) / "made", name="m", classes=["a"], domains=["x"], kind="raw",
                     shape=(512, 512, 3)) as writer:
        for _ in range(60):
            writer.append(np.zeros((1, 512, 512, 3), np.uint8), [0], [0])
except UserError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_is_one_clear_line(tmp_path: Path) -> None:
    """The system's own error in the midst of a shard, not one made up."""
    run = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True)
    assert run.stdout.count("\n") == 1, run.stderr
    assert "made cannot be written (File too large)" in run.stdout
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"made cannot be written \(.*\)"), writer_of(tmp_path / "file" / "made"):
        pass


HANG = """
import sys, time, numpy as np
from pathlib import Path
from ndcl.data.store import writer
writer.BATCH_BYTES = 1
with writer.StoreWriter(Path(sys.argv[1]) / "made", name="m", classes=["a"], domains=["x"], kind="raw",
                        shape=(2, 2, 3)) as opened:
    opened.append(np.zeros((3, 2, 2, 3), np.uint8), [0] * 3, [0] * 3)
    print("writing", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_leaves_nothing_that_is_a_data_set_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANG, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    (partial,) = tmp_path.iterdir()
    PartialFolder(tmp_path / "made").remove()
    assert partial.exists()  # a living writer's folder is left alone
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert partial.name.startswith(f"{PARTIAL_PREFIX}made-")
    assert any(path.name.startswith("inputs") for path in partial.iterdir())
    assert not is_store(tmp_path / "made")
    assert not is_store(partial)
    assert dataset_names(str(tmp_path)) == ("digits",)
    make_store(tmp_path / "made", np.ones((3, 3), int))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["data.arrow", "inputs-00000.arrow"]


def test_leftovers_of_a_name_that_begins_alike_are_judged_by_their_own_lock(tmp_path: Path) -> None:
    living = PartialFolder(tmp_path / "made-2")
    dead = PartialFolder(tmp_path / "made-3")
    dead._lock.close()
    PartialFolder(tmp_path / "made").remove()
    assert living.path.exists()
    assert not dead.path.exists()
    living.remove()
