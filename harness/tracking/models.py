"""Selected models as MLflow models, on the runs of their studies.

A logged model has two flavours. `python_function` takes image files and holds the exported model of `ndcl.serving`,
with its preprocessing; `pytorch` takes batches as the network does and holds the same as a `torch.export` program. The
code of `ndcl` travels with both, so that only public packages have to be installed where it is used.
"""

import contextlib
import io
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ndcl
from harness.config.commands import ndcl_command
from harness.config.tracking_uri import tracking_uri
from harness.plan.sweep_file import configured_uri
from harness.records import TrialRecord
from harness.state.selected_models import checkpoint_of, combination_of, export_model, members_of, recorded_digest
from harness.storage.folder import sweep_id
from harness.tracking.client import open_client
from harness.tracking.runs import NAME, SWEEP_ID, all_runs
from ndcl.errors import UserError
from ndcl.serving import Description
from ndcl.serving.description import Inputs
from ndcl.serving.exporting import example_batch, open_checkpoints
from ndcl.serving.formats import Servable
from ndcl.serving.pyfunc import IMAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model, ModelSignature

MODEL_NAME = "model"
PROGRAM_FOLDER = "program"
REQUIREMENTS = ("torch", "torchvision", "numpy", "pandas", "pillow", "pyarrow", "safetensors")
"""What a logged model needs to be used, beside MLflow."""


def require_names(registered: str, alias: str | None) -> None:
    """Raise UserError if MLflow takes no registered model, or no alias, of that name."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    try:
        validation._validate_model_name(registered)
    except MlflowException as error:
        raise _refused("--register", registered, error) from None
    try:
        if alias is not None:
            validation._validate_model_alias_name(alias)
            validation._validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        raise _refused("--alias", alias, error) from None


def _refused(option: str, name: str | None, error: "MlflowException") -> UserError:
    return UserError(f"{option} {name!r}: MLflow takes no such name ({error.message.rstrip('.')}); give another")


def log_model(
    results: Path,
    folder: Path,
    record: TrialRecord,
    records: Sequence[TrialRecord] = (),
    registered: str | None = None,
    alias: str | None = None,
) -> str:
    """Log the model of a record of the sweep at `folder` on its study's run, unless it is there; returns its URI.

    The members of an ensemble are among `records`.

    With `registered` it becomes the newest version of that registered model, unless it is one, and `alias` then points
    to it. Raises UserError if the sweep's run or checkpoint is missing.
    """
    configured = configured_uri(folder)
    client = open_client(results, configured)
    run = _study_run(client, folder, record)
    with _quiet(), _default_store(tracking_uri(results, configured)):
        model_id = _logged_model(client, run, record) or _log(client, run, folder, record, records)
        if registered is None:
            return f"models:/{model_id}"
        number = _version_of(client, registered, model_id)
        if alias:
            client.set_registered_model_alias(registered, alias, number)
    return f"models:/{registered}/{number}"


def _logged_model(client: "MlflowClient", run: "Run", record: TrialRecord) -> str | None:
    """Id of the training's model on the run; what a killed process left of one is removed."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    own = [model for model in found if model.tags.get("trial") == record.name]
    for model in own:
        if model.status != "READY":
            client.delete_logged_model(model.model_id)
    return next((str(model.model_id) for model in own if model.status == "READY"), None)


def _log(client: "MlflowClient", run: "Run", folder: Path, record: TrialRecord, records: Sequence[TrialRecord]) -> str:
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="ndcl-model-") as name:
        exported = Path(name) / MODEL_NAME
        description = export_model(folder, record, records, exported, "safetensors")
        checkpoints = [checkpoint_of(folder, member) for member in members_of(record, records)]
        servable, _ = open_checkpoints(checkpoints, recorded_digest(folder, record), combination_of(record))
        flavour = _Flavour(exported, servable, description)
        # Made here, because MLflow would put it into its default experiment, and its files into ./mlruns.
        logged = client.create_logged_model(
            run.info.experiment_id, MODEL_NAME, source_run_id=run.info.run_id, tags={"trial": record.name}
        )
        Model.log(None, flavour, run_id=run.info.run_id, model_id=logged.model_id)
    return str(logged.model_id)


def _version_of(client: "MlflowClient", registered: str, model_id: str) -> str:
    """The version of the registered model that the logged model is, made if there is none."""
    import mlflow

    source = f"models:/{model_id}"
    for known in client.search_model_versions(f"name = '{registered}'"):
        if known.source == source:
            return str(known.version)
    return str(mlflow.register_model(source, registered).version)


@contextlib.contextmanager
def _default_store(uri: str) -> Iterator[None]:
    """Make it the store of those of MLflow's functions that take none, and so, for as long, MLFLOW_TRACKING_URI."""
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _study_run(client: "MlflowClient", folder: Path, record: TrialRecord) -> "Run":
    """The run of the record's study."""
    experiment = client.get_experiment_by_name(folder.name)
    wanted = f"tags.role = 'study' and tags.`{SWEEP_ID}` = '{sweep_id(folder)}'"  # a name may hold quotes
    runs = all_runs(client, experiment.experiment_id, wanted) if experiment else iter(())
    run: Run | None = next((run for run in runs if run.data.tags[NAME] == record.study.name), None)
    if run is None:
        sync = ndcl_command("sync", folder.name, results=folder.parent)
        raise UserError(f"study {record.study.name} has no run in MLflow; complete it with: {sync}")
    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's and torch's remarks on what they write."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class _Flavour:
    """What MLflow calls to write a model's files."""

    __name__ = "ndcl"

    def __init__(self, exported: Path, servable: Servable, description: Description) -> None:
        self._exported, self._servable, self._inputs = exported, servable, description.inputs
        self._is_ensemble = description.members is not None

    def save_model(self, path: str, mlflow_model: "Model", **_: Any) -> None:
        """Write both flavours below `path`."""
        import mlflow

        mlflow.pyfunc.save_model(
            path,
            loader_module="ndcl.serving.pyfunc",
            data_path=str(self._exported),
            code_paths=[str(Path(ndcl.__file__).parent)],
            mlflow_model=mlflow_model,
            signature=_signature(self._inputs, is_ensemble=self._is_ensemble),
            input_example=_example(self._inputs),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in ("mlflow", *REQUIREMENTS)],
        )
        flavours = mlflow_model.flavors
        flavours["pytorch"] = self._save_program(Path(path) / PROGRAM_FOLDER) | {
            "model_data": PROGRAM_FOLDER,
            "code": flavours["python_function"]["code"],
        }
        mlflow_model.save(str(Path(path) / "MLmodel"))

    def _save_program(self, to: Path) -> dict[str, Any]:
        """Write the network as MLflow's own pytorch flavour does; returns what it says of it."""
        import mlflow
        from mlflow.models import Model, ModelSignature

        model = Model()
        with tempfile.TemporaryDirectory(prefix="ndcl-program-") as name:
            mlflow.pytorch.save_model(
                self._servable,
                name,
                mlflow_model=model,
                signature=ModelSignature(inputs=_tensor_schema(self._inputs)),
                input_example=example_batch(self._inputs).numpy(),
                pip_requirements=["torch"],
                serialization_format="pt2",
            )
            flavour: dict[str, Any] = model.flavors["pytorch"]
            shutil.copytree(Path(name) / flavour["model_data"], to)
        return flavour


def _signature(inputs: Inputs, *, is_ensemble: bool) -> "ModelSignature":
    """Image files, or vectors, to a row for each."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = {"class": "string", "class_id": "long", "probability": "double", "margin": "double"}
    columns |= {"disagreement": "double"} if is_ensemble else {}
    images = Schema([ColSpec("binary", IMAGE)])
    given = _tensor_schema(inputs) if inputs.kind == "vectors" else images
    return ModelSignature(inputs=given, outputs=Schema([ColSpec(kind, name) for name, kind in columns.items()]))


def _tensor_schema(inputs: Inputs) -> Any:
    """A batch of any size, as the network takes it."""
    from mlflow.types import Schema, TensorSpec

    kind = np.dtype(np.float32 if inputs.kind == "vectors" else np.uint8)
    return Schema([TensorSpec(kind, (-1, *inputs.shape))])


def _example(inputs: Inputs) -> Any:
    """Inputs of the kind that the model takes, but none of anybody's data: a gray image, or zeros."""
    if inputs.kind == "vectors":
        return example_batch(inputs).numpy()
    import pandas as pd
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (inputs.shape[1], inputs.shape[0]), "gray").save(file, "PNG")
    return pd.DataFrame({IMAGE: [file.getvalue()]})
