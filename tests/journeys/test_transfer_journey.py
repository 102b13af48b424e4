"""A data set goes to a shared folder, and from there to another machine, as the page says."""

from pathlib import Path

import pytest

from ndcl.data import Store
from tests.journeys.clone import Clone, next_commands
from tests.journeys.guides import block
from tests.made.made_store import make_sharded_store

TRANSFER = block("docs/data.md", "ndcl data push mine")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_sharded_store(home / ".cache" / "ndcl" / "mine")
    return home


def test_push_and_pull(clone: Clone, home: Path) -> None:
    printed = clone.type(TRANSFER.line("ndcl data push"))
    assert "sent" in printed
    (again,) = next_commands(printed)
    digest = Store(home / ".cache" / "ndcl" / "mine").digest
    assert Store(home / "shared" / "sets" / "mine").digest == digest
    printed = clone.type(TRANSFER.line("ndcl data pull"))
    assert "every byte checked" in printed
    assert Store(home / ".cache" / "ndcl" / "ours").digest == digest
    (show,) = next_commands(printed)
    assert "81" in clone.type(show)
    assert "it was there" in clone.type(again)


def test_what_is_there_in_part_is_no_data_set_and_the_same_command_completes_it(clone: Clone, home: Path) -> None:
    there = home / "shared" / "sets" / "mine"
    (there / "data.arrow").unlink()
    (there / "inputs-00001.arrow").unlink()
    (there / "unfinished-push").write_text(Store(home / ".cache" / "ndcl" / "mine").digest)
    assert "holds no data set, or not all of it" in clone.type(TRANSFER.line("ndcl data pull"), code=2)
    clone.type(TRANSFER.line("ndcl data push"))
    Store(there).verify()
