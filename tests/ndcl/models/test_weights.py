"""Weights come from torchvision's files or others of the same architecture, are checked, and never executed."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.functional import normalize

from ndcl.architectures import ARCHITECTURES, PRETRAINED, is_known_weights, named_weights
from ndcl.compatibility import require_fit, require_known_weights
from ndcl.config import ModelConfig
from ndcl.data.inputs import LARGEST_SIZE
from ndcl.data.transforms import to_inputs
from ndcl.errors import UserError
from ndcl.models import Network, build_network
from ndcl.models.families import FAMILY_OF, build
from ndcl.models.renormalize import Renormalize
from ndcl.models.torchvision_backbone import renormalization
from ndcl.models.weights import imagenet_entry, imagenet_file, load_body

torch.set_num_threads(1)
SHAPE = (64, 64, 3)


def network_for(weights: str, name: str = "resnet18", shape: tuple[int, ...] = SHAPE) -> Network:
    return build_network(ModelConfig(backbone=name, weights=weights), shape, 6, seed=0)


def made_state(seed: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return torchvision.models.resnet18().state_dict()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch"


def published(folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str | None = None) -> Path:
    """A file of random weights, for which torchvision's entry of resnet18 stands from now on."""
    torch.save(made_state(), folder / "unnamed")
    digest = digest or hashlib.sha256((folder / "unnamed").read_bytes()).hexdigest()[:8]
    file = (folder / "unnamed").rename(folder / f"resnet18-{digest}.pth")
    monkeypatch.setattr(imagenet_entry("resnet18").value, "url", file.as_uri())
    return file


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_replaces_all_but_the_classifier(tmp_path: Path, suffix: str) -> None:
    state, path = made_state(), tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = network_for(str(path))
    body = network[0].backbone.state_dict()
    assert set(body) == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(value, state[key]) for key, value in body.items())
    assert network[1].out_features == 6


@pytest.mark.parametrize("name", PRETRAINED)
def test_published_weights_fit_and_dictate_the_size(name: str) -> None:
    entry = imagenet_entry(name)
    digest = imagenet_file(name).stem.rpartition("-")[2]
    assert len(digest) >= 8
    int(digest, 16)
    assert entry.transforms().crop_size == [ARCHITECTURES[name].image_size or LARGEST_SIZE]
    with torch.device("meta"):
        network = build(name)
    assert sum(p.numel() for p in network.parameters()) == entry.meta["num_params"]
    state, head = network.state_dict(), FAMILY_OF[name].head
    network.set_submodule(head, torch.nn.Identity())
    load_body(network, state, head, "imagenet")
    left_out = set(state) - set(network.state_dict())
    assert {state[key].shape[0] for key in left_out} == {1000}


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_have_the_names_and_sizes_of_torchvision(name: str) -> None:
    known = {weights.name for weights in torchvision.models.get_model_weights(name)}
    assert set(named_weights(name)) == known
    for weights in known:
        model, transforms = ModelConfig(backbone=name, weights=weights), imagenet_entry(name, weights).transforms()
        assert transforms.crop_size == [model.image_size or LARGEST_SIZE]
        assert model.keeps_batchnorm
        if "SWAG" in weights:
            assert model.interpolation == transforms.interpolation.value == "bicubic"
        else:
            assert model.interpolation == "bilinear"
        assert is_known_weights(weights)


def test_a_name_of_torchvision_means_its_file(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet_entry("resnet50").value, "url", "file:///nowhere/resnet50-00000000.pth")
    torch.manual_seed(4)
    state = torchvision.models.resnet50().state_dict()
    torch.save(state, tmp_path / "made")
    digest = hashlib.sha256((tmp_path / "made").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "made").rename(tmp_path / f"resnet50-{digest}.pth")
    monkeypatch.setattr(imagenet_entry("resnet50", "IMAGENET1K_V2").value, "url", file.as_uri())
    network = network_for("IMAGENET1K_V2", "resnet50")
    assert torch.equal(network[0].backbone.conv1.weight, state["conv1.weight"])
    assert imagenet_file("resnet50", "IMAGENET1K_V2").is_file()


def test_a_name_that_a_backbone_has_not_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"'resnet18' has IMAGENET1K_V1, not IMAGENET1K_V2; give one of those"):
        require_fit(ModelConfig(backbone="resnet18", weights="IMAGENET1K_V2"), SHAPE)
    with pytest.raises(UserError, match=r"'timm:test_vit' has none, not IMAGENET1K_V1"):
        require_known_weights(ModelConfig(backbone="timm:test_vit", weights="IMAGENET1K_V1"))
    with pytest.raises(UserError, match=r"'small_cnn' takes no weights; set none"):
        require_fit(ModelConfig(weights="IMAGENET1K_V1"), SHAPE)


def test_a_transformers_positions_are_interpolated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = torchvision.models.vit_b_32().state_dict()
    torch.save(state, tmp_path / "weights.pt")
    small = network_for(str(tmp_path / "weights.pt"), "vit_b_32", (64, 64, 3))
    found = small[0].backbone.encoder.pos_embedding
    assert found.shape == (1, 5, 768)
    wanted = torchvision.models.vision_transformer.interpolate_embeddings(64, 32, dict(state))
    assert torch.equal(found, wanted["encoder.pos_embedding"])
    assert small(torch.zeros(2, 3, 64, 64)).shape == (2, 6)
    whole = network_for(str(tmp_path / "weights.pt"), "vit_b_32", (224, 224, 3))
    assert torch.equal(whole[0].backbone.encoder.pos_embedding, state["encoder.pos_embedding"])


def test_files_in_torchs_cache_are_used(torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = published(tmp_path, monkeypatch)
    place = imagenet_file("resnet18")
    assert place == torch_home / "hub" / "checkpoints" / file.name
    place.parent.mkdir(parents=True)
    file.rename(place)  # from where it could not be downloaded any more
    assert torch.equal(network_for("imagenet")[0].backbone.conv1.weight, made_state()["conv1.weight"])


def test_files_that_are_missing_are_downloaded(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = published(tmp_path, monkeypatch)
    assert torch.equal(network_for("imagenet")[0].backbone.conv1.weight, made_state()["conv1.weight"])
    assert imagenet_file("resnet18").read_bytes() == file.read_bytes()


def test_offline_the_message_names_the_file_and_its_place(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = published(tmp_path, monkeypatch)
    file.unlink()
    place = torch_home / "hub" / "checkpoints" / file.name
    with pytest.raises(UserError) as error:
        network_for("imagenet")
    message = str(error.value)
    assert message.startswith("model.weights: the ImageNet weights of resnet18 could not be downloaded (")
    assert message.endswith(f"put the file {file.name} at {place}, or set model.weights to its path")
    assert "\n" not in message
    assert "://" not in message
    assert not place.exists()


def test_a_damaged_download_is_refused(torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path, monkeypatch, digest="0123abcd")
    with pytest.raises(UserError, match=r"could not be downloaded \(invalid hash value .* put the file"):
        network_for("imagenet")
    assert not imagenet_file("resnet18").exists()


def test_a_damaged_or_foreign_file_in_the_cache_is_refused(
    torch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = published(tmp_path, monkeypatch)
    place = imagenet_file("resnet18")
    place.parent.mkdir(parents=True)
    place.write_bytes(file.read_bytes()[:-1])
    expected = place.stem.rpartition("-")[2]
    with pytest.raises(UserError, match=rf"resnet18-{expected}.pth is damaged or another file: .* {expected}; put"):
        network_for("imagenet")


@pytest.mark.parametrize("size", [32, 64])
def test_pretrained_networks_see_images_as_their_weights_expect(tmp_path: Path, size: int) -> None:
    torch.save(made_state(), tmp_path / "weights.pt")
    pixels = torch.randint(256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = network_for(str(tmp_path / "weights.pt"), shape=(size, size, 3)).eval()
    reference = torchvision.models.resnet18()
    reference.load_state_dict(made_state())
    reference.fc = torch.nn.Identity()
    transforms = imagenet_entry("resnet18").transforms()
    images = normalize(pixels.permute(0, 3, 1, 2).float() / 255, transforms.mean, transforms.std)
    with torch.inference_mode():
        torch.testing.assert_close(network[0](to_inputs(pixels)), reference.eval()(images), rtol=1e-4, atol=1e-5)


def test_images_are_normalised_anew_only_where_weights_want_it() -> None:
    own_way = {name for name in PRETRAINED if isinstance(renormalization(name, 224), Renormalize)}
    assert own_way == {"efficientnet_v2_l"}
    pixels = torch.tensor([0, 100, 255], dtype=torch.uint8).expand(1, 64, 64, 3)
    given = renormalization("efficientnet_v2_l", 64)(to_inputs(pixels))
    expected = torch.tensor([0, 100, 255]) / 127.5 - 1
    torch.testing.assert_close(given, expected.view(1, 3, 1, 1).expand(1, 3, 64, 64))


def unpicklable(path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"conv1.weight": Evil()}, path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.write_bytes(b"not weights"), "is damaged, or holds more than tensors"),
        (lambda path: path.write_bytes(b""), "not a state dict that can be read safely"),
        (unpicklable, "is damaged, or holds more than tensors"),
        (lambda path: torch.save({"conv1.weight": torch.zeros(1)}, path), "does not fit"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
    ],
)
def test_bad_weight_files_get_one_line(
    tmp_path: Path, prepare: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pt"
    prepare(path)
    with pytest.raises(UserError, match=message) as error:
        network_for(str(path))
    assert "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


def test_a_pickle_in_torchs_cache_is_not_executed(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch_home.mkdir()
    unpicklable(torch_home / "evil")
    digest = hashlib.sha256((torch_home / "evil").read_bytes()).hexdigest()[:8]
    file = (torch_home / "evil").rename(torch_home / f"resnet18-{digest}.pth")
    monkeypatch.setattr(imagenet_entry("resnet18").value, "url", file.as_uri())
    with pytest.raises(UserError, match=rf"model\.weights: .*{file.name}' is damaged, or holds more than tensors"):
        network_for("imagenet")
    assert "executed" not in capsys.readouterr().out
