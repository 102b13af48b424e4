"""`ndcl data embed` and `ndcl data imbalance` as they are typed."""

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.data.embed import show_progress
from ndcl import features
from ndcl.data import Store
from ndcl.timm_models import timm_model
from tests.made.made_store import make_store

COUNTS = np.array([[40, 24, 12], [30, 20, 11], [50, 30, 20]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_store(tmp_path / "made", COUNTS, shape=(12, 12, 3))
    return tmp_path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])


def error_of(*arguments: object) -> str:
    """The one line that a mistake gets."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("ndcl: error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("verb", ["embed", "imbalance"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: ndcl data {verb}" in result.output


def test_embed_writes_a_data_set_and_says_how_to_go_on(folder: Path) -> None:
    options = ("--backbone", "small_cnn", "--weights", "none", "--batch-size", 64, "--device", "cpu")
    result = run("embed", "made", *options, "--name", "made_cnn", "--folder", folder)
    assert result.exit_code == 0, result.output
    assert "made_cnn: 237 images as vectors of 64 features (float16)" in result.stdout
    settings = f"--set data.name=made_cnn --set name=made_cnn --set data.folder={folder}"
    assert f"next: ndcl sweep search_spaces/features.yaml {settings}\n" in result.stdout
    assert result.stderr.splitlines()[-1] == "made by small_cnn: 237 of 237 images"
    store = Store(folder / "made_cnn")
    assert (store.kind, store.input_shape, len(store)) == ("vectors", (64,), 237)
    again = run("embed", "made", *options, "--name", "again", "--folder", folder, "--quiet", "--dtype", "float32")
    assert again.stderr == ""
    assert Store(folder / "again").dtype == "float32"


def test_embed_takes_networks_of_timm(folder: Path) -> None:
    pytest.importorskip("timm")
    options = ("--weights", "none", "--image-size", 32, "--device", "cpu", "--folder", folder)
    result = run("embed", "made", "--backbone", "timm:test_vit", *options, "--name", "made_vit")
    assert result.exit_code == 0, result.output
    assert "made_vit: 237 images as vectors of 64 features (float16)" in result.stdout
    shutil.rmtree(folder / "made_vit")
    assert "timm's test_vit has no tag 'x'" in error_of(
        "embed", "made", "--backbone", "timm:test_vit.x", "--name", "out", "--folder", folder
    )


def test_without_timm_the_command_that_installs_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    timm_model.cache_clear()
    words = error_of("embed", "made", "--backbone", "timm:test_vit", "--name", "out", "--folder", folder)
    assert "needs the package timm, which is not installed; install it by: pip install '.[timm]'" in words
    timm_model.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("made", "--backbone", "resnet19", "--name", "out"), "did you mean 'resnet18'"),
        (("made", "--backbone", "small_cnn", "--name", "out"), "'small_cnn' takes no weights"),
        (("made", "--backbone", "small_cnn", "--name", "made"), "exists already"),
        (("made", "--backbone", "small_cnn", "--name", "../out"), "--name: '../out' can't be a name; use letters"),
        (("mode", "--backbone", "small_cnn", "--name", "out"), "did you mean 'made'"),
        (
            ("pacs", "--backbone", "resnet18", "--name", "out"),
            "pacs is not in the data folder yet; see: ndcl data show",
        ),
        (("made", "--backbone", "resnet18", "--weights", "none.pt", "--name", "out"), "no file 'none.pt'"),
    ],
)
def test_mistakes_in_embedding_are_one_line(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in error_of("embed", *arguments, "--device", "cpu", "--folder", folder)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["made"]


def test_stopped_it_says_that_nothing_was_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: features.Extractor, images: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(features.Extractor, "__call__", stop)
    options = ("--backbone", "small_cnn", "--weights", "none", "--device", "cpu", "--name", "out")
    result = run("embed", "made", *options, "--folder", folder)
    assert result.exit_code == 130
    assert "nothing was written; run the same command to start again" in result.stderr
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["made"]


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    file = io.StringIO()
    show_progress(iter([4, 8, 12]), 12, "set by net", Console(file=file, width=80))
    assert file.getvalue().splitlines() == [f"set by net: {done} of 12 images" for done in (4, 8, 12)]
    file = io.StringIO()
    show_progress(iter([4, 12]), 12, "set by net", Console(file=file, width=80, force_terminal=True))
    assert "set by net" in file.getvalue()
    assert "of 12 images" not in file.getvalue()


def test_imbalance_shows_every_target(folder: Path) -> None:
    result = run("imbalance", "made", "--setting", "long_tail", "--ratio", 3, "--folder", folder)
    assert result.exit_code == 0, result.output
    for domain in ("art", "photo", "sketch"):
        assert f"target {domain}: training images of its source domains" in result.stdout
    assert "made, long_tail, ratio 3" in result.stdout
    assert "many-shot above 100" in result.stdout


def test_imbalance_of_one_target_with_other_keys_and_a_picture(folder: Path) -> None:
    options = ("--set", "validation=2", "--set", "imbalance.many_above=15", "--set", "few_below=9.5")
    picture = folder / "new" / "picture.png"
    result = run("imbalance", "made", "--target", "art", *options, "--picture", picture, "--folder", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("training images of its source domains") == 1
    assert "many-shot above 15 " in result.stdout
    assert "few-shot below 9.5" in result.stdout
    assert f"picture: {picture}" in result.stdout
    with Image.open(picture) as image:
        assert image.format == "PNG"


def test_a_parameter_of_a_generator_can_be_given(folder: Path) -> None:
    options = ("--setting", "imbalanced_classes", "--set", "parameters.total=5", "--target", "art")
    assert run("imbalance", "made", *options, "--folder", folder).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("made", "--setting", "longtail"), "did you mean 'long_tail'"),
        (("made", "--setting", "natural", "--ratio", "3"), "imbalance.ratio: the setting natural does not use it"),
        (("made", "--set", "validaton=3"), "did you mean 'validation'"),
        (("made", "--set", "validation"), "expected key=value"),
        (("made", "--set", "counts=[1"), "not valid YAML"),
        (("made", "--target", "photos"), "did you mean 'photo'"),
        (("mode",), "did you mean 'made'"),
        (("made", "--picture", "p.xyz"), "must end in .png or .pdf or .svg"),
    ],
)
def test_mistakes_in_a_setting_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(folder)
    assert words in error_of("imbalance", *arguments, "--folder", folder)
    assert not (folder / "p.xyz").exists()


def test_targets_that_a_setting_does_not_suit_are_named_beside_the_others(tmp_path: Path) -> None:
    make_store(tmp_path / "made", np.array([[40, 24, 9], [30, 20, 30], [50, 30, 30]]))
    result = run("imbalance", "made", "--setting", "long_tail", "--ratio", 8, "--folder", tmp_path)
    assert result.exit_code == 2
    assert "target art: training images" in result.stdout
    assert "target photo, sketch: imbalance.ratio: 8 needs 8 training images of every class" in result.stderr


def test_a_set_of_the_catalogue_is_shown_before_it_is_there(tmp_path: Path) -> None:
    result = run("imbalance", "pacs", "--setting", "released/total_heavy_tail", "--folder", tmp_path)
    assert result.exit_code == 0, result.output
    assert "353" in result.stdout, "training images of elephants in cartoons for the target art_painting"
    assert "PACS is not in the data folder; these are the numbers of the catalogue" in result.stdout
    make_store(tmp_path / "pacs", COUNTS)
    assert "catalogue" not in run("imbalance", "PACS", "--folder", tmp_path).stdout


def test_a_single_domain_cannot_be_shown(tmp_path: Path) -> None:
    make_store(tmp_path / "made", np.array([[4, 4, 4]]), domains=("art",))
    assert "has a single domain" in error_of("imbalance", "made", "--folder", tmp_path)
