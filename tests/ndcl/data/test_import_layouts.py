"""Folders as people have them: what is meant is seen where it is plain, and refused or warned of where it is not."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ndcl.data.importing import checked, open_source
from ndcl.data.importing.content import CheckedSource
from ndcl.errors import UserError
from ndcl.serving.streaming import image_paths

PLAIN = [f"{domain}/{name}/1.png" for domain in ("art", "photo") for name in ("cat", "dog")]


def made(root: Path, files: Sequence[str]) -> Path:
    for number, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode())
    return root


def opened(root: Path) -> CheckedSource:
    return checked(open_source([root]))


def error_of(root: Path) -> str:
    with pytest.raises(UserError) as error:
        opened(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def cells(source: Any) -> list[str]:
    return sorted({f"{source.domains[item.domain]}/{source.classes[item.label]}" for item in source.items()})


PLAIN_CELLS = ["art/cat", "art/dog", "photo/cat", "photo/dog"]


@pytest.mark.parametrize(
    ("form", "remark"),
    [
        ("{0}", ""),
        ("{domain}/images/{class_name}/1.png", "read as DOMAIN/images/CLASS/IMAGE"),
        ("{domain}/{domain}_files/{class_name}/1.png", "read as DOMAIN/FOLDER/CLASS/IMAGE"),
        ("office/{domain}/{class_name}/1.png", "the domains were found in {root}/office"),
        ("a/b/{domain}/images/{class_name}/1.png", "the domains were found in {root}/a/b"),
        ("office/train/{domain}/{class_name}/1.png", "the domains were found in {root}/office"),
        ("{domain}/{class_name}/images/1.png", ""),
        ("{domain}/{class_name}/train/1.png", ""),
        ("{domain}/train/{class_name}/1.png", ""),
    ],
)
def test_domains_and_classes_are_found(tmp_path: Path, form: str, remark: str) -> None:
    names = [file.split("/") for file in PLAIN]
    root = made(tmp_path, [form.format(f"{d}/{c}/{f}", domain=d, class_name=c) for d, c, f in names])
    source = opened(root)
    assert cells(source) == PLAIN_CELLS
    assert source.warnings == ()
    assert source.remarks[:1] == ((remark.format(root=root),) if remark else ())


def test_one_domain_may_have_a_folder_in_between_and_a_single_class_is_no_such_folder(tmp_path: Path) -> None:
    root = made(tmp_path, [*PLAIN, "web/images/cat/1.png", "web/images/dog/1.png", "toy/cat/one/1.png"])
    assert cells(opened(root)) == [*PLAIN_CELLS, "toy/cat", "web/cat", "web/dog"]


LITTER = [
    "__MACOSX/art/cat/._1.png",
    "@eaDir/art/cat/1.png",
    "art/@eaDir/cat/1.png",
    "art/cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "art/.ipynb_checkpoints/1.png",
    "art/cat/.ipynb_checkpoints/1-checkpoint.png",
    "#recycle/old/1.png",
    "Thumbs.db",
    ".DS_Store",
    "art/.DS_Store",
    "art/cat/Thumbs.db",
    "art/cat/._1.png",
]


def test_what_systems_and_tools_leave_is_passed_over_by_import_and_predict(tmp_path: Path) -> None:
    root = made(tmp_path, [*PLAIN, *LITTER])
    source = opened(root)
    assert [item.path for item in source.items()] == PLAIN
    assert source.remarks == ("passed over: #recycle, .ipynb_checkpoints (2 times), @eaDir (3 times), __MACOSX",)
    assert [path.relative_to(root).as_posix() for path in image_paths([str(root)])] == PLAIN


def test_folders_without_images_are_told(tmp_path: Path) -> None:
    root = made(tmp_path, [*PLAIN, "splits/art.txt", "art/labels/a.xml"])
    (root / "photo" / "owl").mkdir()
    source = opened(root)
    assert (source.classes, cells(source)) == (("cat", "dog"), PLAIN_CELLS)
    assert source.remarks == (f"passed over, no images in it: {root}/splits, {root}/art/labels, {root}/photo/owl",)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere", ["cat/2.png", "dog/2.png"])
    root = made(tmp_path / "set", PLAIN)
    (root / "web").symlink_to(tmp_path / "elsewhere")
    (root / "art" / "owl").symlink_to("dog")
    (root / "art" / "cat" / "3.png").symlink_to("1.png")
    (root / "art" / "cat" / "again").symlink_to(root)
    (root / "around").symlink_to(root)
    source = opened(root)
    expected = ["art/cat/1.png", "art/cat/3.png", "art/dog/1.png", "art/owl/1.png", *PLAIN[2:]]
    assert [item.path for item in source.items()] == [*expected, "web/cat/2.png", "web/dog/2.png"]
    assert source.remarks == ("passed over: again, around",)
    assert sorted(path.relative_to(root).as_posix() for path in image_paths([str(root)])) == sorted(
        [*expected, "web/cat/2.png", "web/dog/2.png"]
    )


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    root = made(tmp_path, PLAIN)
    (root / "art" / "owl").symlink_to(tmp_path / "gone")
    assert "art/owl is a broken link; mend or remove it" in error_of(root)
    (root / "art" / "owl").unlink()
    (root / "art" / "cat" / "2.png").symlink_to(tmp_path / "gone")
    assert "art/cat/2.png" in [item.path for item in opened(root).items()], "so that it is listed as a bad image"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["art/cat/1.png", "photo/cat/1.png"], "all images are of one class, 'cat'"),
        (["a/images/1.png", "b/images/1.png"], "all images are of one class, 'images'"),
        (["one/cat/1.png"], "all images are of one class"),
        (
            ["PACS/art/cat/1.png", "PACS/photo/cat/1.png", "VLCS/SUN/dog/1.png", "VLCS/VOC/dog/1.png"],
            "give a folder whose own folders are the domains, such as {root}/PACS",
        ),
        (
            ["SUN/train/dog/1.png", "SUN/test/dog/1.png", "SUN/full/dog/1.png", "VOC/full/dog/1.png"],
            "test and train look like splits and stand where classes should be, beside full",
        ),
        (["train/cat/1.png", "test/cat/1.png", "more/cat/1.png"], "look like splits and stand where domains should be"),
        (["cat/1.png", "dog/1.png"], "if '{name}' is a domain, give the folder that holds it"),
        (["1.png", "2.png"], "to classify images without a class: ndcl predict MODEL {root}"),
    ],
)
def test_what_can_not_be_told_is_refused(tmp_path: Path, files: list[str], words: str) -> None:
    root = made(tmp_path / "set", files)
    assert words.format(root=root, name=root.name) in error_of(root)


@pytest.mark.parametrize("form", ["art/{0}/1.png", "office/art/{0}/1.png", "art/images/{0}/1.png"])
def test_one_domain_is_a_warning(tmp_path: Path, form: str) -> None:
    source = opened(made(tmp_path, [form.format(name) for name in ("cat", "dog")]))
    assert cells(source) == ["art/cat", "art/dog"]
    assert source.warnings == (
        "there is one domain, 'art'; sweeps need at least two, since each in turn is the unseen target",
    )


def test_names_that_look_alike_are_a_warning(tmp_path: Path) -> None:
    source = opened(made(tmp_path, [*PLAIN, "Real World/Cat/1.png", "Real_World/ca t/1.png", "real-world/dog/1.png"]))
    assert len(source.domains) == 5
    assert source.classes == ("Cat", "ca t", "cat", "dog")
    assert [warning.split("; ")[0] for warning in source.warnings] == [
        "domains differ in case, blanks, '_', '-' or Unicode form only: 'Real World', 'Real_World', 'real-world'",
        "classes differ in case, blanks, '_', '-' or Unicode form only: 'Cat', 'ca t', 'cat'",
    ]


def test_names_that_are_one_to_the_eye_are_one(tmp_path: Path) -> None:
    source = opened(made(tmp_path, ["a/Gru\u0308ße/1.png", "a/dog /1.png", "b/Grüße/1.png", "b/dog/1.png"]))
    assert source.classes == ("Grüße", "dog")
    assert cells(source) == ["a/Grüße", "a/dog", "b/Grüße", "b/dog"]
    assert source.remarks == (
        r"'Gru\u0308\xdfe', 'Gr\xfc\xdfe' are read as one class: 'Grüße'",
        "'dog ', 'dog' are read as one class: 'dog'",
    )


def test_the_order_of_classes_is_that_of_their_stored_names(tmp_path: Path) -> None:
    """So that a copy of the folder on a Mac gives the same data set."""
    forms = ("Gru\u0308ße", "Grüße")
    sources = [opened(made(tmp_path / str(n), [f"a/{form}/1.png", "a/Gruz/1.png"])) for n, form in enumerate(forms)]
    assert sources[0].classes == sources[1].classes == ("Gruz", "Grüße")


def test_a_folder_whose_name_is_no_unicode_has_a_name_that_can_be_typed(tmp_path: Path) -> None:
    os.makedirs(os.fsencode(tmp_path) + b"/art/na\xffme")  # noqa: PTH103
    made(tmp_path, ["art/cat/1.png", os.fsdecode(b"art/na\xffme/1.png")])
    assert opened(tmp_path).classes == ("cat", r"na\xffme")
