"""Selected models in a real MLflow store: loaded in both ways, registered, and served by MLflow's own server."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

import ndcl
from harness.config.tracking_uri import artifact_folder, store_uri
from harness.records import Journal, TrialRecord, best_checkpoint
from harness.state import StudySummary
from harness.state.selected_models import selected_models
from harness.storage.folder import sweep_id
from harness.tracking.models import _Flavour, log_model
from harness.tracking.tracker import Tracker
from ndcl.config import TrainConfig
from ndcl.data.store.decoding import decode, resize
from ndcl.data.transforms import to_inputs
from ndcl.errors import UserError
from ndcl.serving import export
from ndcl.serving.exporting import open_checkpoints
from ndcl.training import Training
from tests.made.made_images import encoded, noise
from tests.made.made_model import DIGITS, trained
from tests.made.made_records import key, record
from tests.made.made_store import make_store
from tests.made.made_sweep import NAME, made_sweep, trained_again
from tests.servers.listening import listeners
from tests.servers.ports import free_port

torch.set_num_threads(1)
SECONDS = 120


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, TrialRecord]:
    """Results, the folder of a sweep that MLflow knows, and the record that it settles on."""
    results = tmp_path_factory.mktemp("results")
    folder = made_sweep(results)
    tracker = Tracker(results, NAME, sweep_id(folder))
    tracker.start()
    tracker.push(StudySummary(key=key(), stage="done", num_planned=2))
    tracker.close(SECONDS)
    assert tracker.problem is None
    [selected] = selected_models(Journal(folder).read(), 1)
    return results, folder, selected


@pytest.fixture(scope="module")
def training(sweep: tuple[Path, Path, TrialRecord]) -> Training:
    return trained_again(sweep[2])


@pytest.fixture(scope="module")
def uri(sweep: tuple[Path, Path, TrialRecord]) -> Iterator[str]:
    """The logged model's, registered as `digits`, champion."""
    made = log_model(*sweep, registered="digits", alias="champion")
    assert not mlflow.is_tracking_uri_set()
    mlflow.set_tracking_uri(store_uri(sweep[0]))
    yield made
    mlflow.set_tracking_uri(None)


def images() -> list[bytes]:
    return [encoded(noise(seed, 30, 40)) for seed in range(3)]


def expected(training: Training, contents: list[bytes], temperature: float) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, probabilities and margins by the training's own network, at the temperature that was fitted."""
    batch = torch.stack([resize(decode(content), (28, 28)).permute(1, 2, 0) for content in contents])
    with torch.inference_mode():
        probabilities = (training.network.eval()(to_inputs(batch)) / temperature).softmax(dim=1)
    two = probabilities.topk(2)
    names = [training.problem.store.classes[k] for k in two.indices[:, 0]]
    return names, two.values[:, 0].numpy(), (two.values[:, 0] - two.values[:, 1]).numpy()


def temperature_of(record: TrialRecord) -> float:
    best = best_checkpoint(record)
    assert best is not None
    return float(best["calibration"]["temperature"])


def assert_predicted(rows: pd.DataFrame, wanted: tuple[list[str], np.ndarray, np.ndarray]) -> None:
    assert rows["class"].tolist() == wanted[0]
    assert rows["probability"].to_numpy() == pytest.approx(wanted[1], abs=1e-5)
    assert rows["margin"].to_numpy() == pytest.approx(wanted[2], abs=1e-5)


def test_the_model_hangs_on_its_studys_run_and_is_registered(sweep: tuple[Path, Path, TrialRecord], uri: str) -> None:
    client = MlflowClient(store_uri(sweep[0]))
    [run] = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert run.data.tags["ndcl.name"] == key().name
    [output] = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.name, logged.source_run_id, logged.status) == ("model", run.info.run_id, LoggedModelStatus.READY)
    assert logged.experiment_id == run.info.experiment_id
    assert logged.artifact_location.startswith(artifact_folder(sweep[0]).as_uri())
    assert logged.tags["trial"] == sweep[2].name
    version = client.get_model_version_by_alias("digits", "champion")
    assert (str(version.version), version.source) == ("1", f"models:/{output.model_id}")
    assert uri == "models:/digits/1"


def test_logging_it_again_makes_no_other(sweep: tuple[Path, Path, TrialRecord], uri: str) -> None:
    client = MlflowClient(store_uri(sweep[0]))
    [run] = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    [output] = run.outputs.model_outputs
    client.create_logged_model(  # as by a process that was killed while it wrote the files
        run.info.experiment_id, "model", source_run_id=run.info.run_id, tags={"trial": sweep[2].name}
    )
    assert log_model(*sweep, registered="digits", alias="champion") == uri
    assert log_model(*sweep) == f"models:/{output.model_id}"
    assert [model.model_id for model in client.search_logged_models([run.info.experiment_id])] == [output.model_id]
    assert len(client.search_model_versions("name = 'digits'")) == 1


def test_it_has_a_signature_and_an_input_example(uri: str, tmp_path: Path) -> None:
    info = mlflow.models.get_model_info(uri)
    assert [(column.name, column.type.name) for column in info.signature.inputs] == [("image", "binary")]
    assert info.signature.outputs.input_names() == ["class", "class_id", "probability", "margin"]
    assert set(info.flavors) == {"python_function", "pytorch"}
    local = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    example = mlflow.models.Model.load(local).load_input_example(local)
    assert len(mlflow.pyfunc.load_model(uri).predict(example)) == 1


def test_pyfunc_predicts_as_the_training(sweep: tuple[Path, Path, TrialRecord], uri: str, training: Training) -> None:
    loaded = mlflow.pyfunc.load_model("models:/digits@champion")
    rows = loaded.predict(pd.DataFrame({"image": images()}))
    assert_predicted(rows, expected(training, images(), temperature_of(sweep[2])))


def test_the_pytorch_flavour_predicts_as_the_training(uri: str, training: Training) -> None:
    loaded = mlflow.pytorch.load_model(uri)
    rows = np.arange(0, 90, 2)
    batch = training.problem.store.inputs(rows)
    wanted = training.logits(rows)
    with torch.inference_mode():
        for count in (1, 2, len(rows)):
            assert loaded(batch[:count]).numpy() == pytest.approx(wanted[:count].numpy(), abs=1e-6)


def test_the_model_without_mlflow_is_inside(uri: str, training: Training, tmp_path: Path) -> None:
    local = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    model = ndcl.load_model(local / "data" / "model")
    rows = np.arange(0, 90, 2)
    assert torch.equal(model.logits(model.prepare(training.problem.store.inputs(rows))), training.logits(rows))


def test_models_of_vectors_have_both_flavours(tmp_path: Path) -> None:
    store = make_store(tmp_path / "vectors", np.full((3, 3), 12), shape=(7,))
    imbalance = {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2}
    values = DIGITS | {"data": {"name": str(store.folder), "target": "photo"}, "imbalance": imbalance}
    made = trained(tmp_path / "checkpoint", TrainConfig.from_dict(values | {"model": {"backbone": "linear"}}))
    description = export(tmp_path / "checkpoint", tmp_path / "exported")
    path = str(tmp_path / "model")
    servable, _ = open_checkpoints([tmp_path / "checkpoint"], store.digest)
    flavour = _Flavour(tmp_path / "exported", servable, description)
    flavour.save_model(path, mlflow.models.Model())
    rows = np.arange(20)
    vectors, wanted = store.inputs(rows), made.logits(rows)
    found = mlflow.pyfunc.load_model(path).predict(vectors.numpy())
    assert found["class_id"].tolist() == wanted.argmax(1).tolist()
    assert found["probability"].to_numpy() == pytest.approx(wanted.softmax(1).amax(1).numpy(), abs=1e-5)
    assert mlflow.pytorch.load_model(path)(vectors).detach().numpy() == pytest.approx(wanted.numpy(), rel=1e-5)


def test_a_study_without_a_run_is_told(sweep: tuple[Path, Path, TrialRecord], uri: str) -> None:
    other = record(0, stage="final", of=key(target="sign"))
    with pytest.raises(UserError, match="has no run in MLflow; complete it with: ndcl sync made"):
        log_model(sweep[0], sweep[1], other)


def test_the_server_answers_an_image_request(
    sweep: tuple[Path, Path, TrialRecord], uri: str, training: Training, tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri"]
    command += ["models:/digits@champion", "--host", "127.0.0.1", "--port", str(port)]
    # Neither this checkout nor its data: the model brings what it needs.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": store_uri(sweep[0]), "NDCL_DATA": "/nowhere"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])  # for uvicorn
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        content = [[base64.b64encode(image).decode()] for image in images()]
        answer = _asked(port, {"dataframe_split": {"columns": ["image"], "data": content}}, process, tmp_path / "log")
        assert {address for address, _ in listeners(process.pid)} == {"127.0.0.1"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert_predicted(pd.DataFrame(answer["predictions"]), expected(training, images(), temperature_of(sweep[2])))


def _asked(port: int, body: Any, process: "subprocess.Popen[bytes]", log: Path) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    for _ in range(900):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())
