"""The commands and the Python of the other pages, typed as they stand there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ndcl.data.catalogue import entry_of
from tests.journeys.clone import Clone
from tests.journeys.guides import block
from tests.made.stand_ins import import_counts


@pytest.fixture(scope="module")
def pacs(clone: Clone) -> None:
    """A stand-in for PACS in the user's data folder, also under the name `mine`."""
    folder = clone.home / ".cache" / "ndcl"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "PACS").exists():
        import_counts(entry_of("PACS"), entry_of("PACS").counts, folder)
    shutil.copytree(folder / "PACS", folder / "mine", dirs_exist_ok=True)


def python(clone: Clone, file: str, text: str) -> str:
    """Save the text as a file, and run it."""
    (clone.folder / file).write_text(text)
    return clone.type(f"python {file}")


def test_a_training_in_python(clone: Clone) -> None:
    text = block("docs/method.md", "from ndcl.config import TrainConfig").text
    assert '"num_steps": 300' in text
    lines = python(clone, "one.py", text.replace('"num_steps": 300', '"num_steps": 10')).splitlines()
    assert lines
    assert all(len(line.split()) == 3 for line in lines)


def test_a_training_with_torchrun(clone: Clone) -> None:
    text = block("docs/scaling.md", "# torchrun").text
    small = text.replace('{"data":', '{"num_steps": 4, "evaluate_every": 2, "data":')
    assert small != text
    (clone.folder / "mine.py").write_text(small)
    printed = clone.type(text.splitlines()[0].removeprefix("# "))
    assert [line.split()[0] for line in printed.splitlines() if line[:1].isdigit()] == ["2", "4"]
    assert (clone.folder / "checkpoints").is_dir()


def test_where_weights_lie(clone: Clone) -> None:
    assert "resnet50" in clone.type(block("docs/backbones.md", 'python -c "from ndcl.models.weights').lines[0])


def test_an_import_in_python(clone: Clone) -> None:
    generator = np.random.default_rng(0)
    for position, name in enumerate(("art/cat", "art/dog", "photo/cat", "photo/dog")):
        folder = clone.folder / "my_images" / name
        folder.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (40, 50 + position, 3), np.uint8)).save(folder / "a.png")
    assert "4 " in python(clone, "importing.py", block("docs/data.md", "from pathlib import Path").text)


def test_a_store_written_in_python(clone: Clone) -> None:
    around = "import numpy as np\nfrom pathlib import Path\nfolder = Path('written')\n"
    around += "parts = [(np.zeros((4, 256, 256, 3), np.uint8), [0, 1, 0, 1], [0, 0, 1, 1])]\n"
    text = block("docs/data_store.md", "from ndcl.data").text
    python(clone, "writing.py", f"{around}{text}\nfrom ndcl.data.store import Store\nassert len(Store(folder)) == 4")


def test_what_a_setting_makes_of_a_data_set(clone: Clone, pacs: None) -> None:
    for line in block("docs/imbalance.md", "ndcl data imbalance pacs").lines:
        assert "photo" in clone.type(line)
    assert (clone.folder / "imbalance.png").stat().st_size > 0
    text = block("docs/imbalance.md", "from ndcl.config import DataConfig").text
    assert "[" in python(clone, "counts.py", text)


@pytest.mark.soak
def test_values_set_for_one_run(clone: Clone) -> None:
    line = block("docs/search_space.md", "ndcl sweep search_spaces/digits.yaml").lines[0]
    small = ("search.num_trials=1", "train.num_steps=4", "train.evaluate_every=1", "final.seeds=0")
    printed = clone.type(line, *small)
    assert "results: results/digits" in printed
    assert len(list(Path(clone.folder, "results/digits/trials").glob("*.json"))) == 2
