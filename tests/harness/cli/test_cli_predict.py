"""`ndcl predict` as a user calls it: a table, CSV, Parquet, and what it says of images that can't be read."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import ndcl
from harness.cli import app, predict
from ndcl.config import TrainConfig
from ndcl.evaluation.calibration import Selective
from ndcl.serving import export
from tests.made.made_images import encoded, noise
from tests.made.made_model import DIGITS, trained

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    trained(folder / "checkpoint", TrainConfig.from_dict(DIGITS))
    export(folder / "checkpoint", folder / "model")
    return folder / "model"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(noise(number)))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_a_table_shows_class_probability_and_margin(model: Path, images: Path) -> None:
    result = run(model, images)
    assert (result.exit_code, result.stderr) == (0, "")
    expected = ndcl.load_model(model).predict(images / "3.png")
    [line] = [line for line in result.stdout.splitlines() if "3.png" in line]
    assert line.split()[1:] == [expected.names[0], f"{expected.confidences[0]:.3f}", f"{expected.margins[0]:.3f}"]


def test_files_that_are_no_images_by_their_names_are_counted(model: Path, images: Path) -> None:
    (images / "below").mkdir()
    for name in ("labels.csv", "below/notes.txt", "raw", "Thumbs.db", ".hidden"):
        (images / name).write_text("")
    result = run(model, images)
    assert result.exit_code == 0
    passed = "3 files were passed over, since their names end in none of .avif, .bmp, "
    [line] = result.stderr.splitlines()
    assert line.startswith(f"ndcl: {passed}")
    for named in (images / "3.png", f"{images}/*.png"):
        assert run(model, named).stderr == ""
    [line] = run(model, images / "below").stderr.splitlines()
    assert f"there are no images in {images / 'below'}; 1 file was passed over, since its name ends in none of" in line


def test_a_long_table_is_cut_and_says_so(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "SHOWN_ROWS", 2)
    result = run(model, images, "--batch-size", 1)
    assert [number for number in range(5) if f"{number}.png" in result.stdout] == [0, 1]
    assert "and 3 more; write all of them to a file with: --output predictions.csv" in result.stdout


@pytest.fixture
def doubting(model: Path, images: Path, tmp_path: Path) -> Path:
    """The model, with what its validation images are made to say: two of the five images are confident enough."""
    found = ndcl.load_model(model).predict(sorted(images.iterdir()))
    third = float(np.sort(found.confidences)[::-1][2])
    made = Selective(confidences=(third + 1e-6, third), accuracies=(0.95, 0.7), num_images=30)
    export(model.parent / "checkpoint", tmp_path / "doubting", selective=made)
    return tmp_path / "doubting"


def test_what_is_too_doubtful_is_rejected(doubting: Path, images: Path, tmp_path: Path) -> None:
    result = run(doubting, images, "--reject", 0.9)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("(rejected)") == 3
    assert "3 of 5 rejected: confidence below" in result.stdout
    assert "above it 90 % or more of the source domains' validation images are right" in result.stdout
    result = run(doubting, images, "--reject", 0.7, "--output", tmp_path / "p.parquet")
    assert result.exit_code == 0, result.output
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet").to_pydict()
    assert sum(table["rejected"]) == 2


def test_what_cannot_be_reached_or_is_not_known_is_one_line(doubting: Path, model: Path, images: Path) -> None:
    result = run(doubting, images, "--reject", 0)
    assert (result.exit_code, result.stdout.count("(rejected)")) == (0, 0)
    assert "0 of 5 rejected: confidence below 0.000" in result.stdout
    result = run(doubting, images, "--reject", 0.99)
    assert result.exit_code == 2
    assert "--reject 0.99: not even the most confident of 30 validation images are right so often" in result.stderr
    result = run(model, images, "--reject", 0.9)
    assert result.exit_code == 2
    assert "--reject: this model doesn't say how often it is right; export it again from its sweep" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_hold_all_predictions(model: Path, images: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / "new" / f"out.{suffix}"
    result = run(model, images, "--output", output, "--batch-size", 2)
    assert (result.exit_code, result.stdout) == (0, f"5 predictions: {output}\n")
    read = pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table
    table = read(output).to_pydict()
    assert list(table) == ["image", "class", "class_id", "probability", "margin"]
    paths = [images / f"{number}.png" for number in range(5)]
    expected = ndcl.load_model(model).predict(paths)
    assert table["image"] == [str(path) for path in paths]
    assert tuple(map(str, table["class"])) == expected.names
    assert table["class_id"] == expected.class_ids.tolist()
    assert np.array(table["probability"]) == pytest.approx(expected.confidences, abs=1e-6)
    assert np.array(table["margin"]) == pytest.approx(expected.margins, abs=1e-6)
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 2)])
def test_images_that_cannot_be_read_come_last(
    model: Path, images: Path, tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    (images / "1.png").write_bytes(b"no image")
    (images / "2.png").write_bytes(b"")
    result = run(model, images, "--output", tmp_path / "out.csv", *options)
    assert result.exit_code == code
    first, second = result.stderr.splitlines()
    assert first.startswith(f"ndcl: image {images / '1.png'}: is no image")
    assert second.startswith(f"ndcl: image {images / '2.png'}: is empty")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 3


def test_if_none_can_be_read_the_exit_code_tells(model: Path, images: Path) -> None:
    for path in images.iterdir():
        path.write_bytes(b"no image")
    result = run(model, images)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.png",), "there is nothing at 'nothing.png'"),
        ((".", "--output", "out.txt"), "must end in .csv or .parquet"),
        ((".", "--output", "model/out.csv/x.csv"), "can't be written"),
        (("empty",), "there are no images in empty"),
    ],
)
def test_mistakes_are_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "out.csv").write_text("")
    result = run(model, *arguments)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert words in line


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path)
    assert result.exit_code == 2
    assert "holds no exported model" in result.stderr
    missing = run(tmp_path / "nomodel", tmp_path / "x.png")
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    assert "nomodel" in missing.stderr
    assert "x.png" not in missing.stderr
