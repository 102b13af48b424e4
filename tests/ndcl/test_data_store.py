"""The store: what is written is read back, by mapping the file, and only whole data sets are ever seen."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ndcl.data.store import FILE_NAME, Store, content_digest, is_store, write_store
from ndcl.errors import UserError
from tests.ndcl.made_store import CLASSES, DOMAINS, make_store

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


@pytest.mark.parametrize(("shape", "dtype"), [((5, 4, 3), np.uint8), ((7,), np.float32)])
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
    assert store.kind == ("images" if len(shape) == 3 else "vectors")
    assert len(store) == 9
    assert store.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert store.domain_ids.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0]
    assert store.labels.dtype == store.domain_ids.dtype == np.int64


def test_gathered_inputs_are_the_callers_to_change(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    before = store.inputs(np.array([0])).clone()
    store.inputs(np.array([0])).zero_()
    assert torch.equal(store.inputs(np.array([0])), before)


def test_opening_copies_no_inputs(tmp_path: Path) -> None:
    write(tmp_path / "made", np.zeros((2000, 32, 32, 3), np.uint8))
    before = pa.total_allocated_bytes()
    store = Store(tmp_path / "made")
    assert pa.total_allocated_bytes() - before < 2000 * 32 * 32 * 3 / 10
    assert not store._inputs.flags.owndata
    assert not store._inputs.flags.writeable


def test_available_counts_every_cell(tmp_path: Path) -> None:
    assert np.array_equal(make_store(tmp_path / "made", COUNTS).available(), COUNTS)


def test_paths_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "made", np.zeros((2, 4, 4, 3), np.uint8), paths=["x/a/1.png", "x/b/2.png"])
    table = pa.ipc.open_file(str(tmp_path / "made" / FILE_NAME)).read_all()
    assert table["path"].to_pylist() == ["x/a/1.png", "x/b/2.png"]


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    text = pickle.dumps(store)
    assert len(text) < 1000
    assert torch.equal(pickle.loads(text).inputs(np.array([5])), store.inputs(np.array([5])))


def test_the_digest_tells_contents_apart(tmp_path: Path) -> None:
    inputs = np.zeros((4, 4, 4, 3), np.uint8)
    labels, domain_ids = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    same = content_digest(inputs, labels, domain_ids, ("a", "b"), ("x", "y"))
    write(tmp_path / "one", inputs, name="one")
    write(tmp_path / "two", inputs, name="two")
    assert Store(tmp_path / "one").digest == Store(tmp_path / "two").digest == same
    changed = inputs.copy()
    changed[3, 3, 3, 2] = 1
    others = [
        content_digest(changed, labels, domain_ids, ("a", "b"), ("x", "y")),
        content_digest(inputs, 1 - labels, domain_ids, ("a", "b"), ("x", "y")),
        content_digest(inputs, labels, 1 - domain_ids, ("a", "b"), ("x", "y")),
        content_digest(inputs, labels, domain_ids, ("a", "c"), ("x", "y")),
        content_digest(inputs, labels, domain_ids, ("a", "b"), ("x", "z")),
        content_digest(inputs.reshape(4, 2, 8, 3), labels, domain_ids, ("a", "b"), ("x", "y")),
    ]
    assert len({same, *others}) == 7


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ndcl.data.store._write_file", fail)
    with pytest.raises(KeyboardInterrupt):
        make_store(tmp_path / "made", COUNTS)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    make_store(tmp_path / "made", COUNTS)
    with pytest.raises(UserError, match=r"made exists already; delete it"):
        make_store(tmp_path / "made", COUNTS)


def test_the_folder_is_readable_by_others(tmp_path: Path) -> None:
    assert make_store(tmp_path / "made", COUNTS).folder.stat().st_mode & 0o055 == 0o055


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    assert not is_store(tmp_path)
    with pytest.raises(UserError, match="holds no data set"):
        Store(tmp_path)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = make_store(tmp_path / "made", COUNTS).folder / FILE_NAME
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"made cannot be read \(.*\); delete that folder") as caught:
        Store(tmp_path / "made")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict({"input": pa.array([1])})
    with pa.ipc.new_file(str(tmp_path / FILE_NAME), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(UserError, match="its format is None, this version reads 1"):
        Store(tmp_path)


def test_the_made_store_has_the_names_it_was_given(tmp_path: Path) -> None:
    store = make_store(tmp_path / "made", COUNTS)
    assert (store.classes, store.domains) == (CLASSES, DOMAINS)
