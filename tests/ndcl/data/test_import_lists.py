"""Annotation lists: every form that people have, what is found in it and said of it, and one line for what is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ndcl.data.catalogue import CATALOGUE
from ndcl.data.importing import open_source
from ndcl.data.importing.lists import Columns, ListSource
from ndcl.errors import UserError
from tests.made.made_lists import (
    camera_traps,
    domainnet_lists,
    kfold_lists,
    path_in,
    put_image,
    put_images,
    split_csv,
    written,
)


def opened(root: Path, *lists: Path, columns: str = "", **names: Any) -> ListSource:
    source = open_source([root], lists=lists, columns=Columns.parsed(columns) if columns else None, **names)
    assert isinstance(source, ListSource)
    return source


def error_of(root: Path, *lists: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        opened(root, *lists, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def table_of(source: ListSource) -> dict[str, tuple[str, str]]:
    """Of each path its domain and class; empty where it has none."""
    return {
        item.path: (
            source.domains[item.domain] if item.domain >= 0 else "",
            source.classes[item.label] if item.label >= 0 else "",
        )
        for item in source.items()
    }


def counts_of(source: ListSource) -> NDArray[np.int64]:
    counts = np.zeros((len(source.domains), len(source.classes)), np.int64)
    for item in source.items():
        counts[item.domain, item.label] += 1
    return counts


ART, PHOTO = ("art/dog/1.jpg", "art/owl/2.jpg"), ("photo/dog/3.jpg", "photo/owl/4.jpg")
EXPECTED = {path: tuple(path.split("/")[:2]) for path in ART + PHOTO}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put_images(tmp_path / "images", ART + PHOTO)


# Forms


@pytest.mark.parametrize(
    "lines",
    [
        [f"{path} {path.split('/')[1]}" for path in EXPECTED],
        [f"{path}\t{path.split('/')[1]}" for path in EXPECTED],
        [f"{path},{path.split('/')[1]}" for path in EXPECTED],
        [f"{path};{path.split('/')[1]}" for path in EXPECTED],
        [f'"{path}" , "{path.split("/")[1]}"' for path in EXPECTED],
        [f"{path.split('/')[1]}   {path}" for path in EXPECTED],
        ["# made by hand", "", *(f"./{path} {path.split('/')[1]}" for path in EXPECTED), "   "],
        ["label,file_name", *(f"{path.split('/')[1]},{path}" for path in EXPECTED)],
        ["Path Label", *(f"{path} {path.split('/')[1]}" for path in EXPECTED)],
        ["img,y,domain", *(f"{path},{path.split('/')[1]},{path.split('/')[0]}" for path in EXPECTED)],
        [f"{path} {('dog', 'owl').index(path.split('/')[1])}" for path in EXPECTED],
        [f"{path} {('dog', 'owl').index(path.split('/')[1]) + 1}" for path in EXPECTED],
        [f"{path},{('dog', 'owl').index(path.split('/')[1])}.0" for path in EXPECTED],
        list(EXPECTED),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_forms_that_are_plain_are_read(root: Path, tmp_path: Path, lines: list[str], encoding: str, end: str) -> None:
    file = tmp_path / "all.txt"
    file.write_bytes(end.join(lines).encode(encoding))
    source = opened(root, file)
    assert table_of(source) == EXPECTED
    assert (source.domains, source.classes) == (("art", "photo"), ("dog", "owl"))
    assert [item.content for item in source.items()] == [root / path for path in sorted(EXPECTED)]


def test_a_list_and_its_folder_are_the_same_data_set(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.txt", [f"{path} {'owl' in path:d}" for path in (*PHOTO, *ART)])
    folder, listed = open_source([root]), opened(root, file)
    assert (listed.domains, listed.classes) == (folder.domains, folder.classes)
    assert [(i.path, i.domain, i.label) for i in listed.items()] == [
        (i.path, i.domain, i.label) for i in folder.items()
    ]


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("Real World/Alarm Clock/0 1.jpg", "Real World/Alarm Clock/0 1.jpg 3"),
        ("Real World/Alarm  Clock/1.jpg", "Real World/Alarm  Clock/1.jpg 3"),
        ("Real World/a, b/1.jpg", "Real World/a, b/1.jpg 3"),
        ("Real World/a, b/1.jpg", '"Real World/a, b/1.jpg",3'),
        ("Real World/a b/1.jpg", '"Real World/a b/1.jpg" 3'),
        ('Real World/a "b"/1.jpg', '"Real World/a ""b""/1.jpg",3'),
        ("Grüße/日本/[x].jpg", "Grüße/日本/[x].jpg 3"),
        ("art/#1/x.jpg", "art/#1/x.jpg 3"),
        ("#1/dog/x.jpg", "#1/dog/x.jpg 3"),
        ("art/dog/x.jpg", r"art\dog\x.jpg 3"),
        ("art/dog/Ubung.jpg".replace("U", "U\u0308"), "art/dog/\u00dcbung.jpg 3"),
    ],
)
def test_paths_as_people_have_them(tmp_path: Path, path: str, row: str) -> None:
    root = put_images(tmp_path / "images", [path, "other/cat/2.jpg"])
    last = "other/cat/2.jpg,1" if row.endswith(",3") else "other/cat/2.jpg 1"
    source = opened(root, written(tmp_path / "list.txt", [row, last]))
    contents = {item.content for item in source.items()}
    assert contents == {root / path, root / "other/cat/2.jpg"}
    assert source.missing == ()


def test_all_paths_with_a_blank_are_told_from_three_columns(tmp_path: Path) -> None:
    root = put_images(tmp_path / "images", ["Real World/a/1.jpg", "Real World/b/2.jpg"])
    rows = ["Real World/a/1.jpg 0", "Real World/b/2.jpg 1"]
    source = opened(root, written(tmp_path / "real_train.txt", rows))
    assert list(table_of(source)) == ["Real World/a/1.jpg", "Real World/b/2.jpg"]
    assert source.domains == ("real",)


def test_a_list_of_western_windows_is_read_and_said(tmp_path: Path) -> None:
    root = put_images(tmp_path / "images", ["Grün/dog/1.jpg", "rot/owl/2.jpg"])
    file = tmp_path / "list.csv"
    file.write_bytes("Grün/dog/1.jpg,dog\nrot/owl/2.jpg,owl\n".encode("cp1252"))
    source = opened(root, file)
    assert source.domains == ("Grün", "rot")
    assert "list.csv is no UTF-8; it was read as Windows-1252" in source.remarks


# The lists of public sets


def test_kfold_lists_of_pacs(tmp_path: Path) -> None:
    entry = CATALOGUE["PACS"]
    put_image(tmp_path / "kfold" / path_in(entry, (0, 0, 0)))
    kfold_lists(tmp_path / "splits", entry, entry.counts)
    source = opened(tmp_path / "kfold", tmp_path / "splits")
    assert (source.domains, source.classes) == (entry.domains, entry.classes)
    np.testing.assert_array_equal(counts_of(source), entry.counts)
    assert source.remarks == (
        "12 lists of 19,982 rows: path in column 1, label in column 2",
        "classes: numbers, named by the folders of their images",
        "domains: from the folders of the paths",
        "rows that repeat an image of the same class: 9,991; each image counts once",
    )
    assert len(source.missing) == len(source) - 1


def test_lists_of_domainnet(tmp_path: Path) -> None:
    entry = CATALOGUE["DomainNet"]
    counts = np.minimum(entry.counts, 3)
    put_image(tmp_path / "domain_net" / path_in(entry, (0, 0, 0)))
    lists = domainnet_lists(tmp_path, entry, counts)
    source = opened(tmp_path / "domain_net", *lists)
    assert (source.domains, source.classes) == (entry.domains, entry.classes)
    np.testing.assert_array_equal(counts_of(source), counts)
    assert "domains: from the folders of the paths" in source.remarks, "although one class is called train"
    alone = opened(tmp_path / "domain_net", *lists[:2])
    assert alone.domains == ("clipart",)
    assert "domains: from the names of the lists" in alone.remarks


def test_a_published_split_of_vlcs(tmp_path: Path) -> None:
    entry = CATALOGUE["VLCS"]
    put_image(tmp_path / "set" / path_in(entry, (0, 0, 0)))
    source = opened(tmp_path / "set", split_csv(tmp_path / "split.csv", entry, entry.counts))
    assert (source.domains, source.classes) == (entry.domains, entry.classes)
    np.testing.assert_array_equal(counts_of(source), entry.counts)
    assert source.remarks[0].endswith(
        "rows: path in column 'path', label in column 'label', domain in column 'env', split in column 'split'"
    )


def test_camera_traps_become_terra_incognita(tmp_path: Path) -> None:
    entry = CATALOGUE["TerraIncognita"]
    put_image(tmp_path / "small" / "0-0-0.jpg")
    more = [
        ("elsewhere.jpg", "7", ("bird",)),
        ("road.jpg", "38", ("car",)),
        ("both.jpg", "38", ("bird", "cat", "bird")),
        ("none.jpg", "38", ()),
    ]
    file = camera_traps(tmp_path / "all.json", entry, entry.counts, more=more)
    source = opened(tmp_path / "small", file, domains=("100", "38", "location_43", "46"), classes=entry.classes)
    assert (source.domains, source.classes) == (entry.domains, entry.classes)
    np.testing.assert_array_equal(counts_of(source), entry.counts)
    assert source.remarks == (
        "1 list of 24,334 rows: path in 'file_name', label in the category's 'name', domain in 'location'",
        "all.json: images without a category left out: 1",
        "rows of other domains left out: 1 (location_7)",
        "rows of other classes left out: 1 (car)",
        "images of several classes left out: 1: both.jpg (bird, cat)",
    )


def test_an_image_of_one_chosen_class_and_another_is_taken(tmp_path: Path) -> None:
    entry = CATALOGUE["TerraIncognita"]
    put_images(tmp_path / "small", ["x.jpg", "y.jpg"])
    more = [("x.jpg", "38", ("bird", "car")), ("y.jpg", "43", ("cat",))]
    file = camera_traps(tmp_path / "all.json", entry, [], more=more)
    assert "images of several classes left out: 1: x.jpg (bird, car)" in opened(tmp_path / "small", file).remarks
    chosen = opened(tmp_path / "small", file, classes=("bird", "cat"))
    assert table_of(chosen) == {"x.jpg": ("location_38", "bird"), "y.jpg": ("location_43", "cat")}


def test_json_files_of_splits_and_other_keys(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "site": s} for n, s in enumerate(["A", "B", "A"])]
    for name, part in (("cis_test_annotations", images[:2]), ("train_annotations", images[1:])):
        content = {
            "images": part,
            "annotations": [{"image_id": image["id"], "category_id": 5} for image in part],
            "categories": [{"id": 5, "name": "dog"}],
        }
        written(tmp_path / "annotations" / f"{name}.json", [json.dumps(content)])
    root = put_images(tmp_path / "images", ["0.jpg"])
    source = opened(root, tmp_path / "annotations", columns="domain=site")
    assert table_of(source) == {"0.jpg": ("A", "dog"), "1.jpg": ("B", "dog"), "2.jpg": ("A", "dog")}
    assert [item.split for item in source.items()] == ["test", "train", "test"]
    assert "neither a column, nor the folders of the paths" not in error_of(
        root, tmp_path / "annotations", columns="domain=x"
    )


def test_metadata_of_wilds(tmp_path: Path) -> None:
    root = put_images(tmp_path / "train", ["a.jpg", "b.jpg", "c.jpg"])
    header = ",split,location_remapped,location,sequence_remapped,y,datetime,filename,image_id"
    rows = ["0,train,10,7,1,0,2013,a.jpg,x", "1,id_val,9,7,1,5,2013,b.jpg,y", "2,test,9,7,2,5,2014,c.jpg,z"]
    source = opened(root, written(tmp_path / "metadata.csv", [header, *rows]))
    assert table_of(source) == {"a.jpg": ("10", "0"), "b.jpg": ("9", "5"), "c.jpg": ("9", "5")}
    assert source.domains == ("9", "10"), "in order of the numbers"
    assert [item.split for item in source.items()] == ["id_val", "test", "train"]
    named = opened(root, tmp_path / "metadata.csv", classes=("0=empty", "5=deer"), domains=("10",))
    assert table_of(named) == {"a.jpg": ("10", "empty")}
    birds = written(
        tmp_path / "birds.csv",
        ["img_id,img_filename,y,split,place,place_filename", "1,a.jpg,0,0,1,/f/x.jpg", "2,b.jpg,1,0,0,/f/y.jpg"],
    )
    assert table_of(opened(root, birds)) == {"b.jpg": ("0", "1"), "a.jpg": ("1", "0")}


# Columns


def test_columns_that_the_user_names(root: Path, tmp_path: Path) -> None:
    rows = [f"{n},{path},{EXPECTED[path][1]},x,{EXPECTED[path][0]}" for n, path in enumerate(EXPECTED)]
    plain = written(tmp_path / "plain.csv", rows)
    assert table_of(opened(root, plain, columns="path=2,label=3,domain=5")) == EXPECTED
    headed = written(tmp_path / "headed.csv", ["n,pic,animal,odd,where it was", *rows])
    assert table_of(opened(root, headed, columns="label=animal, domain=where it was")) == EXPECTED
    assert "has 5 columns and does not name them; say which is which" in error_of(root, plain)
    assert "no column '9' for --columns label=; it has 5 columns" in error_of(root, plain, columns="label=9")
    assert "no column 'y' for --columns label=; it has the columns n, pic" in error_of(root, headed, columns="label=y")


def test_files_without_a_suffix_are_found_by_their_column(tmp_path: Path) -> None:
    root = put_images(tmp_path / "images", ["a/1", "b/2"])
    file = written(tmp_path / "l.txt", ["a/1 dog x", "b/2 owl y"])
    assert table_of(opened(root, file, columns="path=1,label=2,domain=3")) == {"a/1": ("x", "dog"), "b/2": ("y", "owl")}
    assert "no column holds the paths of images; name it, as with --columns path=1" in error_of(root, file)


def test_a_first_file_without_a_suffix_is_no_header(tmp_path: Path) -> None:
    root = put_images(tmp_path / "images", ["a/x/1", "b/y/2.jpg", "b/x/3.jpg"])
    for sign in (" ", ","):
        rows = [f"a/x/1{sign}dog", f"b/y/2.jpg{sign}owl", f"b/x/3.jpg{sign}dog"]
        assert len(table_of(opened(root, written(tmp_path / "l.txt", rows)))) == 3


@pytest.mark.parametrize("text", ["path", "path=", "file=1"])
def test_columns_that_are_mistyped_are_one_line(text: str) -> None:
    with pytest.raises(UserError, match="must be such as path=img,label=y,domain=place"):
        Columns.parsed(text)


# Domains and classes


def test_the_domain_is_the_first_folder_that_differs_or_the_lists_name(tmp_path: Path) -> None:
    paths = ["sets/amazon/images/bag/1.jpg", "sets/dslr/images/bag/2.jpg"]
    root = put_images(tmp_path / "images", [*paths, "dog/1.jpg", "owl/2.jpg", "train/x/dog/1.jpg", "test/y/dog/2.jpg"])
    assert opened(root, written(tmp_path / "all.txt", [f"{path} 0" for path in paths])).domains == ("amazon", "dslr")
    splits = written(tmp_path / "s.txt", ["train/x/dog/1.jpg 0", "test/y/dog/2.jpg 0"])
    assert opened(root, splits).domains == ("x", "y")
    two = [written(tmp_path / f"{name}_train.txt", ["dog/1.jpg 0", "owl/2.jpg 1"]) for name in ("my-site", "lab.2")]
    assert opened(root, two[0]).domains == ("my-site",)
    assert "dog/1.jpg is of the domain" in error_of(root, *two)
    named_for_splits = written(tmp_path / "train.txt", ["dog/1.jpg 0", "owl/2.jpg 1"])
    assert "gives the domain; name its column, as with --columns domain=hospital" in error_of(root, named_for_splits)


def test_folders_that_tell_the_class_are_no_domains(tmp_path: Path) -> None:
    root = put_images(tmp_path / "images", ["dog/images/1.jpg", "owl/images/2.jpg"])
    file = written(tmp_path / "site_train.txt", ["dog/images/1.jpg dog", "owl/images/2.jpg owl"])
    source = opened(root, file)
    assert (source.domains, source.classes) == (("site",), ("dog", "owl"))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return put_images(tmp_path / "images", ["a/1.jpg", "b/2.jpg", "a/3.jpg"])


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ((0, 1, 2), "cat,dog,owl", ("cat", "dog", "owl")),
        ((1, 2, 3), "cat,dog,owl", ("cat", "dog", "owl")),
        ((3, 1, 1), "cat,dog,owl", ("owl", "cat", "cat")),
        ((0, 2, 2), "cat,dog,owl,yak", ("cat", "owl", "owl")),
        ((1, 2, 2), "1=cat,2=dog", ("cat", "dog", "dog")),
        ((0, 10, 9), "", ("0", "10", "9")),
        (("dog", "cat", "dog"), "", ("dog", "cat", "dog")),
    ],
)
def test_labels_get_their_names(
    flat: Path, tmp_path: Path, labels: tuple[object, ...], classes: str, expected: tuple[str, ...]
) -> None:
    paths = ("a/1.jpg", "b/2.jpg", "a/3.jpg")
    file = written(
        tmp_path / "l.csv", ["path,label,domain", *(f"{p},{y},x" for p, y in zip(paths, labels, strict=True))]
    )
    found = table_of(opened(flat, file, classes=classes.split(",") if classes else ()))
    assert tuple(found[path][1] for path in paths) == expected


def test_given_classes_that_do_not_fit_are_one_line(flat: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.csv", ["path,label,domain", "a/1.jpg,1,x", "b/2.jpg,2,x", "a/3.jpg,2,y"])
    assert "'cat' could be 0 or 1; say which number each is for, as 1=cat" in error_of(
        flat, file, classes=["cat", "dog", "owl"]
    )
    assert "l.csv, line 3: class number 2, and --classes gives 1 names" in error_of(flat, file, classes=["cat"])
    assert "no class number 7 in the list" in error_of(flat, file, classes=["7=cat", "1=dog"])
    text = written(tmp_path / "t.csv", ["path,label,domain", "a/1.jpg,cat,x", "b/2.jpg,dog,y"])
    assert "--classes: no class 'dgo' in the list, which has cat, dog" in error_of(flat, text, classes=["cat", "dgo"])
    assert "--domains: no domain 'z' in the list, which has x, y" in error_of(flat, text, domains=["x", "z"])


def test_chosen_classes_and_domains_leave_the_others_out(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.txt", [f"{path} {'owl' in path:d}" for path in EXPECTED])
    source = opened(root, file, classes=["owl"], domains=["photo"])
    assert table_of(source) == {"photo/owl/4.jpg": ("photo", "owl")}
    assert "rows of other domains left out: 2 (art)" in source.remarks
    assert "rows of other classes left out: 1 (dog)" in source.remarks


def test_rows_without_a_label_have_none(flat: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.csv", ["path,label,domain", "a/1.jpg,,x", "b/2.jpg,-1,y", "a/3.jpg,5,"])
    assert table_of(opened(flat, file)) == {"b/2.jpg": ("y", ""), "a/1.jpg": ("x", ""), "a/3.jpg": ("", "a")}


# What contradicts, is missing or leads elsewhere


def test_an_image_of_two_classes_is_refused_with_both_lines(root: Path, tmp_path: Path) -> None:
    first = written(tmp_path / "train.csv", ["path,label,domain", "art/dog/1.jpg,dog,x", "photo/owl/4.jpg,owl,y"])
    other = written(tmp_path / "test.csv", ["path,label,domain", "photo/dog/3.jpg,dog,x", "./art/dog/1.jpg,owl,x"])
    assert error_of(root, first, other).startswith(
        "train.csv, line 2 and test.csv, line 3: art/dog/1.jpg is of the class 'dog' and of 'owl'; mend"
    )
    moved = written(tmp_path / "moved.csv", ["path,label,domain", "art/dog/1.jpg,dog,y"])
    assert "train.csv, line 2 and moved.csv, line 2: art/dog/1.jpg is of the domain 'x' and of 'y'" in error_of(
        root, first, moved
    )


def test_missing_images_are_known_at_once(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.txt", [*(f"{path} 0" for path in ART), "art/dog/9.jpg 0", "photo/nothing/1.jpg 0"])
    source = opened(root, file)
    reason = "is in the list and not in the folder"
    assert source.missing == (("art/dog/9.jpg", reason), ("photo/nothing/1.jpg", reason))
    assert [(item.path, item.fault) for item in source.items() if item.fault] == list(source.missing)


def test_a_wrong_folder_is_one_line_with_the_right_one(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "l.txt", [f"images/{path} 0" for path in EXPECTED])
    assert f"holds no image of the list (l.txt, line 1: images/art/dog/1.jpg); give {tmp_path}" in error_of(root, file)
    assert "with --list, give one folder" in error_of(file, file)
    with pytest.raises(UserError, match="with --list, give one folder"):
        open_source([root, root], lists=[file])


@pytest.mark.parametrize("path", ["../secret.jpg", "art/../../secret.jpg", "/etc/secret.jpg", "{root}/../secret.jpg"])
def test_paths_out_of_the_folder_are_refused(root: Path, tmp_path: Path, path: str) -> None:
    put_image(tmp_path / "secret.jpg")
    file = written(tmp_path / "l.txt", ["art/dog/1.jpg 0", f"{path.format(root=root)} 1"])
    assert "l.txt, line 2: '" in (error := error_of(root, file))
    assert "lies outside" in error


def test_absolute_paths_into_the_folder_are_taken(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    for listed, given in ((root, link), (link, link), (root, root), (root, Path("images"))):
        monkeypatch.chdir(tmp_path)
        file = written(tmp_path / "l.txt", [f"{listed}/{path} {path.split('/')[1]}" for path in EXPECTED])
        assert table_of(opened(given, file)) == EXPECTED


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "l.csv is empty; a list has a row for each image"),
        (b"# only a remark\n\n", "is empty; a list has a row for each image"),
        (b"path,label\n", "has no rows below its header"),
        (b"\x89PNG\0\0", "is no text"),
        (b"\xff\xfea\0b", "starts as UTF-16, but what follows is not"),
        (b"path,label\na.jpg,1\nb.jpg\n", "l.csv, line 3: has 1 columns and the first row 2"),
        (b"path,label\na.jpg,1\n,2\n", "l.csv, line 3: holds no path"),
        (b'path,label\n"a.jpg,1\nb.jpg,2\n', "l.csv, line 3: has 1 columns and the first row 2"),
        (b"this is a letter\nand no list\n", "no column holds the paths of images"),
    ],
)
def test_what_is_no_list_is_one_line(root: Path, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    assert words in error_of(root, tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "l.json can't be read as JSON (Expecting"),
        ("[]", "has no list of images; COCO-style JSON has images"),
        ('{"images": []}', "has no list of annotations"),
        ('{"images": [], "annotations": [], "categories": []}', "l.json has no image with a category"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "no 'file_name' in {id 1}; COCO-style JSON has",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [], '
            '"annotations": [{"image_id": 1, "category_id": 2}]}',
            "an annotation has category 2, which is not among its categories",
        ),
    ],
)
def test_json_that_is_no_list_is_one_line(root: Path, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "l.json").write_text(content)
    assert words in error_of(root, tmp_path / "l.json")


def test_lists_that_are_not_there_are_one_line(root: Path, tmp_path: Path) -> None:
    assert "--list: nothing.txt does not exist; give a file .txt" in error_of(root, Path("nothing.txt"))
    (tmp_path / "empty").mkdir()
    assert "empty holds no list; a list is a file .txt" in error_of(root, tmp_path / "empty")
    with pytest.raises(UserError, match="give the list with --list"):
        open_source([root], columns=Columns(path="1"))


def test_each_folder_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put_images(tmp_path / "images", ["a/x/0.jpg", "b/x/1.jpg"])
    file = written(tmp_path / "l.txt", [f"{'ab'[n % 2]}/x/{n}.jpg {n % 2}" for n in range(300)])
    read: list[Path] = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: (read.append(folder), iterdir(folder))[1])
    assert len(opened(root, file).missing) == 298
    assert sorted(read) == [root, root / "a", root / "a" / "x", root / "b", root / "b" / "x"]
