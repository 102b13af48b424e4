"""The rules that all imports keep, tried on every kind of source: names, labels and numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ndcl.data import Store
from ndcl.data.importing import BadImagesError, Imported, ImportOptions, checked, import_dataset, open_source
from ndcl.data.importing.source import Item
from ndcl.errors import UserError

Writer = Callable[..., Path]


def npz(folder: Path, x: Any, y: Any, d: Any) -> Path:
    np.savez(folder / "a.npz", x=np.array(x), y=np.array(y), d=np.array(d))
    return folder / "a.npz"


def parquet(folder: Path, x: Any, y: Any, d: Any) -> Path:
    columns = {"features": [np.array(row) for row in x], "label": y, "domain": d}
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


def imported(source: Path, into: Path, **options: Any) -> Imported:
    return import_dataset(open_source([source]), into, "made", ImportOptions(jobs=1, **options))


every_kind = pytest.mark.parametrize("write", [npz, parquet])


@every_kind
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "has features that are no finite numbers"),
        (float("inf"), "has features that are no finite numbers"),
        (1e39, "has a feature of 1e+39, beyond the range of float32"),
    ],
)
def test_numbers_that_are_not_finite_are_faults(tmp_path: Path, write: Writer, value: float, reason: str) -> None:
    source = write(tmp_path, [[1.0, 2.0], [value, 1.0], [3.0, 4.0]], [0, 1, 1], [0, 1, 0])
    with pytest.raises(BadImagesError, match="1 of 3 vectors can't be imported") as error:
        imported(source, tmp_path / "data")
    assert [fault for _, fault in error.value.bad] == [reason]
    assert imported(source, tmp_path / "data", skip_corrupt=True).num_inputs == 2


@every_kind
@pytest.mark.parametrize(("y", "d"), [([0, -1, 1], [0, 1, 0]), ([0, 1, 1], [0, -1, 0]), (["a", "", "b"], [0, 1, 1])])
def test_a_label_below_0_and_an_empty_one_are_none(tmp_path: Path, write: Writer, y: Any, d: Any) -> None:
    source = checked(open_source([write(tmp_path, [[1.0], [2.0], [3.0]], y, d)]))
    assert (len(source.classes), len(source.domains)) == (2, 1 if -1 in d else 2)
    what = "domain" if -1 in d else "label"
    assert [item.fault for item in source.items()] == [
        "",
        f"has no {what} (none, an empty one, or a number below 0)",
        "",
    ]


@every_kind
def test_names_are_cleaned_alike(tmp_path: Path, write: Writer) -> None:
    y, d = ["Gru\u0308ße", "Grüße", "dog ", "Dog"], ["Real World", "Real_World", " a", "a"]
    source = checked(open_source([write(tmp_path, [[1.0]] * 4, y, d)]))
    assert (source.classes, source.domains) == (("Dog", "Grüße", "dog"), ("Real World", "Real_World", "a"))
    assert [source.classes[item.label] for item in source.items()] == ["Grüße", "Grüße", "dog", "Dog"]
    assert len(source.remarks) == 2
    assert len(source.warnings) == 2


@every_kind
def test_one_class_is_refused_and_one_domain_a_warning(tmp_path: Path, write: Writer) -> None:
    with pytest.raises(UserError, match="all items are of one class, '7'"):
        imported(write(tmp_path, [[1.0], [2.0]], [7, 7], [0, 1]), tmp_path / "data")
    result = imported(write(tmp_path, [[1.0], [2.0]], [7, 8], [3, 3]), tmp_path / "data")
    assert [warning.split(";")[0] for warning in result.warnings] == ["there is one domain, '3'"]
    assert Store(result.folder).notes["warnings"] == list(result.warnings)


@every_kind
def test_no_labels_at_all_are_refused(tmp_path: Path, write: Writer) -> None:
    with pytest.raises(UserError, match="no item has a class; each needs a class and a domain"):
        imported(write(tmp_path, [[1.0], [2.0]], [-1, -1], [0, 1]), tmp_path / "data")


@every_kind
def test_classes_of_one_domain_each_are_a_warning(tmp_path: Path, write: Writer) -> None:
    result = imported(write(tmp_path, [[1.0], [2.0]], ["a", "b"], ["p", "q"]), tmp_path / "data")
    assert [warning.split(",")[0] for warning in result.warnings] == ["no class is in two domains"]


@pytest.mark.parametrize("array", ["classes", "domains"])
@pytest.mark.parametrize(
    ("names", "words"),
    [(["a", "a"], "'a' is the name of both 0 and 1"), (["a", " "], "number 1 has an empty name")],
)
def test_doubled_and_empty_names_of_arrays_are_refused(
    tmp_path: Path, array: str, names: list[str], words: str
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=[0, 1], d=[0, 1], **{array: names})
    with pytest.raises(UserError, match=words):
        open_source([tmp_path / "a.npz"])


def test_names_without_an_item_are_a_warning(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", x=np.eye(4), y=[0, 1, 0, 1], d=[0, 0, 1, 1], classes=np.array([b"cat", b"dog", b"owl"])
    )
    result = imported(tmp_path / "a.npz", tmp_path / "data")
    assert Store(result.folder).classes == ("cat", "dog", "owl")
    assert result.warnings == ("nothing is of class 'owl'",)


class OwnSource:
    """A source that someone adds and that keeps no rule."""

    kind = "vectors"
    shape = (2,)
    dtype = "float16"
    remarks = ()

    def __init__(self, classes: tuple[str, ...] = ("cat", "cat ", "dog")) -> None:
        self.classes, self.domains = classes, ("p", "q")

    def __len__(self) -> int:
        return 5

    def items(self) -> Any:
        rows = [((1.0, 2.0), 1, 0), ((1.0,), 0, 0), ((7e4, 1.0), 2, 1), ((1.0, 1.0), 3, 1), ((1.0, 1.0), 0, -1)]
        for number, (row, label, domain) in enumerate(rows):
            yield Item(np.array(row), label, domain, f"a\udcff#{number}")


def test_every_source_is_checked() -> None:
    items = list(checked(OwnSource()).items())  # type: ignore[arg-type]
    assert [item.fault.split(" (")[0] for item in items] == [
        "",
        "has 1 features, the first row 2",
        "has a feature of 7e+04, beyond the range of float16",
        "has no label",
        "has no domain",
    ]
    assert (items[0].label, items[0].path, str(items[0].content.dtype)) == (0, r"a\xff#0", "float16")  # type: ignore[union-attr]
    refused = {("cat", "dog", "cat"): "named twice", ("", "dog"): "empty name", (): "no item has", ("a\tb", "c"): "tab"}
    for classes, words in refused.items():
        with pytest.raises(UserError, match=words):
            checked(OwnSource(classes))  # type: ignore[arg-type]


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_arrays_are_one_line_wherever_the_damage_is(tmp_path: Path, compressed: bool) -> None:
    """Of 60 files with some bytes overwritten, each is read as it was or refused in one line."""
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", x=x, y=np.arange(40) % 3, d=np.arange(40) % 2)
    whole = (tmp_path / "a.npz").read_bytes()
    refused = []
    for start in range(0, len(whole), len(whole) // 60):
        for damaged in (whole[:start] + b"\xd7" * 9 + whole[start + 9 :], whole[:start]):
            (tmp_path / "b.npz").write_bytes(damaged)
            try:
                items = list(checked(open_source([tmp_path / "b.npz"])).items())
            except UserError as error:
                refused.append(str(error))
            else:
                np.testing.assert_array_equal([item.content for item in items], x)
                assert [(item.label, item.domain) for item in items] == [(n % 3, n % 2) for n in range(40)]
    assert len(refused) > 60
    assert all("\n" not in error and "b.npz" in error for error in refused)


def test_files_of_other_forms_that_end_in_npz_are_one_line(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"a.npz can't be read as .npz"):
        open_source([tmp_path / "a.npz"])
    np.savez(tmp_path / "b.npz", x=np.zeros((0, 4)), y=[], d=[])
    with pytest.raises(UserError, match=r"x is \[0, 4\] and holds nothing"):
        open_source([tmp_path / "b.npz"])
