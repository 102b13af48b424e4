"""One contract for every backbone, weights from files, and BatchNorm in two forwards."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ndcl.config import ModelConfig
from ndcl.errors import UserError
from ndcl.models import BACKBONES, PRETRAINED, build_network, require_fit

SHAPES = {"small_cnn": (28, 28, 3), "linear": (12,), "mlp": (12,), "resnet18": (64, 64, 3), "resnet50": (64, 64, 3)}


def inputs_for(name: str, rows: int = 4) -> torch.Tensor:
    shape = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    return torch.randn((rows, *shape) if len(shape) == 1 else (rows, 3, *shape[:2]), generator=generator)


def network_for(name: str, **values: object):
    return build_network(ModelConfig(backbone=name, **values), SHAPES[name], 6, seed=0)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_contract(name: str) -> None:
    network = network_for(name)
    logits = network(inputs_for(name))
    assert logits.shape == (4, 6)
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_seed_alone_decides_the_initial_weights(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = network_for(name).state_dict()
    torch.rand(3)
    second = network_for(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build_network(ModelConfig(backbone=name), SHAPES[name], 6, seed=1).state_dict()
    assert not torch.equal(first["1.weight"], other["1.weight"])
    torch.set_rng_state(before)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    network_for("mlp")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_whether_a_backbone_fits_is_known_without_weights(name: str) -> None:
    before = torch.get_rng_state()
    require_fit(ModelConfig(backbone=name, weights="/nowhere.pt"), SHAPES[name])
    assert torch.equal(before, torch.get_rng_state())
    if len(SHAPES[name]) == 3:
        with pytest.raises(UserError, match=rf"'{name}' needs images.* use 'linear' or 'mlp'"):
            require_fit(ModelConfig(backbone=name), (12,))


def test_a_linear_network_is_its_head_alone() -> None:
    network = network_for("linear")
    inputs = inputs_for("linear")
    assert torch.equal(network[0](inputs), inputs)
    assert [tuple(p.shape) for p in network.parameters()] == [(6, 12), (6,)]
    images = build_network(ModelConfig(backbone="linear"), (4, 5, 3), 6, seed=0)
    assert images(torch.zeros(2, 3, 4, 5)).shape == (2, 6)


def test_quirk_22_frozen_batchnorm_stays_as_it_was_and_still_learns_its_scale() -> None:
    network = network_for("resnet18")
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    network(inputs_for("resnet18")).sum().backward()
    network.forward_mixed(inputs_for("resnet18"))
    after = network.state_dict()
    assert before
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert network.batchnorms[0].weight.grad is not None


def test_quirk_22_mixed_rows_never_reach_the_running_statistics() -> None:
    network = network_for("resnet18", freeze_batchnorm=False)
    network.train()
    means = [layer.running_mean.clone() for layer in network.batchnorms]
    network.forward_mixed(inputs_for("resnet18"))
    assert all(torch.equal(a, layer.running_mean) for a, layer in zip(means, network.batchnorms, strict=True))
    assert all(layer.training for layer in network.batchnorms)
    network(inputs_for("resnet18"))
    assert not torch.equal(means[0], network.batchnorms[0].running_mean)


def test_dropout_is_known_to_the_network() -> None:
    assert network_for("mlp", dropout=0.1).has_dropout
    assert not network_for("mlp").has_dropout


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_from_a_file_replace_all_but_the_classifier(tmp_path: Path, suffix: str) -> None:
    import torchvision

    torch.manual_seed(3)
    state = torchvision.models.resnet18().state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = network_for("resnet18", weights=str(path))
    assert torch.equal(network[0].backbone.conv1.weight, state["conv1.weight"])
    assert network[1].out_features == 6


def test_imagenet_weights_come_from_torchs_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision
    from torchvision.models import ResNet18_Weights

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    entry = ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(4)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "checkpoints" / Path(entry.url).name)
    network = network_for("resnet18", weights="imagenet")
    assert torch.equal(network[0].backbone.conv1.weight, state["conv1.weight"])


def unpicklable(path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"conv1.weight": Evil()}, path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.write_bytes(b"not weights"), "cannot be read|not a state dict"),
        (unpicklable, "not a state dict that can be read safely"),
        (lambda path: torch.save({"conv1.weight": torch.zeros(1)}, path), "does not fit"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
    ],
)
def test_bad_weight_files_get_one_line(tmp_path: Path, prepare, message: str, capsys) -> None:
    path = tmp_path / "weights.pt"
    prepare(path)
    with pytest.raises(UserError, match=message) as error:
        network_for("resnet18", weights=str(path))
    assert "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


def test_weights_that_cannot_be_downloaded_name_the_place_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(UserError, match=r"put the file resnet18-\w+\.pth at .*checkpoints") as error:
        network_for("resnet18", weights="imagenet")
    assert "model.weights" in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "resnet19"}, "unknown backbone 'resnet19'; did you mean 'resnet18'"),
        ({"backbone": "mlp", "weights": "imagenet"}, "takes no weights"),
        ({"backbone": "small_cnn"}, "needs images"),
    ],
)
def test_mistakes(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network(ModelConfig(**values), (12,), 3, seed=0)


def test_every_pretrained_backbone_is_in_the_table() -> None:
    assert set(PRETRAINED) <= set(BACKBONES)
