"""Features are those that a training's network would compute, whole or not there, and the same every time."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl import features
from ndcl.architectures import ARCHITECTURES, Architecture
from ndcl.config import ImbalanceConfig, ModelConfig, TrainConfig
from ndcl.data import Store, StoreWriter
from ndcl.data.loading import ahead
from ndcl.data.problem import build_problem
from ndcl.data.store.store import is_store
from ndcl.errors import UserError
from ndcl.features import NOTE, embed, source_statistics, standardize
from ndcl.models import BACKBONES, build_network
from ndcl.training import Training
from tests.made.made_images import encoded, noise
from tests.made.made_store import CLASSES, DOMAINS, make_store

torch.set_num_threads(1)
COUNTS = np.array([[4, 3, 5], [3, 6, 3], [5, 4, 3]])
RANDOM = ModelConfig(backbone="small_cnn")


def image_store(folder: Path, shape: tuple[int, int, int] = (12, 16, 3)) -> Store:
    return make_store(folder, COUNTS, shape=shape)


def encoded_store(folder: Path) -> Store:
    """Photographs of different sizes, as files."""
    facts: dict[str, Any] = {"name": folder.name, "classes": CLASSES, "domains": DOMAINS, "shape": (80, 90, 3)}
    labels, domains = np.tile(np.arange(3), 12), np.repeat(np.arange(3), 12)
    files = [encoded(noise(n, 60 + n, 70 + 2 * n)) for n in range(36)]
    with StoreWriter(folder, kind="encoded", **facts) as writer:
        writer.append(files, labels.tolist(), domains.tolist(), [f"{n}.png" for n in range(36)])
    return Store(folder)


def made(source: Store, folder: Path, model: ModelConfig = RANDOM, **options: Any) -> Store:
    done = list(embed(source, folder, model, **options))
    assert done[-1] == len(source)
    return Store(folder)


def config_for(store: Store, **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": store.folder.name, "target": "photo", "folder": str(store.folder.parent), "workers": 0},
        "algorithm": {"name": "ndcl"},
        "imbalance": {"setting": "natural", "validation": 1},
        "model": {"backbone": "linear"},
        "batch_size": 4,
        "num_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def test_labels_domains_names_and_origin_are_kept(tmp_path: Path) -> None:
    source = encoded_store(tmp_path / "files")
    store = made(source, tmp_path / "vectors", image_size=24, batch_size=7)
    assert (store.kind, store.input_shape, store.dtype, store.name) == ("vectors", (64 * 9,), "float16", "vectors")
    assert (store.classes, store.domains, store.paths()) == (source.classes, source.domains, source.paths())
    np.testing.assert_array_equal(store.labels, source.labels)
    np.testing.assert_array_equal(store.domain_ids, source.domain_ids)
    note = store.notes[NOTE]
    assert (note["source"], note["source_digest"]) == ("files", source.digest)
    assert (note["backbone"], note["weights"], note["image_size"]) == ("small_cnn", "none", [24, 24])
    assert len(note["weights_digest"]) == 64


@pytest.mark.parametrize("make", [image_store, encoded_store, lambda folder: image_store(folder, (70, 64, 3))])
@pytest.mark.parametrize("image_size", [None, 17])
def test_they_are_what_an_evaluation_feeds_to_the_head(tmp_path: Path, make: Any, image_size: int | None) -> None:
    source = make(tmp_path / "images")
    store = made(source, tmp_path / "vectors", dtype="float32", image_size=image_size, batch_size=len(source))
    data = {"name": "images", "target": "photo", "folder": str(tmp_path), "workers": 0, "image_size": image_size}
    training = Training(config_for(source, data=data, model={"backbone": "small_cnn"}))
    training.network.eval()
    everything = np.arange(len(source))
    with torch.inference_mode():
        expected = torch.cat([training.network[0](part) for part in training.loader.evaluation_inputs(everything)])
    torch.testing.assert_close(store.inputs(everything), expected, rtol=1e-5, atol=1e-6)


def test_float16_differs_by_rounding_alone_and_reaches_training_as_float32(tmp_path: Path) -> None:
    source = image_store(tmp_path / "images")
    half, full = (made(source, tmp_path / dtype, dtype=dtype) for dtype in features.DTYPES)
    rows = np.array([3, 0, 3, 7])
    assert half.inputs(rows).dtype == torch.float32
    assert torch.equal(half.inputs(rows), full.inputs(rows).half().float())
    assert half.digest != full.digest


def test_the_same_command_gives_the_same_digest(tmp_path: Path) -> None:
    source = image_store(tmp_path / "images")
    torch.manual_seed(1)
    first = made(source, tmp_path / "first", batch_size=5)
    torch.manual_seed(2)
    second = made(source, tmp_path / "second", batch_size=5)
    assert first.digest == second.digest
    assert first.notes == second.notes


def test_dropout_is_off_and_weights_from_a_file_are_used_and_noted(tmp_path: Path) -> None:
    import torchvision

    source = make_store(tmp_path / "images", np.ones((2, 3), int), domains=DOMAINS[:2], shape=(64, 64, 3))
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "weights.pt")
    model = ModelConfig(backbone="resnet18", weights=str(tmp_path / "weights.pt"), dropout=0.5)
    store = made(source, tmp_path / "vectors", model, dtype="float32")
    network = build_network(model, (64, 64, 3), 3, seed=7).eval()
    body = dict(network[0].state_dict())
    assert store.notes[NOTE]["weights_digest"] == features.weights_digest(body)
    changed = body | {"backbone.bn1.bias": body["backbone.bn1.bias"] + 1}
    assert store.notes[NOTE]["weights_digest"] != features.weights_digest(changed)
    again = made(source, tmp_path / "again", ModelConfig(backbone="resnet18", weights=str(tmp_path / "weights.pt")))
    torch.testing.assert_close(store.inputs(np.arange(6)), again.inputs(np.arange(6)), rtol=2e-3, atol=2e-3)


def test_given_up_it_leaves_nothing(tmp_path: Path) -> None:
    source = image_store(tmp_path / "images")
    steps = embed(source, tmp_path / "vectors", RANDOM, batch_size=4)
    assert next(steps) == 4
    steps.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_killed_it_leaves_no_data_set_and_the_next_one_succeeds(tmp_path: Path) -> None:
    image_store(tmp_path / "images")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ndcl.config import ModelConfig; from ndcl.data.store import Store; from ndcl.features import embed\n"
        "root = Path(sys.argv[1])\n"
        "for done in embed(Store(root / 'images'), root / 'vectors', ModelConfig(), batch_size=4):\n"
        "    print(done, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "4\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    assert not is_store(tmp_path / "vectors")
    made(Store(tmp_path / "images"), tmp_path / "vectors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "vectors"]


def test_images_are_read_ahead_but_not_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, asked = image_store(tmp_path / "images"), []
    inputs = source.inputs
    monkeypatch.setattr(source, "inputs", lambda rows: asked.append(len(rows)) or inputs(rows))
    monkeypatch.setattr(ahead, "READERS", 2)
    steps = embed(source, tmp_path / "vectors", RANDOM, batch_size=1)
    next(steps)
    deadline = time.monotonic() + 30
    while len(asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(asked) == 3
    steps.close()


class Shouting(torch.nn.Module):
    """A backbone whose features are all one number."""

    num_features = 2
    value = 1e6

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.full((len(inputs), 2), self.value)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (1e6, "float16", r"a feature of 1e\+06 is beyond the range of float16 .* use float32"),
        (float("nan"), "float32", "NaN or infinite"),
        (float("inf"), "float16", "NaN or infinite"),
    ],
)
def test_features_that_are_no_numbers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, dtype: Any, message: str
) -> None:
    source = image_store(tmp_path / "images")
    monkeypatch.setitem(BACKBONES, "shouting", lambda *_: Shouting())
    monkeypatch.setitem(ARCHITECTURES, "shouting", Architecture())
    monkeypatch.setattr(Shouting, "value", value)
    with pytest.raises(UserError, match=message):
        list(embed(source, tmp_path / "vectors", ModelConfig(backbone="shouting"), dtype=dtype))
    assert not (tmp_path / "vectors").exists()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    source = image_store(tmp_path / "images")
    vectors = make_store(tmp_path / "vectors", COUNTS, shape=(6,))
    with pytest.raises(UserError, match="vectors holds features already"):
        next(embed(vectors, tmp_path / "out", RANDOM))
    with pytest.raises(UserError, match="exists already"):
        next(embed(source, tmp_path / "vectors", RANDOM))
    with pytest.raises(UserError, match="unknown backbone"):
        next(embed(source, tmp_path / "out", ModelConfig(backbone="resnet19")))
    assert not (tmp_path / "out").exists()


def vector_store(folder: Path) -> Store:
    """Vectors of very different scales, one of them constant but in the target domain."""
    rng = np.random.default_rng(0)
    labels, domains = np.tile(np.arange(3), 24), np.repeat(np.arange(3), 24)
    values = 100 + rng.normal(size=(72, 5)) * [1e-2, 1, 10, 100, 0] + labels[:, None]
    values[:, 4] = np.where(domains == 1, rng.normal(size=72), 7.0)
    with StoreWriter(
        folder, name="v", classes=CLASSES, domains=DOMAINS, kind="vectors", shape=(5,), dtype="float32"
    ) as writer:
        writer.append(values.astype(np.float32), labels.tolist(), domains.tolist())
    return Store(folder)


def test_statistics_are_those_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = vector_store(tmp_path / "v")
    rows = np.flatnonzero(store.domain_ids != 1)
    values = store.inputs(rows).double().numpy()
    monkeypatch.setattr(features, "STATISTICS_ROWS", 7)
    mean, scale = source_statistics(store, rows)
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-6)
    deviation = values.std(0)
    floor = 0.01 * deviation.mean()
    assert deviation[0] < 1.0 < floor * 100
    np.testing.assert_allclose(scale[:4], 1 / np.maximum(deviation[:4], floor), rtol=1e-5)
    assert scale[4] == 0, "a constant feature says nothing"


def test_the_target_and_validation_rows_have_no_part_in_standardising(tmp_path: Path) -> None:
    store = vector_store(tmp_path / "v")
    config = config_for(store)
    problem = build_problem(config.data, ImbalanceConfig(setting="natural", validation=2))
    network = build_network(config.model, store.input_shape, 3, seed=0)
    bias, weight = network[1].bias, network[1].weight
    standardize(network, problem)
    mean, scale = source_statistics(store, np.concatenate(problem.train))
    with torch.no_grad():
        raw = store.inputs(np.arange(9))
        torch.testing.assert_close(network(raw), (raw - mean) * scale @ weight.T + bias)
    trained = np.concatenate(problem.train)
    assert not set(trained.tolist()) & set(problem.target_test.tolist())
    elsewhere = np.setdiff1d(np.arange(len(store)), trained)
    assert not torch.equal(source_statistics(store, elsewhere)[0], mean)


def test_roots_are_taken_before_standardising_and_resume_exactly(tmp_path: Path) -> None:
    store = make_store(tmp_path / "v", COUNTS + 3, shape=(6,))
    data = {"name": "v", "target": "photo", "folder": str(tmp_path), "standardize": True, "transform": "sqrt"}
    whole, first, second = (Training(config_for(store, data=data)) for _ in range(3))
    problem = whole.problem
    roots = store.inputs(np.concatenate(problem.train)).sqrt()
    inner, (_, head) = whole.network[0].features, whole.network
    torch.testing.assert_close(inner.mean, roots.mean(0))
    torch.testing.assert_close(inner.scale, 1 / roots.std(0, correction=0))
    raw = store.inputs(np.arange(9))
    torch.testing.assert_close(whole.network.eval()(raw), head((raw.sqrt() - inner.mean) * inner.scale))
    whole.network.train()
    expected = [e.losses for e in whole.evaluations()]
    steps = first.evaluations()
    next(steps)
    first.save(tmp_path / "checkpoint")
    second.load(tmp_path / "checkpoint")
    assert [e.losses for e in second.evaluations()] == expected[1:]
    plain = Training(config_for(store, data={**data, "transform": "none"}))
    assert [e.losses for e in plain.evaluations()] != expected


def test_features_that_have_no_root_are_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path / "v")
    assert store.inputs(np.arange(len(store))).min() < 0
    data = {"name": "v", "target": "photo", "folder": str(tmp_path), "transform": "sqrt"}
    with pytest.raises(UserError, match=r"data\.transform: sqrt takes features that are never negative, and v has"):
        Training(config_for(store, data=data))
    image_store(tmp_path / "images")
    with pytest.raises(UserError, match=r"data\.transform: images holds images, which have"):
        Training(config_for(store, data={**data, "name": "images"}, model={"backbone": "small_cnn"}))


def test_only_vectors_are_standardised(tmp_path: Path) -> None:
    source = image_store(tmp_path / "images")
    config = config_for(source)
    network = build_network(RANDOM, source.input_shape, 3, seed=0)
    with pytest.raises(UserError, match="holds images, which have a fixed normalisation"):
        standardize(network, build_problem(config.data, config.imbalance))


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
@pytest.mark.parametrize("algorithm", ["erm", "ndcl"])
def test_heads_train_on_features(tmp_path: Path, backbone: str, algorithm: str) -> None:
    store = make_store(tmp_path / "v", COUNTS + 3, shape=(6,))
    config = config_for(store, model={"backbone": backbone, "mlp_width": 4}, algorithm={"name": algorithm})
    first, second = Training(config), Training(config)
    evaluations = list(first.evaluations())
    assert [e.step for e in evaluations] == [2, 4]
    assert [e.losses for e in second.evaluations()] == [e.losses for e in evaluations]


def test_a_training_that_standardises_resumes_exactly(tmp_path: Path) -> None:
    store = vector_store(tmp_path / "v")
    data = {"name": "v", "target": "photo", "folder": str(tmp_path), "standardize": True}
    whole, first, second = (Training(config_for(store, data=data)) for _ in range(3))
    expected = [e.losses for e in whole.evaluations()]
    steps = first.evaluations()
    next(steps)
    first.save(tmp_path / "checkpoint")
    second.load(tmp_path / "checkpoint")
    assert [e.losses for e in second.evaluations()] == expected[1:]
    assert torch.equal(second.network.state_dict()["0.scale"], whole.network.state_dict()["0.scale"])
    plain = Training(config_for(store))
    assert [e.losses for e in plain.evaluations()] != expected
