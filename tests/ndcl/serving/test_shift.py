"""What a model keeps of its sources, and how far a new site is from them: by hand, and never by target images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ndcl
from ndcl.config import TrainConfig
from ndcl.data.store.writer import write_store
from ndcl.errors import UserError
from ndcl.serving import Model, export
from ndcl.serving.looks import Look, Looker, distance
from ndcl.serving.shift import shift_of
from ndcl.serving.sources import look_at_sources, read_sources
from tests.made.made_model import DIGITS, trained
from tests.made.made_store import CLASSES, DOMAINS

torch.set_num_threads(1)
FOUR = (*DOMAINS, "ink")


def vector_set(folder: Path, target_shift: float = 0.0) -> Path:
    """Four domains 0, 1, 2 and 8 apart in one of six features; `photo`, the target, is moved by as much besides."""
    rng = np.random.default_rng(0)
    labels, domains = np.tile(np.arange(3), 160), np.repeat(np.arange(4), 120)
    inputs = rng.normal(size=(480, 6)) + 3 * np.eye(6)[labels]
    inputs[:, 5] += np.array([0.0, target_shift, 1.0, 8.0])[domains]
    names: dict[str, Any] = {"name": folder.name, "classes": CLASSES, "domains": FOUR}
    write_store(folder, inputs=inputs.astype(np.float32), labels=labels, domain_ids=domains, **names)
    return folder


def vector_config(folder: Path, **values: Any) -> TrainConfig:
    base = {
        "data": {"name": str(folder), "target": "photo", "standardize": True},
        "imbalance": {"setting": "long_tail", "counts": [20, 15, 9], "validation": 10},
        "model": {"backbone": "linear"},
    }
    return TrainConfig.from_dict(DIGITS | base | values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A training on vectors, and its model."""
    folder = tmp_path_factory.mktemp("shift")
    training = trained(folder / "checkpoint", vector_config(vector_set(folder / "set")))
    export(folder / "checkpoint", folder / "model")
    return training, folder / "model"


def look(mean: list[float], variance: list[float], num_images: int) -> Look:
    own = {"mean": torch.tensor(mean).double(), "variance": torch.tensor(variance).double()}
    return Look(num_images=num_images, shares=np.array([1.0]), confidence=1.0, disagreement=None, **own)


def test_a_distance_by_hand() -> None:
    one, other = look([0, 1], [4, 1], 10**12), look([3, 1], [1, 1], 10**12)
    assert distance(one, other) == pytest.approx((9 + 1) ** 0.5)
    assert distance(one, one) == 0
    few, others = look([0, 1], [4, 1], 50), look([3, 1], [1, 1], 20)
    assert distance(few, others) == pytest.approx((9 + 1 - 1.5 * (5 / 50 + 2 / 20)) ** 0.5)


def test_the_number_of_images_moves_no_distance_on_average() -> None:
    rng = np.random.default_rng(0)

    def sampled(num_images: int, shift: float) -> Look:
        rows = torch.from_numpy(rng.normal(size=(num_images, 40)) * 2)
        rows[:, 0] += shift
        return look(rows.mean(0).tolist(), rows.var(0).tolist(), num_images)

    squares = [distance(sampled(20, 0), sampled(60, 8)) ** 2 for _ in range(400)]
    assert np.mean(squares) == pytest.approx(64, rel=0.02)


def test_a_look_is_the_same_in_parts_and_as_numpy_has_it(made: tuple[Any, Path]) -> None:
    training, folder = made
    model = ndcl.load_model(folder)
    rows = training.problem.target_test
    vectors = training.problem.store.inputs(rows)
    looker = Looker(model)
    for part in torch.split(vectors, 7):
        looker.add(part)
    looker.add(vectors[:0])
    found, predicted = looker.look(), model.predict(vectors.numpy())
    features = training.network[0](vectors).detach().double().numpy()
    np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.variance, features.var(0, ddof=1), rtol=1e-6)
    assert found.num_images == len(rows)
    assert found.shares.tolist() == (np.bincount(predicted.class_ids, minlength=3) / len(rows)).tolist()
    assert found.confidence == pytest.approx(predicted.confidences.mean())
    assert found.disagreement is None


def test_sources_are_measured_on_their_validation_images_alone(made: tuple[Any, Path], tmp_path: Path) -> None:
    training, folder = made
    model = ndcl.load_model(folder)
    sources = read_sources(folder, model.description)
    assert list(sources) == ["art", "sketch", "ink"]
    for rows, found in zip(training.problem.validation, sources.values(), strict=True):
        looker = Looker(model)
        looker.add(training.problem.store.inputs(np.sort(rows)))
        assert found.num_images == len(rows) == 30
        torch.testing.assert_close(found.mean, looker.look().mean, rtol=1e-5, atol=1e-6)
    other = trained(tmp_path / "checkpoint", vector_config(vector_set(tmp_path / "set", target_shift=50)))
    assert torch.equal(other.network[1].weight, training.network[1].weight)
    export(tmp_path / "checkpoint", tmp_path / "model")
    files = [(place / "sources.safetensors").read_bytes() for place in (folder, tmp_path / "model")]
    assert files[0] == files[1], "the target domain has no part in it"


def test_few_of_many_images_are_looked_at(made: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndcl.serving.sources.MOST_IMAGES", 12)
    found = look_at_sources(ndcl.load_model(made[1]), made[0].problem)
    assert [each.num_images for each in found.values()] == [12, 12, 12]
    shares = np.mean([each.shares for each in found.values()], axis=0)
    assert shares.min() > 0, "of all classes"


def test_a_site_beyond_the_sources_is_told_from_one_like_them(made: tuple[Any, Path]) -> None:
    training, folder = made
    model = ndcl.load_model(folder)
    sources = read_sources(folder, model.description)

    def shift_by(offset: float) -> Any:
        vectors = training.problem.store.inputs(training.problem.target_test).clone()
        vectors[:, 5] += offset
        looker = Looker(model)
        looker.add(vectors)
        return shift_of(looker.look(), sources)

    like, far = shift_by(1), shift_by(80)
    assert like.usual is not None
    assert like.nearest == "sketch"
    assert like.distances["sketch"] < 0.2 < like.usual
    assert far.nearest == "ink"
    assert far.distances["ink"] > 5 * like.usual
    assert like.among["art"]["ink"] == pytest.approx(like.among["ink"]["art"])
    told = json.loads(json.dumps(far.to_dict(model.classes)))
    assert told["sources"]["ink"]["distances"].keys() == {"art", "sketch"}
    assert told["site"]["shares"].keys() == set(CLASSES)


def test_a_class_that_is_named_for_most_images_is_excessive() -> None:
    def shares(*values: float) -> Look:
        own = {"mean": torch.zeros(2).double(), "variance": torch.ones(2).double()}
        return Look(num_images=50, shares=np.array(values), confidence=1.0, disagreement=None, **own)

    sources = {"a": shares(0.4, 0.4, 0.1), "b": shares(0.5, 0.2, 0.1)}
    assert shift_of(shares(0.6, 0.1, 0.3), sources).excessive_classes == [2]
    assert shift_of(shares(0.75, 0.05, 0.2), sources).excessive_classes == [], "not twice as many, or too few"
    alone = shift_of(shares(0.6, 0.1, 0.3), {"a": sources["a"]})
    assert alone.usual is None


def test_an_ensemble_is_looked_at_by_all_its_networks(tmp_path: Path) -> None:
    paths = [tmp_path / f"checkpoint-{seed}" for seed in range(2)]
    first, _ = (trained(path, TrainConfig.from_dict(DIGITS | {"seed": n})) for n, path in enumerate(paths))
    export(paths, tmp_path / "model")
    model = ndcl.load_model(tmp_path / "model")
    sources = read_sources(tmp_path / "model", model.description)
    images = first.problem.store.inputs(np.sort(first.problem.validation[1])).numpy()
    predicted = model.predict(images)
    found = sources[first.problem.source_domains[1]]
    assert predicted.disagreement is not None
    assert found.disagreement == pytest.approx(predicted.disagreement.mean(), rel=1e-4)
    assert found.confidence == pytest.approx(predicted.confidences.mean(), rel=1e-4)
    assert len(found.mean) == first.network.num_features == model.num_features


def test_a_model_without_sources_says_how_to_get_them(made: tuple[Any, Path], tmp_path: Path) -> None:
    checkpoint = made[1].parent / "checkpoint"
    origin = {"sweep": "mine", "study": "erm.mine.natural.photo"}
    export(checkpoint, tmp_path / "graph", "torch-export", origin)
    graph = ndcl.load_model(tmp_path / "graph")
    with pytest.raises(UserError, match="holds nothing of its source domains; export it as safetensors, since a graph"):
        read_sources(tmp_path / "graph", graph.description)
    with pytest.raises(UserError, match="of format torch-export is a graph, which gives no features"):
        Looker(graph)
    vector_set(tmp_path / "gone")
    trained(tmp_path / "checkpoint", vector_config(tmp_path / "gone"))
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    description = export(tmp_path / "checkpoint", tmp_path / "late", "safetensors", origin)
    assert description.sources is None
    with pytest.raises(UserError, match=r"with: ndcl export mine --study erm\.mine\.natural\.photo --to DIR"):
        read_sources(tmp_path / "late", Model.load(tmp_path / "late").description)
    old = json.loads((tmp_path / "late" / "model.json").read_text())
    del old["sources"]
    (tmp_path / "late" / "model.json").write_text(json.dumps(old))
    assert Model.load(tmp_path / "late").description.sources is None, "as an earlier version wrote it"


def test_a_data_set_that_was_replaced_is_not_measured(tmp_path: Path) -> None:
    trained(tmp_path / "checkpoint", vector_config(vector_set(tmp_path / "set")))
    (tmp_path / "set").rename(tmp_path / "before")
    vector_set(tmp_path / "set", target_shift=1)
    assert export(tmp_path / "checkpoint", tmp_path / "model").sources is None


def test_a_damaged_file_is_refused(made: tuple[Any, Path], tmp_path: Path) -> None:
    export(made[1].parent / "checkpoint", tmp_path / "model")
    (tmp_path / "model" / "sources.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"sources\.safetensors is missing or damaged; export the model again"):
        read_sources(tmp_path / "model", Model.load(tmp_path / "model").description)
