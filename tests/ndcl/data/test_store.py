"""The store: what is written is read back, by mapping the file, and only whole data sets are ever seen."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ndcl.data import Store, StoreWriter
from ndcl.data.store.format import FILE_NAME, shard_name
from ndcl.data.store.store import is_store
from ndcl.data.store.writer import write_store
from ndcl.errors import UserError
from tests.made.made_store import CLASSES, DOMAINS, make_store

COUNTS = np.array([[3, 1, 2], [2, 2, 2], [1, 4, 0]])


def write(folder: Path, inputs: np.ndarray, **changes: object) -> None:
    values = {
        "name": "made",
        "classes": ("a", "b"),
        "domains": ("x", "y"),
        "inputs": inputs,
        "labels": np.arange(len(inputs)) % 2,
        "domain_ids": np.arange(len(inputs)) // 2 % 2,
    }
    write_store(folder, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("shape", "dtype"), [((5, 4, 3), np.uint8), ((7,), np.float32), ((7,), np.float16)])
def test_inputs_come_back_as_written(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    inputs = (np.random.default_rng(1).random((9, *shape)) * 255).astype(dtype)
    write(tmp_path / "made", inputs)
    store = Store(tmp_path / "made")
    rows = np.array([8, 0, 3, 3])
    got = store.inputs(rows)
    assert got.dtype == (torch.uint8 if dtype is np.uint8 else torch.float32)
    assert np.array_equal(got.numpy(), inputs[rows])
    assert (store.name, store.classes, store.domains) == ("made", ("a", "b"), ("x", "y"))
    assert store.input_shape == shape
    assert store.kind == ("raw" if len(shape) == 3 else "vectors")
    assert store.dtype == np.dtype(dtype).name
    assert len(store) == 9
    assert store.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert store.domain_ids.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0]
    assert store.labels.dtype == store.domain_ids.dtype == np.int64


def test_gathered_inputs_are_the_callers_to_change(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    before = store.inputs(np.array([0])).clone()
    store.inputs(np.array([0])).zero_()
    assert torch.equal(store.inputs(np.array([0])), before)


def resident_kib(path: Path) -> int:
    """Of a file that this process has mapped."""
    _, _, mapping = Path("/proc/self/smaps").read_text().partition(f"{path}\n")
    return int(next(line for line in mapping.splitlines() if line.startswith("Rss:")).split()[1])


def test_opening_copies_and_reads_no_inputs(tmp_path: Path) -> None:
    write(tmp_path / "made", np.zeros((2000, 32, 32, 3), np.uint8))
    before = pa.total_allocated_bytes()
    store = Store(tmp_path / "made")
    assert pa.total_allocated_bytes() - before < 2000 * 32 * 32 * 3 / 10
    assert resident_kib(tmp_path / "made" / shard_name(0)) == 0
    store.inputs(np.array([7]))
    assert resident_kib(tmp_path / "made" / shard_name(0)) > 0
    (chunk,) = store._inputs.chunks()
    assert isinstance(chunk, np.ndarray)
    assert not chunk.flags.owndata
    assert not chunk.flags.writeable


def test_opening_imports_neither_pandas_nor_torch(tmp_path: Path) -> None:
    """Each takes a second or more, opening a millisecond."""
    make_store(tmp_path / "made", COUNTS)
    code = (
        "import sys; from pathlib import Path; from ndcl.data.store import Store; "
        "print(Store(Path(sys.argv[1])).available().sum(), {'pandas', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "made")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == f"{COUNTS.sum()} set()\n"


def test_rows_are_found_in_any_chunk_of_any_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndcl.data.store.writer.BATCH_BYTES", 3 * 12)  # three images a chunk
    inputs = np.random.default_rng(0).integers(0, 256, (23, 2, 2, 3), np.uint8)
    facts = {"name": "made", "classes": ("a",), "domains": ("x",), "kind": "raw", "shape": (2, 2, 3)}
    with StoreWriter(tmp_path / "made", **facts, max_shard_bytes=500) as writer:  # type: ignore[arg-type]
        writer.append(inputs, [0] * 23, [0] * 23)
    store = Store(tmp_path / "made")
    assert len(store.header.shards) > 2
    assert [len(chunk) for chunk in store._inputs.chunks()] == [3] * 7 + [2]  # type: ignore[arg-type]
    for rows in (np.arange(23), np.array([22, 0, 22, 11, 2, 3]), np.array([4, 4, 3]), np.array([], int)):
        assert np.array_equal(store.inputs(rows).numpy(), inputs[rows])
    store.verify()


def test_a_changed_byte_does_not_pass_verification(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    store.verify()
    path = store.folder / shard_name(0)
    content = bytearray(path.read_bytes())
    position = content.find(store.inputs(np.array([4])).numpy().tobytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="its content does not have the digest it was written with"):
        Store(tmp_path / "made").verify()


def test_available_counts_every_cell(tmp_path: Path) -> None:
    assert np.array_equal(make_store(tmp_path / "made", COUNTS).available(), COUNTS)


def test_paths_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "made", np.zeros((2, 4, 4, 3), np.uint8), paths=["x/a/1.png", "x/b/2.png"])
    assert Store(tmp_path / "made").paths() == ["x/a/1.png", "x/b/2.png"]
    assert make_store(tmp_path / "without", COUNTS).paths() is None


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    text = pickle.dumps(store)
    assert len(text) < 1000
    assert torch.equal(pickle.loads(text).inputs(np.array([5])), store.inputs(np.array([5])))


REPLACING = {"deleted and written again": False, "replaced": True}


@pytest.mark.parametrize("replace", REPLACING.values(), ids=REPLACING)
def test_an_open_store_stays_what_it_was_when_another_takes_its_name(tmp_path: Path, replace: bool) -> None:
    """Trainings that run have it open, and read shards for the first time long after they began."""
    old, new = (np.random.default_rng(seed).integers(0, 256, (8, 4, 4, 3), np.uint8) for seed in (0, 1))
    write(tmp_path / "made", old)
    store = Store(tmp_path / "made")
    if not replace:
        shutil.rmtree(tmp_path / "made")
    write(tmp_path / "made", new, replace=replace)
    assert np.array_equal(store.inputs(np.arange(8)).numpy(), old)
    assert np.array_equal(Store(tmp_path / "made").inputs(np.arange(8)).numpy(), new)
    with pytest.raises(UserError, match="made was replaced while it was in use; start again"):
        pickle.loads(pickle.dumps(store))


def test_opening_while_others_replace_gives_the_one_or_the_other(tmp_path: Path) -> None:
    """Never the index of one with the inputs of the other, and never an error."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from ndcl.data.store.writer import write_store\n"
        "for i in range(60): write_store(Path(sys.argv[1]), name='made', classes='ab', domains='xy', replace=True, "
        "inputs=np.full((4 + i % 2, 2, 2, 3), 4 + i % 2, np.uint8), labels=np.zeros(4 + i % 2, int), "
        "domain_ids=np.zeros(4 + i % 2, int))"
    )
    write(tmp_path / "made", np.full((4, 2, 2, 3), 4, np.uint8))
    writing = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "made")])
    seen = set()
    while writing.poll() is None:
        store = Store(tmp_path / "made")
        assert (store.inputs(np.arange(len(store))) == len(store)).all()
        seen.add(len(store))
    assert writing.returncode == 0
    assert seen == {4, 5}
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_the_digest_tells_contents_apart(tmp_path: Path) -> None:
    inputs = np.zeros((4, 4, 4, 3), np.uint8)
    changed = inputs.copy()
    changed[3, 3, 3, 2] = 1
    labels, domain_ids = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    variants: list[dict[str, object]] = [
        {},
        {"inputs": changed},
        {"labels": 1 - labels},
        {"domain_ids": 1 - domain_ids},
        {"classes": ("a", "c")},
        {"domains": ("x", "z")},
        {"inputs": inputs.reshape(4, 2, 8, 3)},
    ]
    for number, variant in enumerate(variants):
        write(tmp_path / str(number), **{"inputs": inputs, **variant})  # type: ignore[arg-type]
    digests = [Store(tmp_path / str(number)).digest for number in range(len(variants))]
    assert len(set(digests)) == len(variants)
    write(tmp_path / "again", inputs, name="other", paths=list("abcd"))
    assert Store(tmp_path / "again").digest == digests[0]


def test_the_folder_is_readable_by_others(tmp_path: Path) -> None:
    assert make_store(tmp_path / "made", COUNTS).folder.stat().st_mode & 0o055 == 0o055


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    assert not is_store(tmp_path)
    with pytest.raises(UserError, match="holds no data set"):
        Store(tmp_path)


@pytest.mark.parametrize("name", [FILE_NAME, shard_name(0)])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, name: str) -> None:
    path = make_store(tmp_path / "made", COUNTS).folder / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"made cannot be read \(.*\); delete that folder") as caught:
        Store(tmp_path / "made")
    assert "\n" not in str(caught.value)


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    (make_store(tmp_path / "made", COUNTS).folder / shard_name(0)).unlink()
    with pytest.raises(UserError, match=r"inputs-00000.arrow has 0 of \d+ bytes"):
        Store(tmp_path / "made")


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict({"input": pa.array([1])})
    with pa.ipc.new_file(str(tmp_path / FILE_NAME), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(UserError, match="its format is None, this version reads 2"):
        Store(tmp_path)


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_a_store_of_format_1_is_read(tmp_path: Path, kind: str) -> None:
    """As the first version wrote it: one file with all columns, in a single record batch."""
    rng = np.random.default_rng(0)
    if kind == "images":
        inputs = rng.integers(0, 256, (6, 2, 3, 3), np.uint8)
        column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(18), 6, [None, pa.py_buffer(inputs)])
    else:
        inputs = rng.random((6, 5)).astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), 5)
    ids = pa.array([0, 1, 0, 1, 0, 1], pa.int32())
    header = {"name": "old", "classes": ["a", "b"], "domains": ["x", "y"], "kind": kind, "shape": inputs.shape[1:]}
    header |= {"digest": "d" * 64, "format": 1}
    batch = pa.RecordBatch.from_pydict({"input": column, "label": ids, "domain": ids})
    batch = batch.replace_schema_metadata({"ndcl": json.dumps(header)})
    with pa.ipc.new_file(str(tmp_path / FILE_NAME), batch.schema) as writer:
        writer.write_batch(batch)
    store = Store(tmp_path)
    rows = np.array([5, 0, 0])
    assert np.array_equal(store.inputs(rows).numpy(), inputs[rows])
    assert (store.name, store.kind) == ("old", "raw" if kind == "images" else "vectors")
    assert store.input_shape == inputs.shape[1:]
    assert store.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert store.notes == {}


def test_the_made_store_has_the_names_it_was_given(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    assert (store.classes, store.domains) == (CLASSES, DOMAINS)
