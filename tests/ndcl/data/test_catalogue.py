"""The catalogue's numbers against those that others have published, and what a check against it says."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ndcl.data import Store
from ndcl.data.catalogue import CATALOGUE, Entry, entry_of, find_entry, plain
from ndcl.data.catalogue.check import Check, check
from ndcl.data.contact_sheet import IMAGES_PER_CELL, MAX_CLASSES, contact_sheet, save_contact_sheet, shown_classes
from ndcl.errors import UserError
from ndcl.imbalance.released import released_table
from tests.made.made_store import make_store

TOTALS = {"PACS": 9991, "VLCS": 10729, "OfficeHome": 15588, "TerraIncognita": 24330, "DomainNet": 596006}
NUM_CLASSES = {"PACS": 7, "VLCS": 5, "OfficeHome": 65, "TerraIncognita": 10, "DomainNet": 345}


def test_the_five_sets_and_their_sizes() -> None:
    assert {name: int(entry.counts.sum()) for name, entry in CATALOGUE.items()} == TOTALS
    assert {name: len(entry.classes) for name, entry in CATALOGUE.items()} == NUM_CLASSES


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_entries_are_whole(entry: Entry) -> None:
    assert entry.counts.shape == (len(entry.domains), len(entry.classes))
    assert list(entry.classes) == sorted(entry.classes), "class order is that of folders"
    assert list(entry.domains) == sorted(entry.domains)
    assert entry.counts.min() >= 0
    assert entry.source.startswith("https://")
    assert entry.licence
    assert entry.how_to_get.endswith(entry.command())
    assert entry.command().startswith(f"ndcl data import {entry.folder} ")
    assert entry.command().endswith(f"--name {entry.name}")
    for variant in entry.variants:
        assert (variant.totals <= entry.counts.sum(1)).all()
        assert variant.counts is None or (variant.counts.sum(1) == variant.totals).all()


def test_domains_of_pacs_have_their_published_sizes() -> None:
    """Li et al. 2017, table 1."""
    entry = CATALOGUE["PACS"]
    sizes = dict(zip(entry.domains, entry.counts.sum(1).tolist(), strict=True))
    assert sizes == {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}


def test_domains_of_officehome_have_their_published_sizes() -> None:
    """Venkateswara et al. 2017."""
    entry = CATALOGUE["OfficeHome"]
    assert entry.counts.sum(1).tolist() == [2427, 4365, 4439, 4357]


def test_variants() -> None:
    (vlcs,), (domainnet,) = CATALOGUE["VLCS"].variants, CATALOGUE["DomainNet"].variants
    assert (vlcs.name, int(vlcs.totals.sum())) == ("train70", 7510)
    assert vlcs.counts is not None
    assert np.abs(vlcs.counts - 0.7 * CATALOGUE["VLCS"].counts).max() < 1
    assert (domainnet.name, int(domainnet.totals.sum())) == ("cleaned", 586575)
    assert TOTALS["DomainNet"] - 586575 == 9431


def test_open_files_are_pinned() -> None:
    assert {name for name, entry in CATALOGUE.items() if entry.files} == {"PACS", "OfficeHome"}
    for entry in CATALOGUE.values():
        for file in entry.files:
            assert file.url.startswith("https://huggingface.co/datasets/flwrlabs/")
            assert len(file.url.split("/resolve/")[1].split("/")[0]) == 40, "a revision, which can't change"
            assert len(bytes.fromhex(file.sha256)) == 32
    assert sum(file.bytes for file in CATALOGUE["OfficeHome"].files) == 1_158_984_115, "as the hub's card says"
    assert CATALOGUE["PACS"].files[0].bytes == 191_395_900


@pytest.mark.parametrize("name", ["pacs", "vlcs", "officehome", "domainnet"])
def test_released_tables_fit_the_catalogue(name: str) -> None:
    """Every table finds its domains and classes, and asks for no more images than there are."""
    entry = entry_of(name)
    protocols = files("ndcl") / "protocols" / name
    for setting in (path.name.removesuffix(".json") for path in protocols.iterdir()):
        for target in entry.domains:
            table = released_table(setting, entry.name, entry.domains, entry.classes, target)
            sources = [index for index, domain in enumerate(entry.domains) if domain != target]
            assert (table.counts <= entry.counts[sources]).all()


def test_names_match_whatever_their_spelling() -> None:
    assert find_entry("office-home") is find_entry("OFFICE_HOME") is CATALOGUE["OfficeHome"]
    assert find_entry("digits") is None
    with pytest.raises(UserError, match="unknown data set of the catalogue: 'PAKS'; did you mean 'PACS'"):
        entry_of("PAKS")
    assert plain("Real World") == "realworld"


def test_the_files_are_packaged() -> None:
    names = {path.name for path in (files("ndcl.data") / "catalogue").iterdir() if path.name.endswith(".json")}
    assert len(names) == len(CATALOGUE)
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert json.dumps("data/catalogue/*.json") in project


# Checks


def stored(tmp_path: Path, counts: np.ndarray, domains: tuple[str, ...], classes: tuple[str, ...]) -> Store:
    return make_store(tmp_path / "set", counts, classes, domains, shape=(1,))


def checked(tmp_path: Path, counts: np.ndarray, name: str = "VLCS", **names: tuple[str, ...]) -> Check:
    entry = CATALOGUE[name]
    store = stored(tmp_path, counts, names.get("domains", entry.domains), names.get("classes", entry.classes))
    return check(store, entry)


def test_a_whole_set_is_found_whole(tmp_path: Path) -> None:
    result = checked(tmp_path, CATALOGUE["VLCS"].counts)
    assert result == Check(edition="VLCS", differences=(), other_names=(), order="")
    assert result.is_whole


def test_missing_and_extra_images_are_told_by_domain_and_class(tmp_path: Path) -> None:
    counts = CATALOGUE["VLCS"].counts.copy()
    counts[0, 2] -= 5
    counts[3, 0] += 1
    result = checked(tmp_path, counts)
    assert not result.is_whole
    assert [(d.domain, d.class_name, d.found - d.expected) for d in result.differences] == [
        ("Caltech101", "chair", -5),
        ("VOC2007", "bird", 1),
    ]


def test_variants_are_recognised(tmp_path: Path) -> None:
    variant = CATALOGUE["VLCS"].variants[0]
    assert variant.counts is not None
    result = checked(tmp_path, variant.counts)
    assert result.is_whole
    assert result.edition.startswith("VLCS, train70 (")


def test_a_variant_known_by_domain_alone(tmp_path: Path) -> None:
    entry = CATALOGUE["DomainNet"]
    counts = entry.counts.copy()
    for domain, surplus in enumerate((counts.sum(1) - entry.variants[0].totals).tolist()):
        taken = np.minimum(counts[domain] - 1, np.diff(np.minimum(np.cumsum(counts[domain] - 1), surplus), prepend=0))
        counts[domain] -= taken
    result = checked(tmp_path, counts, "DomainNet")
    assert result.is_whole
    assert result.edition.startswith("DomainNet, cleaned (")


def test_other_names_of_the_same_domains_are_known(tmp_path: Path) -> None:
    domains = ("CALTECH", "LABELME", "SUN", "PASCAL")
    assert checked(tmp_path, CATALOGUE["VLCS"].counts, domains=domains).is_whole


def test_missing_and_unknown_names_are_told(tmp_path: Path) -> None:
    entry = CATALOGUE["VLCS"]
    result = checked(
        tmp_path,
        entry.counts[:3],
        domains=entry.domains[:3],
        classes=("bird", "car", "chair", "dog", "human"),
    )
    assert result.other_names == (
        "domain 'VOC2007' is missing",
        "class 'person' is missing",
        "class 'human' is not in the catalogue",
    )
    assert {difference.domain for difference in result.differences} == set(entry.domains)


def test_classes_in_another_order_are_told(tmp_path: Path) -> None:
    entry = CATALOGUE["VLCS"]
    result = checked(tmp_path, entry.counts[:, ::-1], classes=entry.classes[::-1])
    assert not result.differences
    assert "another order" in result.order
    assert not result.is_whole


# Contact sheets


def test_a_sheet_shows_images_where_they_belong(tmp_path: Path) -> None:
    counts = np.array([[3, 0], [1, 2]])
    store = make_store(tmp_path / "set", counts, ("cat", "dog"), ("art", "photo"), shape=(8, 8, 3))
    sheet = np.asarray(contact_sheet(store))
    assert (sheet == 225).all(2).sum() > 0, "gray where there is no image"
    full = make_store(tmp_path / "full", counts + 2, ("cat", "dog"), ("art", "photo"), shape=(8, 8, 3))
    assert (np.asarray(contact_sheet(full)) == 225).all(2).mean() < 0.001
    save_contact_sheet(store, tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        assert image.size == sheet.shape[1::-1]


def test_a_sheet_of_many_classes_is_thinned() -> None:
    assert shown_classes(3) == [0, 1, 2]
    chosen = shown_classes(345)
    assert (len(chosen), chosen[0], chosen[-1]) == (MAX_CLASSES, 0, 344)
    assert len(set(chosen)) == MAX_CLASSES
    assert IMAGES_PER_CELL == 2


def test_features_have_no_sheet(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", np.ones((2, 2), int), ("a", "b"), ("c", "d"), shape=(4,))
    with pytest.raises(UserError, match="holds feature vectors"):
        contact_sheet(store)


def test_a_sheet_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", np.ones((1, 1), int), ("a",), ("c",), shape=(4, 4, 3))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be written \(.*; give another file"):
        save_contact_sheet(store, tmp_path / "file" / "sheet.png")
