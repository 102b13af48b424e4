"""An algorithm of the user's own, typed from docs/extending.md: listed, searched, reported, exported."""

import json
from pathlib import Path

import pytest

from tests.journeys.clone import Clone
from tests.journeys.guides import block

FILE = block("docs/extending.md", "from dataclasses").text
SWEEP = block("docs/extending.md", "name: own_loss").text
COMMANDS = block("docs/extending.md", "ndcl algorithms my_losses").lines


@pytest.fixture(scope="module")
def folder(clone: Clone) -> Path:
    """Elsewhere than the package, as users' files are."""
    folder = clone.folder / "elsewhere"
    folder.mkdir()
    (folder / "my_losses.py").write_text(FILE)
    (folder / "own_loss.yaml").write_text(SWEEP)
    return folder


def test_it_is_listed_searched_and_exported(clone: Clone, folder: Path) -> None:
    listing, sweeping = COMMANDS
    assert "algorithm: my_losses:Gap" in clone.type(listing, cwd=folder)
    clone.type(sweeping, cwd=folder)
    records = [json.loads(path.read_text()) for path in (folder / "results" / "own_loss" / "trials").rglob("*.json")]
    own = [record for record in records if record["study"]["algorithm"] == "Gap"]
    assert {record["state"] for record in own} == {"finished"}
    assert {record["config"]["algorithm"]["name"] for record in own} == {"my_losses:Gap"}
    assert len({record["values"]["algorithm.weight"] for record in own}) > 1
    assert all("gap" in record["evaluations"][-1]["losses"] for record in own)
    clone.type("ndcl report own_loss", cwd=folder)
    clone.type("ndcl export own_loss --study Gap.digits.long_tail-10.scan --to models", cwd=folder)


def test_what_one_does_wrong_gets_one_line(clone: Clone, folder: Path) -> None:
    def said(text: str, name: str = "my_losses:Gap") -> str:
        (folder / "wrong.py").write_text(text)
        return clone.type(f"ndcl algorithms {name}", cwd=folder, code=2).strip()

    assert "there is no module my_loss in" in said("", "my_loss:Gap")
    assert "wrong has no GapConfig" in said("class Gap: pass", "wrong:Gap")
    assert "unknown algorithm ':Gap'" in said("", ":Gap")
    assert "my_losses has no Gab" in said("", "my_losses:Gab")
    assert "wrong2 can't be imported (NameError" in _written(folder, "wrong2", "x = y", clone)
    assert "set it to 'wrong3:Gap'" in _written(folder, "wrong3", FILE, clone)
    assert "wrong4 imports nowhere_to_be_found, which is not installed" in _written(
        folder, "wrong4", "import nowhere_to_be_found", clone
    )


def _written(folder: Path, module: str, text: str, clone: Clone) -> str:
    (folder / f"{module}.py").write_text(text)
    printed = clone.type(f"ndcl algorithms {module}:Gap", cwd=folder, code=2).strip()
    assert len(printed.splitlines()) == 1
    return printed


def test_elsewhere_the_sweep_says_where_to_run_it(clone: Clone, folder: Path) -> None:
    printed = clone.type(f"ndcl status own_loss --results {folder / 'results'}", cwd=clone.folder, code=2)
    assert "there is no module my_losses in" in printed
    assert "another version" not in printed
    printed = clone.type(f"ndcl sweep {folder / 'own_loss.yaml'}", cwd=clone.folder, code=2)
    assert "there is no module my_losses in" in printed
    assert "run the command in its folder" in printed
