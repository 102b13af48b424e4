"""`ndcl data push | pull`, from the command line to what is printed and stored."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ndcl.data import Store
from ndcl.filesystems import filesystem_of, join, remove_folder
from tests.harness.cli.test_cli_data import error_of, ok
from tests.journeys.clone import next_commands
from tests.made.made_store import make_sharded_store
from tests.servers.object_stores import served_s3


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDCL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NDCL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Store:
    return make_sharded_store(data / "Office")


@pytest.fixture
def bucket() -> Iterator[str]:
    with served_s3() as place:
        yield place
        remove_folder(*filesystem_of(join(place, "data")))  # the next server would have it, too


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    assert f"Example: ndcl data {verb}" in ok(verb, "--help")


def test_there_and_on_another_machine(store: Store, bucket: str, tmp_path: Path) -> None:
    place = join(bucket, "data")
    printed = ok("push", "office", place)
    assert f"Office (81 items, digest {store.digest[:12]}) is at s3://bucket/data/Office: " in printed
    assert f"write `data: {place}` under `metadata`" in printed
    (command,) = next_commands(printed)
    assert command == f"ndcl data pull '{join(place, 'Office')}'"
    assert "all of it was there" in ok("push", "office", join(place, "Office"))
    there = tmp_path / "there"
    printed = ok("pull", join(place, "Office"), "--folder", there)
    assert f"is in {there / 'Office'}: " in printed
    assert "every byte checked" in printed
    assert next_commands(printed) == [f"ndcl data show Office --folder {there}"]
    assert Store(there / "Office").digest == store.digest


def test_what_the_source_may_be(store: Store, tmp_path: Path) -> None:
    """By its path, from another store, by the name that it has here or there."""
    shared = tmp_path / "shared"
    ok("push", store.folder, shared)
    assert Store(shared / "Office").digest == store.digest
    ok("push", shared.as_uri() + "/Office", tmp_path / "third")
    assert Store(tmp_path / "third" / "Office").digest == store.digest
    ok("push", "office", tmp_path / "fourth", "--folder", shared.as_uri())
    assert Store(tmp_path / "fourth" / "office").digest == store.digest
    for words in (
        (shared,),
        (shared, "OFFICE"),
        (shared / "Office", "mine"),
        (shared / "Office", tmp_path / "x" / "y"),
    ):
        ok("pull", *words, "--folder", tmp_path / "home")
    found = {path.name for path in (tmp_path / "home").glob("[!.]*")}
    assert found == {"Office", "OFFICE", "mine"}
    assert Store(tmp_path / "x" / "y").digest == store.digest


def test_mistakes_are_one_line(store: Store, bucket: str, tmp_path: Path) -> None:
    assert "unknown data set" in error_of("push", "nothing", bucket)
    assert "PACS is not in " in (text := error_of("push", "pacs", bucket))
    assert "get it by: ndcl data download PACS" in text
    assert "unknown kind of place; valid: s3://" in error_of("push", "office", "ftp://x/y")
    missing = bucket.replace("bucket?", "nobucket?")
    assert "there is no bucket 'nobucket'; make it first" in error_of("push", "office", missing)
    assert "holds no data set, or not all of it; check the address" in error_of("pull", join(bucket, "nothing"))
    shared = tmp_path / "shared"
    ok("push", "office", shared)
    make_sharded_store(shared / "other", seed=1)
    assert "'three'; did you mean 'other'? Valid: Office, other" in error_of("pull", shared, "three")
    several = error_of("pull", shared)
    assert f"holds several data sets (Office, other); name one, as in: ndcl data pull {shared} Office" in several
    assert "'a b' can't be a name" in error_of("pull", shared / "Office", "a b")
    assert "use --replace to replace it, or give another NAME" in error_of("pull", shared / "other", "Office")
    ok("pull", shared / "other", "Office", "--replace")
    assert "use --replace to replace it, or give another place" in error_of("push", "office", shared)
    ok("push", "office", shared, "--replace")
    assert Store(shared / "Office").digest == Store(shared / "other").digest
