"""An exported model predicts what the training's evaluation predicts, whatever its format and whatever it is given."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import resnet18

import ndcl
from ndcl.config import ModelConfig, TrainConfig
from ndcl.data import Store, StoreWriter
from ndcl.data.importing.images import Conversion, convert
from ndcl.data.transforms import to_inputs
from ndcl.errors import UserError
from ndcl.models import BACKBONES, build_network
from ndcl.serving import FORMATS, Description, Model, export
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import WEIGHTS, Inputs
from ndcl.serving.exporting import example_batch
from ndcl.serving.formats import read_weights, write_weights
from ndcl.training import Training, build_training
from tests.made.made_images import encoded, noise, quadrants
from tests.made.made_model import DIGITS, trained
from tests.made.made_photos import make_photos, photo_config
from tests.made.made_store import CLASSES, DOMAINS, make_store

torch.set_num_threads(1)
ROWS = np.arange(0, 60, 2)
NOT_BIT_EQUAL = {"onnx"}
"""Formats that another library computes."""


def assert_agree(model: Model, found: Tensor, expected: Tensor) -> None:
    if model.description.format in NOT_BIT_EQUAL:
        assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    else:
        assert torch.equal(found, expected)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Path]:
    checkpoint = tmp_path_factory.mktemp("digits") / "checkpoint"
    return trained(checkpoint, TrainConfig.from_dict(DIGITS)), checkpoint


@pytest.fixture(scope="module", params=FORMATS)
def model(request: pytest.FixtureRequest, digits: tuple[Training, Path], tmp_path_factory: Any) -> Model:
    folder = tmp_path_factory.mktemp("models") / request.param
    export(digits[1], folder, request.param, {"trial": "made by hand"})
    return ndcl.load_model(folder)


def test_logits_are_those_of_the_evaluation(model: Model, digits: tuple[Training, Path]) -> None:
    training = digits[0]
    rows = training.problem.target_test
    images = training.problem.store.inputs(rows)
    assert_agree(model, model.logits(model.prepare(images)), training.logits(rows))
    assert model.predict(images.numpy()).class_ids.tolist() == training.predict(rows).tolist()


def test_a_batch_may_have_any_size(model: Model, digits: tuple[Training, Path]) -> None:
    images = digits[0].problem.store.inputs(ROWS[:5])
    together = model.predict(images).probabilities
    for count in (0, 1, 3):
        assert model.predict(images[:count]).probabilities == pytest.approx(together[:count], abs=1e-6)


def test_predictions_are_names_probabilities_and_margins(model: Model, digits: tuple[Training, Path]) -> None:
    training = digits[0]
    found = model.predict(training.problem.store.inputs(ROWS))
    expected = training.logits(ROWS).softmax(dim=1)
    assert found.probabilities == pytest.approx(expected.numpy(), abs=1e-5)
    assert found.names == tuple(training.problem.store.classes[k] for k in expected.argmax(1))
    two = expected.topk(2).values
    assert found.confidences == pytest.approx(two[:, 0].numpy(), abs=1e-5)
    assert found.margins == pytest.approx((two[:, 0] - two[:, 1]).numpy(), abs=1e-5)
    assert len(found) == len(ROWS)


def test_the_description_tells_the_origin(model: Model, digits: tuple[Training, Path]) -> None:
    training, description = digits[0], model.description
    assert training.best is not None
    assert description.origin["step"] == training.best["step"]
    assert description.origin["trial"] == "made by hand"
    assert description.origin["data"]["digest"] == training.problem.store.digest
    assert TrainConfig.from_dict(description.origin["config"]) == training.config
    assert description.classes == training.problem.store.classes


def test_the_best_network_is_exported_not_the_newest(tmp_path: Path) -> None:
    training = trained(tmp_path / "checkpoint", TrainConfig.from_dict(DIGITS | {"num_steps": 2}))
    assert training.best is not None
    training.best["network"] = {name: value + 1 for name, value in training.best["network"].items()}
    training.save(tmp_path / "changed")
    export(tmp_path / "changed", tmp_path / "model")
    model = ndcl.load_model(tmp_path / "model")
    training.network.load_state_dict(training.best["network"])
    assert_agree(model, model.logits(model.prepare(training.problem.store.inputs(ROWS))), training.logits(ROWS))


def test_images_come_as_files_contents_and_pixels(model: Model, digits: tuple[Training, Path], tmp_path: Path) -> None:
    pixels = digits[0].problem.store.inputs(ROWS[:1])[0].numpy()
    path = tmp_path / "digit.png"
    Image.fromarray(pixels).save(path)
    expected = model.predict([pixels]).probabilities
    for inputs in (path, str(path), path.read_bytes(), [path, pixels][:1], [path.read_bytes()]):
        assert np.array_equal(model.predict(inputs).probabilities, expected)


def test_images_of_other_sizes_are_stretched(model: Model) -> None:
    image = noise(0, 50, 40)
    (height, width, _) = model.description.inputs.shape
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], (height, width), mode="bilinear", antialias=True
    )
    found = model.prepare([np.array(image)])
    assert torch.equal(found[0], expected[0].permute(1, 2, 0))


@pytest.mark.parametrize("kind", ["raw", "encoded"])
@pytest.mark.parametrize("image_size", [None, 64])
def test_photographs_are_prepared_as_in_the_evaluation(tmp_path: Path, kind: str, image_size: int | None) -> None:
    store = make_photos(tmp_path / "photos", kind)
    training = trained(tmp_path / "checkpoint", photo_config(store, data={"image_size": image_size}))
    export(tmp_path / "checkpoint", tmp_path / "model")
    model = ndcl.load_model(tmp_path / "model")
    rows = np.arange(len(store))
    stored = [store.encoded(row) for row in rows] if kind == "encoded" else list(store.inputs(rows).numpy())
    assert_agree(model, model.logits(model.prepare(stored)), training.logits(rows))


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_files_are_prepared_as_on_import(tmp_path: Path, fit: Any, form: Any) -> None:
    """The files from which a data set was imported, and what is stored of them, are predicted alike."""
    conversion = Conversion(size=72, fit=fit, format=form)
    originals = [encoded(noise(n, 90 + n, 100 + 2 * n), "PNG") for n in range(54)]
    converted = [convert(content, conversion) for content in originals]
    facts: dict[str, Any] = {"name": "made", "classes": CLASSES, "domains": DOMAINS, "shape": (72, 72, 3)}
    notes = {"conversion": {"size": 72, "fit": fit, "format": form}}
    kind = "raw" if form == "raw" else "encoded"
    with StoreWriter(tmp_path / "made", kind=kind, notes=notes, **facts) as writer:
        stored = np.stack([pixels for pixels, _ in converted]) if form == "raw" else [file for _, file in converted]
        writer.append(stored, np.tile(np.arange(3), 18), np.repeat(np.arange(3), 18))
    store = Store(tmp_path / "made")
    training = trained(tmp_path / "checkpoint", photo_config(store, data={"image_size": 64}))
    export(tmp_path / "checkpoint", tmp_path / "model")
    model = ndcl.load_model(tmp_path / "model")
    rows = np.arange(10)
    expected = training.logits(rows)
    assert_agree(model, model.logits(model.prepare(list(stored[:10]))), expected)
    from_files = model.logits(model.prepare(originals[:10]))
    if form == "raw":
        assert torch.equal(from_files, expected)
    else:  # they were compressed once more when they were imported
        assert from_files.numpy() == pytest.approx(expected.numpy(), abs=0.2)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "prepared", [{}, {"standardize": True}, {"transform": "sqrt"}, {"standardize": True, "transform": "sqrt"}]
)
def test_vectors(tmp_path: Path, form: Any, prepared: dict[str, Any]) -> None:
    store = make_store(tmp_path / "vectors", np.full((3, 3), 12), shape=(7,))
    data = {"name": str(store.folder), "target": "photo", **prepared}
    imbalance = {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2}
    values = DIGITS | {"data": data, "imbalance": imbalance, "model": {"backbone": "linear"}}
    training = trained(tmp_path / "checkpoint", TrainConfig.from_dict(values))
    export(tmp_path / "checkpoint", tmp_path / "model", form)
    model = ndcl.load_model(tmp_path / "model")
    vectors = store.inputs(ROWS)
    expected = training.logits(ROWS)
    assert model.logits(model.prepare(vectors)).numpy() == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-4)
    assert model.predict(list(vectors.numpy())).class_ids.tolist() == expected.argmax(1).tolist()
    for wrong in (["a.jpg"], np.zeros((2, 3)), np.zeros(7)):
        with pytest.raises(UserError, match="this model takes vectors"):
            model.predict(wrong)
    if "transform" in prepared:
        with pytest.raises(UserError, match=r"takes the square root of features .*, and one is -3; give vectors"):
            model.predict(-3 * np.ones((2, 7)))


def network_inputs(config: ModelConfig) -> Inputs:
    size = config.image_size or 64
    half = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Inputs(kind="raw", shape=(size, size, 3), import_size=None, fit="stretch", mean=half[0], std=half[1])


@pytest.mark.parametrize(
    ("backbone", "form"), [("resnet18", "onnx"), ("resnet18", "torch-export"), ("swin_t", "torch-export")]
)
def test_graphs_of_larger_networks_agree(tmp_path: Path, backbone: str, form: Any) -> None:
    config = ModelConfig(backbone=backbone)
    inputs = network_inputs(config)
    network = build_network(config, inputs.shape, 3, seed=0)
    classifier = Classifier(config, inputs, 3, network.state_dict(), standardized=False)
    path = tmp_path / WEIGHTS[form]
    digest = write_weights(classifier, example_batch(inputs), form, path)
    facts: dict[str, Any] = {"classes": CLASSES, "inputs": inputs, "model": config, "standardized": False}
    exported = read_weights(path, Description(format=form, sha256=digest, **facts))
    images = torch.randint(256, (3, *inputs.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = classifier(images)
        for count in (1, 3):
            assert exported(images[:count]).numpy() == pytest.approx(expected[:count].numpy(), abs=1e-4)


@pytest.mark.parametrize("backbone", ["small_cnn", "mlp", "resnet18", "vit_b_32"])
def test_a_network_is_rebuilt_from_its_state(backbone: str) -> None:
    assert backbone in BACKBONES
    config = ModelConfig(backbone=backbone)
    inputs = network_inputs(config)
    network = build_network(config, inputs.shape, 3, seed=1).eval()
    classifier = Classifier(config, inputs, 3, network.state_dict(), standardized=False)
    images = torch.randint(256, (2, *inputs.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(classifier(images), network(to_inputs(images)))


@pytest.mark.parametrize("form", FORMATS)
def test_a_network_that_sees_contexts_answers_for_each_image_as_its_evaluation_does(tmp_path: Path, form: Any) -> None:
    config = TrainConfig.from_dict({**DIGITS, "algorithm": {"name": "arm", "width": 4}})
    training = trained(tmp_path / "checkpoint", config)
    export(tmp_path / "checkpoint", tmp_path / "model", form, {"trial": "made by hand"})
    model, rows = ndcl.load_model(tmp_path / "model"), training.problem.target_test
    images = training.problem.store.inputs(rows)
    assert_agree(model, model.logits(model.prepare(images)), training.logits(rows))
    together = model.predict(images[:3]).probabilities
    for number in range(3):
        assert model.predict(images[number : number + 1]).probabilities[0] == pytest.approx(together[number], abs=1e-6)


def test_pretrained_networks_keep_what_their_weights_need_of_inputs(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(resnet18(weights=None).state_dict(), weights)
    config = ModelConfig(backbone="resnet18", weights=str(weights))
    shape = (32, 32, 3)  # normalised otherwise than ImageNet's, so that the network does it anew
    network = build_network(config, shape, 3, seed=1).eval()
    inputs = Inputs(kind="raw", shape=shape, import_size=None, fit="stretch", mean=(0.5,) * 3, std=(0.5,) * 3)
    weights.unlink()
    classifier = Classifier(config, inputs, 3, network.state_dict(), standardized=False)
    images = torch.randint(256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(classifier(images), network(to_inputs(images)))


def test_another_process_loads_it_without_the_data_set(digits: tuple[Training, Path], tmp_path: Path) -> None:
    export(digits[1], tmp_path / "model")
    (tmp_path / "image.png").write_bytes(encoded(quadrants(28, 28)))
    code = "import ndcl; print(ndcl.load_model('model').predict('image.png').probabilities.tolist())"
    environment = {"NDCL_DATA": "/nowhere", "PYTHONPATH": str(Path(ndcl.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = ndcl.load_model(tmp_path / "model").predict(tmp_path / "image.png").probabilities
    assert np.array(json.loads(done.stdout), np.float32) == pytest.approx(expected, abs=1e-6)


def test_importing_ndcl_stays_cheap() -> None:
    code = "import sys, ndcl; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_exists_is_not_written_over(digits: tuple[Training, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already; delete it first"):
        export(digits[1], tmp_path)


def test_a_model_that_cannot_be_exported_leaves_nothing(digits: tuple[Training, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing or damaged"):
        export(tmp_path / "nothing", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_several_networks_are_no_model(tmp_path: Path) -> None:
    values = DIGITS | {"num_steps": 1, "select_by": ["leave_one_domain_out_accuracy"]}
    training = build_training(TrainConfig.from_dict(values))
    list(training.evaluations())
    training.save(tmp_path / "checkpoint")
    with pytest.raises(UserError, match="one network for each domain that was left out"):
        export(tmp_path / "checkpoint", tmp_path / "model")


def test_damaged_models_are_refused(digits: tuple[Training, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UserError, match=r"holds no exported model \(model.json is missing\)"):
        ndcl.load_model(folder)
    export(digits[1], folder)
    weights = folder / WEIGHTS["safetensors"]
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is damaged: it is not the file"):
        ndcl.load_model(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        ndcl.load_model(folder)
    description = folder / "model.json"
    text = description.read_text()
    description.write_text(text.replace('"version": 2', '"version": 3'))
    with pytest.raises(UserError, match="not of version 1 or 2"):
        ndcl.load_model(folder)
    description.write_text(text[:50])
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        ndcl.load_model(folder)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([b"no image"], "an image: .*no image that can be read"),
        ("nowhere.png", "image nowhere.png: can't be opened .No such file"),
        ([np.zeros((4, 4), np.uint8)], r"pixels must be uint8 \[h, w, 3\], got uint8 \[4, 4\]"),
        ([np.zeros((4, 4, 3))], "got float64"),
    ],
)
def test_what_is_no_image_is_refused(model: Model, inputs: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        model.predict(inputs)
