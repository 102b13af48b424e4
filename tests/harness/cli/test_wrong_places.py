"""Places that can't be written and names that are refused: one line each, before anything is done."""

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.cli.mlflow import _claim
from harness.records import Journal
from harness.storage import locked
from harness.sweep.prepare import prepare
from ndcl.errors import UserError
from tests.harness.command_line import error_of, run
from tests.integration import sweeps
from tests.made.made_lists import put_images
from tests.made.made_records import record
from tests.made.made_sweep import NAME, made_sweep

NOT_WRITABLE = ("file", "file/below", "/proc/nothing")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    made_sweep(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.parametrize("verb", ["export", "distill", "deploy"])
@pytest.mark.parametrize("place", NOT_WRITABLE)
def test_a_model(verb: str, place: str, here: Path) -> None:
    """It shows before the sweep is looked at, of which there is none."""
    error = error_of(verb, "no-such-sweep", "--to", place)
    if (verb, place) == ("deploy", "file"):
        assert "--to file: it exists already" in error
    else:
        assert f"--to {place}: it can't be written (" in error
        assert "give another folder" in error


@pytest.mark.parametrize("verb", ["export", "distill", "deploy"])
def test_a_sweep_that_has_begun_no_training(verb: str, here: Path) -> None:
    (here / "results" / "mine").mkdir(parents=True)
    (here / "results" / "mine" / "sweep.yaml").write_text("name: mine")
    command = (verb, "mine", "--to", "new/models")
    begun = "sweep 'mine' has begun no training yet;"
    assert f"{begun} continue with: ndcl sweep results/mine/sweep.yaml" in error_of(*command)
    with locked(here / "results" / "mine"):
        assert f"{begun} the sweep is running; wait for it, and see: ndcl status mine" in error_of(*command)
    assert not (here / "new").exists()


@pytest.mark.parametrize("verb", ["export", "distill", "deploy"])
def test_a_sweep_that_runs_in_another_process(verb: str, here: Path) -> None:
    plan = sweeps.planned(sweeps.written(here), Path("results"))
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    Journal(plan.folder).write(record(0, "running", steps=(), of=plan.studies[0].key))
    command = (verb, "tiny", "--to", "new/models")
    with locked(plan.folder):
        error = error_of(*command)
    assert error.endswith("; the sweep is running; wait for it, and see: ndcl status tiny")
    assert "continue with: ndcl sweep" in error_of(*command)


@pytest.mark.parametrize("place", NOT_WRITABLE)
def test_a_data_folder(place: str, here: Path) -> None:
    put_images(here / "photos", ["a/x/1.jpg", "a/y/2.jpg", "b/x/3.jpg", "b/y/4.jpg"])
    for form in ("raw", "jpeg"):
        command = ("data", "import", "photos", "--name", "mine", "--jobs", 1, "--folder", place, "--format", form)
        assert f"{place}/mine cannot be written (" in error_of(*command).replace(f"{place} ", f"{place}/mine ")


def test_the_folder_of_a_data_set_that_is_made(here: Path) -> None:
    assert "file/digits cannot be written (" in error_of("data", "show", "digits", "--folder", "file")


@pytest.mark.parametrize("place", ["file/x.png", "/proc/x.png"])
def test_pictures(place: str, here: Path) -> None:
    for command in (("data", "show", "digits", "--out"), ("data", "imbalance", "digits", "--picture")):
        result = run(*command, place, "--folder", here)
        assert result.exit_code == 2
        assert f"{place}: it can't be written (" in result.stderr


def test_a_picture_of_another_kind_is_refused_before_any_output(here: Path) -> None:
    for command in (("data", "show", "digits", "--out"), ("data", "imbalance", "digits", "--picture")):
        result = run(*command, "x.txt", "--folder", here)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "x.txt: its name must end in .png" in result.stderr


def test_figures(here: Path) -> None:
    study = sweeps.planned(sweeps.written(here), here).studies[0].key
    Journal(here / "tiny").write(record(0, of=study))
    (here / "tiny" / "figures").write_text("")
    result = run("report", "tiny", "--results", here, "--figures")
    assert result.exit_code == 2
    assert f"{here / 'tiny'}: it can't be written (File exists); make it writable" in result.stderr


@pytest.mark.parametrize("verb", [("sync", "tiny"), ("ui",), ("export", "tiny", "--mlflow"), ("report", "tiny")])
def test_results_that_may_only_be_read(verb: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = sweeps.planned(sweeps.written(here), Path("results"))
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    Journal(plan.folder).write(record(0, of=plan.studies[0].key))
    Path("results/mlflow.db").write_text("")
    opened = Path.open

    def read_only(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode == "r" or plan.results.resolve() not in path.resolve().parents:
            return opened(path, mode, *rest, **more)
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", read_only)  # for root, too, who may write everywhere
    result = run(*verb)
    assert result.exit_code == 2
    error = result.stderr.replace(f"{here}/", "").splitlines()[-1]
    folder = "results/tiny" if verb[0] in ("sync", "report") else "results"
    assert error.startswith(
        f"ndcl: error: {folder}: it can't be written (Permission denied); make it writable, or copy"
    )
    assert error.endswith("to a folder of your own and give that by --results")


def test_results_of_a_sweep(here: Path) -> None:
    sweep = sweeps.written(here)
    for place in (*NOT_WRITABLE, "long" * 100):
        assert "it can't be written (" in error_of("sweep", sweep, "--results", place)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--register", "foo/bar:x"), "--register 'foo/bar:x': MLflow takes no such name (Invalid model name"),
        (("--register", ""), "--register '': MLflow takes no such name"),
        (("--register", "good", "--alias", "v1"), "--alias 'v1': MLflow takes no such name"),
        (("--register", "good", "--alias", "latest"), "--alias 'latest': MLflow takes no such name"),
        (("--register", "good", "--alias", "ü x"), "--alias 'ü x': MLflow takes no such name"),
        (("--register", "good", "--alias", ""), "--alias '': MLflow takes no such name"),
    ],
)
def test_names_of_registered_models(results: Path, here: Path, options: tuple[str, ...], words: str) -> None:
    [study] = {record.study.name for record in Journal(results / NAME).read()}
    command = ("export", NAME, "--results", results, "--study", study, "--to", "models", *options)
    assert words in error_of(*command)
    assert not (here / "models").exists()


def test_a_port_that_is_taken(here: Path) -> None:
    (here / "results").mkdir()
    (here / "results" / "mlflow.db").write_text("")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("ui", "--port", port)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--port {port}: it can't be taken (Address already in use); give another --port" in result.stderr
    _claim(port)
    with pytest.raises(UserError, match="Address already in use"):  # by the first, which has not taken the port yet
        _claim(port)
