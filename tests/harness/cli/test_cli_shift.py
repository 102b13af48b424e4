"""`ndcl shift` as a user calls it: tables and what they mean, JSON, and mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from harness.cli import app
from ndcl.config import TrainConfig
from ndcl.serving import export
from tests.made.made_images import encoded, noise
from tests.made.made_model import DIGITS, trained
from tests.made.made_store import make_store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    paths = [folder / f"checkpoint-{seed}" for seed in range(2)]
    longer = {"num_steps": 100, "evaluate_every": 100, "batch_size": 32}
    for seed, path in enumerate(paths):
        trained(path, TrainConfig.from_dict(DIGITS | longer | {"seed": seed}))
    export(paths, folder / "model")
    return folder / "model"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(encoded(noise(number)))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["shift", *map(str, arguments)])


def test_tables_show_the_site_beside_the_sources(model: Path, photos: Path) -> None:
    result = run(model, photos)
    assert (result.exit_code, result.stderr) == (0, "")
    heads = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["texture", "print", "sign", "images", "confidence", "disagreement"] in heads
    [site] = [cells for cells in heads if cells[:2] == ["new", "site"] and "12" in cells]
    assert len([cells for cells in heads if cells[0] == "texture" and cells[1] == "-"]) == 1
    assert sorted(cells[0] for cells in heads if cells[0].isdigit() and cells[2:3] == ["%"]) == list("0123456789")
    assert "12 images make the distance uncertain; give 30 or more." in result.stdout
    assert "no number above is an accuracy" in result.stdout
    told = json.loads(run(model, photos, "--json").stdout)
    assert [f"{value:.2f}" for value in told["site"]["distances"].values()] == site[2:5]
    for warning in told["warnings"]:
        assert f"warning: {warning}" in result.stdout


def test_what_is_beyond_every_source_is_warned_of(model: Path, photos: Path) -> None:
    told = json.loads(run(model, photos, "--json").stdout)
    site, sources = told["site"], told["sources"].values()
    name, largest = max(site["shares"].items(), key=lambda item: item[1])
    beyond = {
        "the new site is": min(site["distances"].values()) > told["largest_distance_between_neighbours"],
        "confidence is": site["confidence"] < min(source["confidence"] for source in sources),
        "the ensemble's networks": site["disagreement"] > max(source["disagreement"] for source in sources),
        f"{100 * largest:.1f} %": largest > 0.25 and largest > 2 * max(source["shares"][name] for source in sources),
    }
    for begin, is_told in beyond.items():
        assert any(warning.startswith(begin) for warning in told["warnings"]) == is_told, begin


def test_what_cannot_be_read_stops_nothing(model: Path, photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    (photos / "notes.txt").write_text("")
    result = run(model, photos, "--json")
    assert result.exit_code == 0
    assert "bad.png" in result.stderr
    assert "ndcl: 1 file was passed over, since its name ends in none of .avif, " in result.stderr
    told = json.loads(result.stdout)
    assert (told["unreadable"], told["site"]["images"]) == (1, 12)
    assert run(model, photos / "bad.png").exit_code == 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "there is nothing at 'nowhere'"),
        ("photos/1.png", "photos/1.png: a site takes several images, and there are 1; give more"),
        ("empty", "empty: a site takes several images, and there are 0; give more"),
    ],
)
def test_mistakes_are_one_line(
    model: Path, photos: Path, place: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    result = run(model, place)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_vectors_come_as_an_array(tmp_path: Path) -> None:
    store = make_store(tmp_path / "vectors", np.full((3, 3), 12), shape=(7,))
    imbalance = {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2}
    data = {"name": str(store.folder), "target": "photo"}
    values = DIGITS | {"data": data, "imbalance": imbalance, "model": {"backbone": "linear"}}
    trained(tmp_path / "checkpoint", TrainConfig.from_dict(values))
    export(tmp_path / "checkpoint", tmp_path / "model")
    vectors = store.inputs(np.arange(40)).numpy()
    np.save(tmp_path / "site.npy", vectors)
    np.savez(tmp_path / "site.npz", x=vectors)
    np.savez(tmp_path / "other.npz", y=vectors)
    np.save(tmp_path / "short.npy", vectors[:, :3])
    (tmp_path / "broken.npz").write_bytes(b"PK")
    found = [json.loads(run(tmp_path / "model", tmp_path / f"site.{end}", "--json").stdout) for end in ("npy", "npz")]
    assert found[0] == found[1]
    assert found[0]["site"]["images"] == 40
    assert found[0]["site"]["disagreement"] is None
    np.save(tmp_path / "far.npy", vectors + 9000)
    far = run(tmp_path / "model", tmp_path / "far.npy")
    assert "warning: the new site is " in far.stdout
    assert "Label some of these images before you trust the model here" in far.stdout
    for name, words in (
        ("photo.jpg", "this model takes vectors of features; give a .npy of them, or a .npz with x [n, F]"),
        ("other.npz", "it has no array x [n, F] of vectors; it has y"),
        ("gone.npz", "it can't be read"),
        ("broken.npz", "it can't be read"),
        ("short.npy", "this model takes vectors [n, 7], got an array [40, 3]"),
    ):
        result = run(tmp_path / "model", tmp_path / name)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
