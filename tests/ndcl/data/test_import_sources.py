"""What is read from folders, Parquet and arrays: names, order, labels, and one line for what does not fit."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ndcl.data.importing import checked, open_source
from ndcl.data.importing.content import CheckedSource
from ndcl.errors import UserError
from tests.made.made_images import CLASSES, DOMAINS, encoded, make_folder, noise


def opened(*paths: Path, **names: Any) -> CheckedSource:
    """The source as an import takes it."""
    return checked(open_source(paths, **names))


def error_of(*paths: Path, **names: Any) -> str:
    with pytest.raises(UserError) as error:
        list(opened(*paths, **names).items())
    assert "\n" not in str(error.value)
    return str(error.value)


def table_of(source: Any) -> list[tuple[str, str, str]]:
    """(path, domain, class) of each item; empty names for a fault."""
    return [
        (i.path, *(("", "") if i.fault else (source.domains[i.domain], source.classes[i.label])))
        for i in source.items()
    ]


# Folders


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    source = opened(make_folder(tmp_path / "set", 2))
    assert (source.kind, source.domains, source.classes, len(source)) == ("images", DOMAINS, CLASSES, 12)
    expected = [(f"{d}/{c}/{n}.png", d, c) for d in DOMAINS for c in CLASSES for n in (0, 1)]
    assert table_of(source) == expected


def test_classes_are_those_of_all_domains(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", 1)
    (root / "photo" / "Zebra").mkdir()
    (root / "photo" / "Zebra" / "z.jpg").write_bytes(encoded(noise(99), "JPEG"))
    source = opened(root)
    assert source.classes == ("Zebra", *CLASSES), "in order of code points, as ImageFolder has them"
    assert ("photo/Zebra/z.jpg", "photo", "Zebra") in table_of(source)


def test_litter_is_passed_over_and_other_files_are_not(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", 1)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "art" / "cat" / name).write_bytes(b"x")
    (root / "README.txt").write_text("about")
    (root / ".cache").mkdir()
    (root / "art" / "cat" / "labels.csv").write_text("a,b")
    assert [path for path, _, _ in table_of(opened(root))][:2] == ["art/cat/0.png", "art/cat/labels.csv"]


def test_folders_within_a_class_belong_to_it(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", 1)
    deep = root / "art" / "cat" / "more" / "of it"
    deep.mkdir(parents=True)
    (deep / "x.png").write_bytes(encoded(noise(50)))
    assert ("art/cat/more/of it/x.png", "art", "cat") in table_of(opened(root))


@pytest.mark.parametrize("form", ["{split}/{domain}", "{domain}/{split}"])
def test_splits_are_joined_and_remembered(tmp_path: Path, form: str) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / form.format(split=split, domain="art") / name
            folder.mkdir(parents=True)
            (folder / f"{split}.png").write_bytes(encoded(noise(0)))
    source = opened(tmp_path)
    assert (source.domains, source.classes) == (("art",), ("cat", "dog"))
    assert [item.split for item in source.items()] == ["test", "train"] * 2


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", 1)
    bad = b"na\xffme.png"
    with open(bytes(root / "art" / "cat") + b"/" + bad, "wb") as file:  # noqa: PTH123
        file.write(encoded(noise(7)))
    paths = [path for path, _, _ in table_of(opened(root))]
    assert r"art/cat/na\xffme.png" in paths


def test_folders_of_another_depth_are_one_line(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes(b"x")
    assert "a.png stands where folders of domains should be; images are expected as DOMAIN/CLASS" in error_of(flat)
    classes = tmp_path / "classes" / "cat"
    classes.mkdir(parents=True)
    (classes / "a.png").write_bytes(b"x")
    assert "stands where folders of classes should be" in error_of(tmp_path / "classes")
    (tmp_path / "none").mkdir()
    assert "holds no folders of domains" in error_of(tmp_path / "none")
    (tmp_path / "hollow" / "art" / "cat").mkdir(parents=True)
    assert "holds no images" in error_of(tmp_path / "hollow")


# Parquet


def hub_table(
    count: int = 4, *, first: int = 0, domain: Any = None, label_names: tuple[str, ...] = CLASSES, **columns: Any
) -> pa.Table:
    """As the hubs have it: a struct of bytes and path, ClassLabel names in the metadata."""
    numbers = range(first, first + count)
    images = [{"bytes": encoded(noise(n)), "path": f"pic_{n}.png"} for n in numbers]
    domains = domain if domain is not None else [DOMAINS[n % 2] for n in numbers]
    data = {"image": images, "domain": domains, "label": [n % len(CLASSES) for n in numbers], **columns}
    features: dict[str, Any] = {"image": {"_type": "Image"}, "domain": {"_type": "Value", "dtype": "string"}}
    features["label"] = {"_type": "ClassLabel", "names": list(label_names)}
    return pa.table(data).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def named_domains(table: pa.Table, names: list[str]) -> pa.Table:
    metadata = json.loads(table.schema.metadata[b"huggingface"])
    metadata["info"]["features"]["domain"] = {"_type": "ClassLabel", "names": names}
    return table.replace_schema_metadata({"huggingface": json.dumps(metadata)})


def written(table: pa.Table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)
    return path


def test_parquet_of_a_hub(tmp_path: Path) -> None:
    path = written(hub_table(70), tmp_path / "train-00000-of-00001.parquet")
    source = opened(path)
    assert (source.kind, source.domains, source.classes, len(source)) == ("images", DOMAINS, CLASSES, 70)
    rows = table_of(source)
    assert rows[0] == ("train-00000-of-00001.parquet#0:pic_0.png", "art", "cat")
    assert rows[69] == ("train-00000-of-00001.parquet#69:pic_69.png", "photo", "cat")
    assert [item.content for item in source.items()][5] == encoded(noise(5))


def test_several_files_and_a_folder_of_them_are_the_same(tmp_path: Path) -> None:
    files = [
        written(hub_table(3, first=3 * n), tmp_path / "data" / f"train-0000{n}-of-00002.parquet") for n in range(2)
    ]
    files.append(written(hub_table(2, first=6), tmp_path / "data" / "test-00000-of-00001.parquet"))
    together, folder = open_source(files[::-1]), opened(tmp_path / "data")
    assert table_of(together) == table_of(folder)
    assert len(folder) == 8
    assert [item.split for item in folder.items()] == ["test"] * 2 + ["train"] * 6


def test_class_order_is_the_hubs_not_the_alphabets(tmp_path: Path) -> None:
    path = written(hub_table(3, label_names=("owl", "cat", "dog")), tmp_path / "a.parquet")
    assert [name for _, _, name in table_of(opened(path))] == ["owl", "cat", "dog"]


def test_domains_as_numbers(tmp_path: Path) -> None:
    table = hub_table(4, domain=[1, 0, 1, 0])
    plain = written(table, tmp_path / "plain.parquet")
    assert opened(plain).domains == ("0", "1")
    given = opened(plain, domains=["photo", "art"])
    assert [domain for _, domain, _ in table_of(given)] == ["art", "photo", "art", "photo"]
    labelled = written(named_domains(table, ["sketch", "clip"]), tmp_path / "named.parquet")
    assert [domain for _, domain, _ in table_of(opened(labelled))] == ["clip", "sketch"] * 2
    assert "domain numbers from 0 to 1, and 1 names were given" in error_of(plain, domains=["one"])


def test_labels_as_text(tmp_path: Path) -> None:
    table = hub_table(3).drop_columns(["label"]).append_column("label", pa.array(["owl", "cat", "owl"]))
    source = opened(written(table, tmp_path / "a.parquet"))
    assert source.classes == ("cat", "owl")
    assert [name for _, _, name in table_of(source)] == ["owl", "cat", "owl"]


def test_rows_without_a_label_or_bytes_are_faults(tmp_path: Path) -> None:
    images = [{"bytes": encoded(noise(0)), "path": "a"}, {"bytes": None, "path": "b"}, None]
    table = hub_table(3, image=images)
    table = table.set_column(2, "label", pa.array([-1, 1, 2]))
    faults = [item.fault for item in opened(written(table, tmp_path / "a.parquet")).items()]
    assert faults[0].startswith("has no label")
    assert faults[1] == faults[2] == "the row holds no bytes; fetch the file again"


def test_domains_from_the_folders_of_files(tmp_path: Path) -> None:
    for number, domain in enumerate(DOMAINS):
        written(hub_table(2, first=2 * number).drop_columns(["domain"]), tmp_path / domain / "0.parquet")
    source = opened(tmp_path)
    assert [domain for _, domain, _ in table_of(source)] == ["art", "art", "photo", "photo"]
    alone = written(hub_table(2).drop_columns(["domain"]), tmp_path / "alone" / "a.parquet")
    assert "a.parquet has no column of domains, and lies in no folder of a domain; name a column" in error_of(alone)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("fixed", [True, False])
def test_features(tmp_path: Path, dtype: str, fixed: bool) -> None:
    values = np.arange(12).reshape(4, 3).astype(dtype)
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), 3 if fixed else -1)
    table = hub_table(4).drop_columns(["image"]).append_column("features", pa.array(list(values), kind))
    source = opened(written(table, tmp_path / "a.parquet"))
    assert (source.kind, source.shape) == ("vectors", (3,))
    assert source.dtype == ("float16" if dtype == "float16" else "float32")
    np.testing.assert_array_equal([item.content for item in source.items()], values)


def test_features_of_another_length_or_not_finite_are_faults(tmp_path: Path) -> None:
    features = [[1.0, 2.0], [1.0], [1.0, float("nan")], None]
    table = hub_table(4).drop_columns(["image"]).append_column("features", pa.array(features))
    faults = [item.fault for item in opened(written(table, tmp_path / "a.parquet")).items()]
    assert faults == [
        "",
        "has 1 features, the first row 2",
        "has features that are no finite numbers",
        "the row is empty",
    ]


@pytest.mark.parametrize(("column", "words"), [("image", "no column of images"), ("label", "no column of labels")])
def test_missing_columns_are_one_line(tmp_path: Path, column: str, words: str) -> None:
    error = error_of(written(hub_table(2).drop_columns([column]), tmp_path / "a.parquet"))
    assert words in error
    assert "name it one of" in error


def test_files_that_do_not_belong_together_are_one_line(tmp_path: Path) -> None:
    files = [
        written(hub_table(2), tmp_path / "a.parquet"),
        written(hub_table(2).rename_columns(["image", "env", "label"]), tmp_path / "b.parquet"),
    ]
    error = error_of(*files)
    assert "b.parquet has the columns image, label, env, and " in error
    assert "a.parquet has image, label, domain; import files of one data set only" in error
    assert "a.parquet is given twice" in error_of(files[0], files[0])


def test_shards_are_read_each_by_its_own_class_names(tmp_path: Path) -> None:
    a = written(hub_table(3, label_names=("owl", "cat", "dog")), tmp_path / "a.parquet")
    b = written(hub_table(3, label_names=("cat", "dog", "emu")), tmp_path / "b.parquet")
    text = hub_table(2).drop_columns(["label"]).append_column("label", pa.array(["yak", " owl "]))
    source = opened(a, b, written(text, tmp_path / "c.parquet"))
    assert source.classes == ("cat", "dog", "emu", "owl", "yak")
    assert [name for _, _, name in table_of(source)] == ["owl", "cat", "dog", "cat", "dog", "emu", "yak", "owl"]
    assert len(source.remarks) == 1
    assert re.fullmatch(r".*a.parquet and .*b.parquet number their class names differently; .*", source.remarks[0])
    same = opened(a, written(hub_table(3, label_names=("owl", "cat", "dog")), tmp_path / "d.parquet"))
    assert (same.classes, same.remarks) == (("owl", "cat", "dog"), ())


def test_a_shard_without_names_is_refused_beside_others_unless_they_are_given(tmp_path: Path) -> None:
    named = written(hub_table(3, label_names=("owl", "cat", "dog")), tmp_path / "b.parquet")
    plain = written(hub_table(3).replace_schema_metadata(None), tmp_path / "a.parquet")
    error = error_of(plain, named)
    assert re.search(r"numbers without names in .*/a.parquet, and names in .*/b.parquet; name the numbers by", error)
    given = opened(plain, named, classes=["x", "y", "z"])
    assert [name for _, _, name in table_of(given)] == ["x", "y", "z"] * 2
    assert [name for _, _, name in table_of(opened(plain))] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: hub_table(3, label_names=("cat", "dog")), "class numbers from 0 to 2, and 2 names were given"),
        (lambda table: hub_table(3, label_names=("cat", "dog", "cat")), "'cat' is the name of both 0 and 2"),
        (lambda table: table.replace_schema_metadata({"huggingface": "{"}), "`huggingface` metadata can't be read"),
        (lambda table: table.set_column(2, "label", pa.array([0.5, 1.0, 2.0])), "whole numbers, not float such as 0.5"),
        (lambda table: table.set_column(2, "label", pa.array([[0], [1], [2]])), "column label is of list<"),
        (
            lambda table: table.set_column(0, "image", pa.array(["a.png", "b.png", "c.png"])),
            "column image is of string",
        ),
        (
            lambda table: table.drop_columns(["image"]).append_column("features", pa.array(["a", "b", "c"])),
            "column features is of string; each row must hold a list of numbers",
        ),
    ],
)
def test_a_refusal_names_the_file_that_is_at_fault(tmp_path: Path, change: Any, words: str) -> None:
    good = hub_table(3)
    if "features" in words:
        good = good.drop_columns(["image"]).append_column("features", pa.array([[1.0]] * 3))
    error = error_of(written(good, tmp_path / "a.parquet"), written(change(hub_table(3)), tmp_path / "b.parquet"))
    assert words in error
    assert "b.parquet" in error


@pytest.mark.parametrize("form", ["{domain}/{split}", "{split}/{domain}", "data/{domain}/{split}"])
def test_folders_of_splits_are_no_domains(tmp_path: Path, form: str) -> None:
    for number, (domain, split) in enumerate([("art", "train"), ("art", "test"), ("photo", "train")]):
        table = hub_table(2, first=2 * number).drop_columns(["domain"])
        written(table, tmp_path / form.format(domain=domain, split=split) / "0000.parquet")
    source = opened(tmp_path)
    assert source.domains == ("art", "photo")
    assert sorted({(item.split, source.domains[item.domain]) for item in source.items()}) == [
        ("test", "art"),
        ("train", "art"),
        ("train", "photo"),
    ]


def test_domains_from_the_names_of_shards(tmp_path: Path) -> None:
    for number, domain in enumerate(("art", "photo", "photo")):
        table = hub_table(2, first=2 * number).drop_columns(["domain"])
        written(table, tmp_path / "data" / f"{domain}-0000{number}-of-00003.parquet")
    assert [domain for _, domain, _ in table_of(opened(tmp_path))] == ["art", "art", *["photo"] * 4]


def test_folders_that_name_no_domain_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        written(hub_table(2).drop_columns(["domain"]), tmp_path / split / "0000.parquet")
    assert re.search(r"test/0000.parquet has no column of domains, and lies in no folder", error_of(tmp_path))


def test_parquet_beside_images_is_refused_and_what_tools_leave_is_passed_over(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", 1)
    written(hub_table(2), root / ".cache" / "a.parquet")
    assert len(opened(root)) == 6
    written(hub_table(2), root / "a.parquet")
    assert re.search(r"holds Parquet \(.*a.parquet\) and images \(in .*set/art/cat\)", error_of(root))


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    path = written(hub_table(40), tmp_path / "a.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "can't be read as Parquet" in error_of(path)
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + b"\xff" * 2000 + whole[middle + 2000 :])
    assert "a.parquet" in error_of(path)


# Arrays


def arrays(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8), "y": [0, 1, 2, 0, 1, 2], "d": [0, 0, 0, 1, 1, 1]}
    np.savez(path, **{**data, **changes})
    return path


def test_arrays_of_images(tmp_path: Path) -> None:
    names = {"classes": list(CLASSES), "domains": list(DOMAINS)}
    path = arrays(tmp_path / "a.npz", **names)
    source = opened(path)
    assert (source.kind, source.shape, source.classes, source.domains) == ("pixels", (5, 4, 3), CLASSES, DOMAINS)
    assert table_of(source)[4] == ("a.npz#4", "photo", "dog")
    with np.load(path) as stored:
        np.testing.assert_array_equal([item.content for item in source.items()], stored["x"])


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_in_pieces_in_either_order(tmp_path: Path, order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ndcl.data.importing import arrays as module

    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 4)
    x = np.asarray(np.random.default_rng(0).normal(size=(6, 7)), order=order)
    source = opened(arrays(tmp_path / "a.npz", x=x))
    assert (source.kind, source.shape, source.dtype) == ("vectors", (7,), "float32")
    np.testing.assert_array_equal([item.content for item in source.items()], x.astype(np.float32))


def test_arrays_named_by_text_by_numbers_and_by_options(tmp_path: Path) -> None:
    text = arrays(tmp_path / "t.npz", y=list("baccab"), d=["p", "p", "q", "q", "p", "p"])
    assert [(d, c) for _, d, c in table_of(opened(text))][:3] == [("p", "b"), ("p", "a"), ("q", "c")]
    plain = arrays(tmp_path / "n.npz", y=[7, 3, 3, 7, 3, 3])
    assert opened(plain).classes == ("3", "7")
    named = opened(arrays(tmp_path / "o.npz"), classes=CLASSES, domains=DOMAINS)
    assert (named.classes, named.domains) == (CLASSES, DOMAINS)
    assert "3 names were given" in error_of(plain, classes=CLASSES)


def test_gray_arrays_become_colour(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    source = opened(arrays(tmp_path / "a.npz", x=x))
    content = np.array([item.content for item in source.items()])
    assert source.shape == (2, 2, 3)
    assert all((content[..., channel] == x).all() for channel in range(3))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.zeros((6, 5, 4, 3))}, "x is [6, 5, 4, 3] of float64; expected x [n, H, W, 3]"),
        ({"y": [0, 1]}, "y is [2] and x has 6 rows"),
        ({"d": [0.5] * 6}, "d is of float64"),
        ({"y": [0, 1, 5, 0, 0, 0], "classes": ["a", "b"]}, "y holds class numbers from 0 to 5, and 2 names were given"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in error_of(arrays(tmp_path / "a.npz", **changes))


def test_files_that_are_no_arrays_are_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    assert "has no array y, only x" in error_of(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(b"no zip")
    assert "can't be read as .npz" in error_of(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", x=np.array([object()]), y=[0], d=[0])
    assert "expected x" in error_of(tmp_path / "z.npz")


# What is no source


def test_images_and_lists_by_themselves_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("my cat.JPG", "2.png")]
    for photo in photos:
        photo.write_bytes(b"")
    assert f"to classify it: ndcl predict MODEL '{photos[0]}'" in error_of(photos[0])
    assert "is an image without a class; to classify it: ndcl predict MODEL FOLDER" in error_of(*photos)
    listed = tmp_path / "a.csv"
    listed.write_text("")
    assert f"is a list; give the folder of its images, and --list {listed}" in error_of(listed)


def test_what_is_no_source_is_one_line(tmp_path: Path) -> None:
    assert "does not exist" in error_of(tmp_path / "nothing")
    (tmp_path / "a.zip").write_bytes(b"")
    assert "is an archive; unpack it" in error_of(tmp_path / "a.zip")
    (tmp_path / "a.mat").write_text("")
    assert "give a folder DOMAIN/CLASS/IMAGE" in error_of(tmp_path / "a.mat")
    assert "only Parquet files may be several" in error_of(tmp_path / "a.mat", tmp_path / "a.zip")
    assert "leave --domains" in error_of(make_folder(tmp_path / "set", 1), domains=["a"])
