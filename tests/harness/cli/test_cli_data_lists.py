"""`ndcl data import --list`, and the commands that `ndcl data show` prints for the public sets."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from ndcl.data import Store, open_dataset
from ndcl.data.catalogue import CATALOGUE, Entry
from tests.made.made_lists import camera_traps, cells, domainnet_lists, kfold_lists, path_in, put_images, written


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDCL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small() -> Iterator[dict[str, Entry]]:
    """The catalogue with an image of each domain and of at most ten classes."""
    whole = dict(CATALOGUE)
    for name, entry in whole.items():
        counts = np.minimum(entry.counts[:, :10], 1)
        variants = tuple(replace(v, totals=counts.sum(1), counts=None) for v in entry.variants if v.options)
        CATALOGUE[name] = replace(entry, classes=entry.classes[:10], counts=counts, variants=variants)
    yield CATALOGUE
    CATALOGUE.update(whole)


def put_official_files(entry: Entry, here: Path) -> None:
    """As its archives are unpacked."""
    folder = here / entry.folder
    if entry.name == "TerraIncognita":
        put_images(folder, [f"{d}-{k}-{n}.jpg" for d, k, n in cells(entry.counts)])
        camera_traps(here / "caltech_images_20210113.json", entry, entry.counts, more=[("x.jpg", "7", ("bird",))])
    else:
        put_images(folder, [path_in(entry, cell) for cell in cells(entry.counts)])
    if entry.name == "DomainNet":
        domainnet_lists(folder, entry, entry.counts)


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("TerraIncognita", "get it from"),
        ("VLCS", "get it from"),
        ("DomainNet", "get it from"),
        ("DomainNet", "  with the lists in domain_net"),
    ],
)
def test_the_command_that_show_prints_makes_the_set(name: str, begin: str, here: Path, small: dict[str, Entry]) -> None:
    put_official_files(small[name], here)
    lines = run("data", "show", name).stdout.splitlines()
    (command,) = [line[line.index("ndcl data import") :] for line in lines if line.startswith(begin)]
    result = run(*shlex.split(command)[1:], "--size", 16, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert f"as the catalogue lists it: {name}" in result.stdout
    np.testing.assert_array_equal(open_dataset(name).available(), small[name].counts)


def test_lists_and_folders_make_the_same_bytes(here: Path, small: dict[str, Entry]) -> None:
    entry = small["PACS"]
    put_images(here / "kfold", [path_in(entry, cell) for cell in cells(entry.counts)])
    kfold_lists(here / "splits", entry, entry.counts)
    result = run("data", "import", "kfold", "--list", "splits", "--name", "listed", "--size", 16, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "classes: numbers, named by the folders of their images" in result.stderr
    assert run("data", "import", "kfold", "--name", "walked", "--size", 16, "--jobs", 1).exit_code == 0
    listed, walked = (Store(here / "data" / name) for name in ("listed", "walked"))
    assert listed.digest == walked.digest
    assert listed.notes["source"] == "kfold splits"


def test_columns_and_names_reach_the_import(here: Path) -> None:
    put_images(here / "photos", ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    written(here / "a.csv", ["1.jpg,0,north", "2.jpg,1,south"])
    written(here / "b.csv", ["3.jpg,2,north", "4.jpg,1,north"])
    command = (
        "data import photos --list a.csv --list b.csv --columns path=1,label=2,domain=3 --name mine --size 16 --jobs 1"
    )
    result = run(*command.split(), "--classes", "cat,dog,owl")
    assert result.exit_code == 0, result.output
    assert open_dataset("mine").available().tolist() == [[1, 1, 1], [0, 1, 0]]
    mistyped = run(*command.split(), "--columns", "pfad=1")
    assert mistyped.exit_code == 2
    assert "--columns: 'pfad=1' must be such as path=img,label=y,domain=place" in mistyped.stderr


def test_missing_images_are_named_together_before_any_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_images(here / "photos", ["a/dog/1.jpg", "b/owl/2.jpg"])
    written(here / "l.txt", ["a/dog/1.jpg 0", "b/owl/2.jpg 1", "a/dog/8.jpg 0", "b/owl/9.jpg 1"])
    command = ("data", "import", "photos", "--list", "l.txt", "--name", "mine", "--size", 16, "--jobs", 1)
    with monkeypatch.context() as patched:
        patched.setattr("ndcl.data.importing.importer.converted", None)
        result = run(*command)
    assert result.exit_code == 2, result.output
    assert "  a/dog/8.jpg is in the list and not in the folder\n  b/owl/9.jpg is in" in result.stderr
    assert "2 of 4 images can't be imported" in result.stderr
    result = run(*command, "--skip-corrupt")
    assert result.exit_code == 0, result.output
    assert "left out 2" in result.stdout
    assert open_dataset("mine").available().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("column", ["species", "Breed", "animal", "Class Name"])
def test_a_column_of_classes_is_found_by_other_names(here: Path, column: str) -> None:
    put_images(here / "photos", ["a/x/1.jpg", "a/y/2.jpg", "b/x/3.jpg", "b/y/4.jpg"])
    written(here / "l.csv", [f"path,{column}", "a/x/1.jpg,cat", "a/y/2.jpg,dog", "b/x/3.jpg,dog", "b/y/4.jpg,cat"])
    command = "data import photos --list l.csv --name mine --size 16 --jobs 1"
    result = run(*command.split())
    assert result.exit_code == 0, result.output
    assert f"label in column '{column}'" in result.stderr
    assert open_dataset("mine").classes == ("cat", "dog")


def test_classes_from_folders_are_told_with_the_columns_that_were_not_read(here: Path) -> None:
    put_images(here / "photos", ["a/x/1.jpg", "a/y/2.jpg", "b/x/3.jpg", "b/y/4.jpg"])
    rows = ["path,my foo,bar", "a/x/1.jpg,cat,1", "a/y/2.jpg,dog,1", "b/x/3.jpg,dog,1", "b/y/4.jpg,cat,1"]
    written(here / "l.csv", rows)
    command = ("data", "import", "photos", "--list", "l.csv", "--name", "mine", "--size", 16, "--jobs", 1)
    result = run(*command)
    assert "classes: from the folders of the images\n" in result.stderr
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "columns 'my foo', 'bar' of the list not read" in warning
    option = shlex.split(warning.partition("as with ")[2])
    assert run(*command, "--replace", *option).exit_code == 0
    assert open_dataset("mine").classes == ("cat", "dog")
