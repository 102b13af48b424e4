"""An exported ensemble answers as its members do together, in every format, of images and of vectors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ndcl
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.evaluation.ensembles import Combination, combined, disagreement
from ndcl.models.mean import MeanState
from ndcl.serving import FORMATS, Model, export
from ndcl.serving.pyfunc import Served
from ndcl.training import Training
from ndcl.training.ensembling import are_heads
from ndcl.training.weight_averaging import averaged_logits
from tests.made.made_model import DIGITS, trained
from tests.made.made_store import make_store

torch.set_num_threads(1)
SIZE = 3
AVERAGED = Combination(of="probabilities", scales=(1.0,) * SIZE, temperature=1.7)
Made = tuple[list[Training], list[Path]]


def several(folder: Path, values: dict[str, Any]) -> Made:
    paths = [folder / f"checkpoint-{seed}" for seed in range(SIZE)]
    configs = [TrainConfig.from_dict(values | {"seed": seed}) for seed in range(SIZE)]
    return [trained(path, config) for path, config in zip(paths, configs, strict=True)], paths


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return several(tmp_path_factory.mktemp("images"), DIGITS)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("vectors")
    store = make_store(folder / "set", np.full((3, 3), 12), shape=(7,))
    imbalance = {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2}
    data = {"name": str(store.folder), "target": "photo", "standardize": True}
    return several(folder, DIGITS | {"data": data, "imbalance": imbalance, "model": {"backbone": "linear"}})


def rows_of(made: Made) -> np.ndarray:
    return made[0][0].problem.target_test[:40]


def logits_of(made: Made) -> torch.Tensor:
    """[k, n, K] of the trainings themselves."""
    return torch.stack([training.logits(rows_of(made)) for training in made[0]])


def inputs_of(made: Made) -> torch.Tensor:
    return made[0][0].problem.store.inputs(rows_of(made))


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("form", FORMATS)
def test_probabilities_are_averaged(kind: str, form: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Made = request.getfixturevalue(kind)
    description = export(made[1], tmp_path / "model", form, combination=AVERAGED)
    assert description.members is not None
    assert len(description.members.models) == SIZE
    assert description.origin["seeds"] == [0, 1, 2]
    model, logits = ndcl.load_model(tmp_path / "model"), logits_of(made)
    found = model.predict(inputs_of(made).numpy())
    mean = logits.softmax(dim=2).mean(dim=0)
    assert found.class_ids.tolist() == mean.argmax(dim=1).tolist()
    expected = (mean.log() / AVERAGED.temperature).softmax(dim=1)
    assert found.probabilities == pytest.approx(expected.numpy(), abs=1e-5)
    assert found.disagreement == pytest.approx(disagreement(logits).numpy(), abs=1e-5)
    one = model.predict(inputs_of(made)[:1].numpy())  # of any size
    assert one.disagreement == pytest.approx(found.disagreement[:1], abs=1e-5)
    assert len(model.predict(inputs_of(made)[:0].numpy())) == 0


@pytest.mark.parametrize("form", FORMATS)
def test_averaged_heads_are_one_head(vectors: Made, form: Any, tmp_path: Path) -> None:
    chosen = Combination(of="logits", scales=(0.5, 1.0, 1.5), temperature=2.0)
    description = export(vectors[1], tmp_path / "model", form, combination=chosen)
    assert description.members is None
    found = ndcl.load_model(tmp_path / "model").predict(inputs_of(vectors).numpy())
    expected = combined(logits_of(vectors), chosen)
    assert found.probabilities == pytest.approx(expected.softmax(dim=1).numpy(), abs=1e-5)
    assert found.disagreement is None


@pytest.mark.parametrize("form", FORMATS)
def test_members_may_transform_their_inputs_differently(vectors: Made, form: Any, tmp_path: Path) -> None:
    first = vectors[0][0].config
    other = replace(first, data=replace(first.data, transform="sqrt"))
    rooted = trained(tmp_path / "rooted", other)
    assert not are_heads([first, other])
    rows = rows_of(vectors)
    logits = torch.stack([rooted.logits(rows), vectors[0][0].logits(rows)])
    for of in ("probabilities", "logits"):
        chosen = Combination(of=of, scales=(1.0, 0.5))
        folder = tmp_path / of
        description = export([tmp_path / "rooted", vectors[1][0]], folder, form, combination=chosen)
        assert description.transforms == ("sqrt", "none")
        found = ndcl.load_model(folder).predict(inputs_of(vectors).numpy())
        assert found.probabilities == pytest.approx(combined(logits, chosen).softmax(dim=1).numpy(), abs=1e-5)


def test_the_members_networks_are_bit_identical_and_the_file_holds_just_them(images: Made, tmp_path: Path) -> None:
    export(images[1], tmp_path / "all")
    export(images[1][0], tmp_path / "one")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("one", "all")]
    assert sizes[1] < SIZE * sizes[0] + 10_000
    model = ndcl.load_model(tmp_path / "all")
    expected = combined(logits_of(images), Combination(of="probabilities", scales=(1.0,) * SIZE))
    assert torch.equal(model.logits(inputs_of(images)), expected)


@pytest.mark.parametrize("form", FORMATS)
def test_averaged_weights_are_one_network(images: Made, form: Any, tmp_path: Path) -> None:
    chosen = Combination(of="weights", scales=(1.0,) * SIZE, temperature=2.0)
    description = export(images[1], tmp_path / "model", form, combination=chosen)
    assert description.members is None
    assert (description.origin["seeds"], description.origin["averaged"]) == ([0, 1, 2], "weights")
    mean = MeanState()
    for training in images[0]:
        mean.add(training.network.state_dict())
    problem, config = images[0][0].problem, images[0][0].config
    expected = averaged_logits(config, problem, mean.state())[-1][:40]  # of the target's test images
    model = ndcl.load_model(tmp_path / "model")
    if form == "safetensors":
        assert torch.equal(model.logits(inputs_of(images)), expected)
    found = model.predict(inputs_of(images).numpy())
    assert found.probabilities == pytest.approx((expected / 2).softmax(dim=1).numpy(), abs=1e-5)
    assert found.disagreement is None


def test_a_temperature_changes_probabilities_and_no_logit(images: Made, tmp_path: Path) -> None:
    cold = Combination(of="probabilities", scales=(1.0,), temperature=0.5)
    export([images[1][0]], tmp_path / "model", combination=cold)
    model = ndcl.load_model(tmp_path / "model")
    logits = logits_of(images)[0]
    assert torch.equal(model.logits(inputs_of(images)), logits)
    found = model.predict(inputs_of(images).numpy()).probabilities
    assert found == pytest.approx((2 * logits).softmax(dim=1).numpy(), abs=1e-6)


def test_a_table_of_mlflow_has_the_disagreement(images: Made, tmp_path: Path) -> None:
    export(images[1], tmp_path / "model")
    model = ndcl.load_model(tmp_path / "model")
    table = Served(model).predict(inputs_of(images).numpy())
    assert table["disagreement"].to_numpy() == pytest.approx(disagreement(logits_of(images)).numpy(), abs=1e-5)


def test_members_of_other_classes_are_refused(images: Made, vectors: Made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its classes are not those of the others"):
        export([images[1][0], vectors[1][0]], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_of_the_first_version_still_opens(images: Made, tmp_path: Path) -> None:
    export(images[1][0], tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    values = json.loads(path.read_text())
    del values["members"], values["temperature"]
    path.write_text(json.dumps(values | {"version": 1}))
    found = Model.load(tmp_path / "model").predict(inputs_of(images).numpy())
    assert found.probabilities == pytest.approx(logits_of(images)[0].softmax(dim=1).numpy(), abs=1e-6)
