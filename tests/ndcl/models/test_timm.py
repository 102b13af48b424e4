"""Networks of timm under the contract of every backbone: small ones computed, one of each of its families on meta."""

import hashlib
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms.functional import normalize

import ndcl.timm_models
from ndcl.blocks import blocks
from ndcl.compatibility import require_fit, require_steps
from ndcl.config import ModelConfig, TrainConfig
from ndcl.data.transforms import to_inputs
from ndcl.errors import UserError
from ndcl.features import Extractor
from ndcl.models import Network, build_network
from ndcl.models.timm_weights import timm_weights_file
from ndcl.serving import Model, export
from ndcl.timm_models import (
    PREFIX,
    architecture_of,
    build,
    has_stochastic_depth,
    pretrained_config,
    stage_names,
    timm_model,
)
from ndcl.training import Training, train
from tests.made.made_photos import make_photos, photo_config
from tests.ndcl.training.test_step import Case, close, config_of

timm = pytest.importorskip("timm")
torch.set_num_threads(1)
COMPUTED = {
    **dict.fromkeys(("test_vit", "vit_tiny_patch16_224", "vit_small_patch16_dinov3"), 32),
    **dict.fromkeys(("vit_small_patch14_dinov2", "eva02_tiny_patch14_224"), 28),
    **dict.fromkeys(("convnextv2_atto", "mobilenetv4_conv_small", "tf_efficientnet_lite0", "test_resnet"), 64),
    **dict.fromkeys(("test_mambaout", "test_nfnet", "test_byobnet", "test_convnext2"), 64),
}
"""Name to height and width at which it is computed."""
ON_META = (
    *("vit_large_patch14_dinov2", "vit_large_patch14_reg4_dinov2", "vit_large_patch16_dinov3", "convnext_tiny"),
    *(
        "vit_base_patch16_clip_224",
        "vit_base_patch16_siglip_224",
        "eva02_base_patch14_224",
        "swin_tiny_patch4_window7_224",
    ),
    *("efficientformerv2_s0", "caformer_s18", "focalnet_tiny_srf", "coatnet_rmlp_nano_rw_224", "ghostnet_100"),
)
FAMILIES = (
    *("beit_base_patch16_224", "halonet_h1", "cait_xxs24_224", "coat_lite_tiny", "convit_tiny", "convmixer_768_32"),
    *(
        "cpubone_b2_bfrobust",
        "crossvit_tiny_240",
        "cs3darknet_s",
        "cspnext_tiny",
        "davit_tiny",
        "densenet121",
        "dla46_c",
    ),
    *("deit_tiny_distilled_patch16_224", "dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientvim_m1"),
    *(
        "efficientvit_b0",
        "efficientvit_m0",
        "fasternet_t1",
        "fastvit_t8",
        "gcvit_xxtiny",
        "hardcorenas_a",
        "hgnetv2_b0",
    ),
    *("hiera_tiny_224", "hrnet_w18_small", "iformer_t", "inception_next_atto", "inception_resnet_v2", "inception_v3"),
    *("inception_v4", "lcnetv2_small", "levit_128s", "lowformer_b0", "maxvit_rmlp_nano_rw_256", "gmlp_ti16_224"),
    *("lcnet_035", "mobilenetv5_base", "mobilevit_xxs", "mvitv2_tiny", "nasnetalarge", "nest_tiny", "nextvit_small"),
    *("nf_regnet_b0", "pit_ti_224", "pnasnet5large", "poolformer_s12", "pvt_v2_b0", "rdnet_tiny", "regnety_002"),
    *("repghostnet_050", "repvit_m0_9", "res2next50", "resnest14d", "resnetv2_50", "rexnet_100", "selecsls42"),
    *("legacy_seresnet18", "sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs", "csatv2"),
    *("swinv2_tiny_window8_256", "swinv2_cr_tiny_224", "tiny_vit_5m_224", "tnt_s_patch16_224", "tresnet_m", "vgg11"),
    *("twins_svt_small", "visformer_tiny", "vit_relpos_small_patch16_224", "samvit_base_patch16_224", "volo_d1_224"),
    *(
        "ese_vovnet19b_dw",
        "xcit_nano_12_p8_224",
        "legacy_xception",
        "xception41",
        "vitamin_small_224",
        "vit_tiny_r_s16_p8_224",
    ),
)
"""One of every other module of timm."""
MADE = "test_vit"


def shape_of(name: str) -> tuple[int, int, int]:
    return (COMPUTED[name], COMPUTED[name], 3)


def model_of(name: str, **values: Any) -> ModelConfig:
    return ModelConfig(backbone=PREFIX + name, **values)


def network_for(name: str, seed: int = 0, **values: Any) -> Network:
    return build_network(model_of(name, **values), shape_of(name), 6, seed=seed)


def images_of(name: str, rows: int = 2) -> torch.Tensor:
    return torch.randn((rows, 3, *shape_of(name)[:2]), generator=torch.Generator().manual_seed(0))


@cache
def on_meta(name: str) -> Network:
    size = model_of(name).image_size
    with torch.device("meta"):
        return build_network(model_of(name, dropout=0.5), (size, size, 3), 6, seed=0)


each_on_meta = pytest.mark.parametrize(
    "name", [*COMPUTED, *ON_META, *(pytest.param(name, marks=pytest.mark.soak) for name in FAMILIES)]
)
each_computed = pytest.mark.parametrize("name", COMPUTED)


@each_on_meta
def test_contract_on_meta(name: str) -> None:
    network, facts = on_meta(name), architecture_of(PREFIX + name)
    size = facts.image_size
    assert size == pretrained_config(PREFIX + name).input_size[1]
    features = network[0](torch.empty((2, 3, size, size), device="meta"))
    assert features.shape == (2, network[0].num_features)
    assert network[1](features).shape == (2, 6)
    stages = network.stages()
    assert all(stages), "no stage is empty"
    members = [id(p) for stage in stages for p in stage]
    assert sorted(members) == sorted(id(p) for p in network.parameters())
    assert facts.num_stages == len(stages) - 1 >= 2
    assert facts.has_batchnorm == bool(network.batchnorms)
    assert facts.has_blocks == bool(list(blocks(network[0])))
    dropping = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    assert dropping == [network[0].dropout]
    assert not [m for m in network.modules() if isinstance(getattr(m, "drop_rate", None), float) and m.drop_rate]


@each_on_meta
def test_stochastic_depth_is_set_or_refused(name: str) -> None:
    size, takes_it = model_of(name).image_size, has_stochastic_depth(PREFIX + name)
    if not takes_it:
        with pytest.raises(UserError, match="leaves out no blocks in training"):
            require_fit(model_of(name, stochastic_depth=0.5), (size, size, 3))
        return
    with torch.device("meta"):
        network = build_network(model_of(name, stochastic_depth=0.5), (size, size, 3), 6, seed=0)
    rates = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert 0.45 < max(rates) < 0.501, "EfficientNets count one block more than they have"
    assert network.has_dropout


def test_weights_that_timm_has_not_are_refused_before_anything_starts() -> None:
    with pytest.raises(UserError, match=r"^model.weights: timm has no weights of 'timm:test_mambaout'; give none"):
        require_fit(model_of("test_mambaout", weights="pretrained"), (160, 160, 3))


@each_on_meta
def test_stages_are_frozen_from_the_input_on(name: str) -> None:
    backbone, number = on_meta(name)[0], architecture_of(PREFIX + name).num_stages
    for frozen in {1, number}:
        stages = Network(backbone, 6, ModelConfig(freeze_stages=frozen)).stages()
        assert [{p.requires_grad for p in stage} for stage in stages] == [{k >= frozen} for k in range(number + 1)]
        backbone.requires_grad_(True)
    size = model_of(name).image_size
    with pytest.raises(UserError, match=rf"model\.freeze_stages: 'timm:{name}' has {number} stages .* lower it"):
        require_fit(model_of(name, freeze_stages=number + 1), (size, size, 3))


@each_computed
def test_gradients_reach_all_parameters(name: str) -> None:
    network = network_for(name)
    logits = network(images_of(name))
    assert torch.isfinite(logits).all()
    (logits * torch.arange(6)).sum().backward()
    unused = [key for key, p in network.named_parameters() if p.grad is None]
    assert unused in ([], ["0.backbone.mask_token"]), "what training by masks needs alone"
    for stage in network.stages():
        assert any(p.grad is not None and p.grad.any() for p in stage)


@each_computed
def test_a_state_dict_makes_another_network_the_same(name: str) -> None:
    network, other = network_for(name).eval(), network_for(name, seed=1).eval()
    again = network_for(name).eval()
    with torch.no_grad():
        expected = network(images_of(name))
        assert torch.equal(again(images_of(name)), expected), "the seed alone decides"
        assert not torch.equal(other(images_of(name)), expected)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(images_of(name)), expected)


@pytest.mark.parametrize("name", ["test_vit", "convnextv2_atto", "vit_small_patch16_dinov3", "test_resnet"])
@pytest.mark.parametrize("values", [{"micro_batch_size": 4}, {"activation_checkpointing": True}])
def test_pieces_give_the_gradient_of_the_whole(name: str, values: dict[str, Any]) -> None:
    model = {"backbone": PREFIX + name, "dropout": 0.2, "freeze_batchnorm": True}
    whole, parts = (Case(config_of(model=model, **each), 3, shape=shape_of(name)) for each in ({}, values))
    assert close(parts.gradient(), whole.gradient())


def test_stochastic_depth_is_by_rows() -> None:
    model = {"backbone": f"{PREFIX}fasternet_t1", "freeze_batchnorm": True}
    whole, parts = (
        Case(config_of(model=model, **each), 3, shape=(64, 64, 3)) for each in ({}, {"micro_batch_size": 4})
    )
    assert whole.network.has_dropout
    assert close(parts.gradient(), whole.gradient())


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_trained_resumed_and_exported(name: str, tmp_path: Path) -> None:
    store = make_photos(tmp_path / "photos", "raw")
    config = photo_config(
        store,
        data={"image_size": 32},
        model={"backbone": PREFIX + name, "freeze_stages": 1},
        optimizer={"layer_decay": 0.75},
        batch_size=3,
        num_steps=4,
        evaluate_every=2,
    )
    straight = Training(config)
    assert len(list(straight.evaluations())) == 2
    next(iter(train(config, tmp_path / "kept")))
    [*_] = train(config, tmp_path / "kept")
    checkpoint = next((tmp_path / "kept").glob("step-*"))
    resumed = Training(config)
    resumed.load(checkpoint)
    expected = straight.network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.network.state_dict().items())
    rows = straight.problem.target_test
    straight.network.load_state_dict(resumed.best["network"])
    images = store.inputs(rows)
    for form in ("safetensors", "torch-export", "onnx"):
        export(checkpoint, tmp_path / form, form)
        model = Model.load(tmp_path / form)
        assert model.description.inputs.interpolation == timm_model(PREFIX + name).architecture.interpolation
        found, wanted = model.logits(model.prepare(images)), straight.logits(rows)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def made_state(name: str = MADE, seed: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(name).state_dict()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "convnextv2_atto"])
def test_a_file_replaces_all_but_the_classifier(tmp_path: Path, suffix: str, name: str) -> None:
    state, path = made_state(name), tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    size = model_of(name).image_size
    network = build_network(model_of(name, weights=str(path)), (size, size, 3), 6, seed=0)
    body = network[0].backbone.state_dict()
    assert set(body) < set(state)
    assert all(torch.equal(value, state[key]) for key, value in body.items())
    assert not network.batchnorms or not any(layer.training for layer in network.train().batchnorms)


def test_positions_are_resampled_for_another_size(tmp_path: Path) -> None:
    save_file(made_state(), tmp_path / "weights.safetensors")
    network = network_for(MADE, weights=str(tmp_path / "weights.safetensors"))
    from timm.layers import resample_abs_pos_embed

    own, found = made_state()["pos_embed"], network[0].backbone.pos_embed
    prefix = network[0].backbone.num_prefix_tokens
    assert found.shape[1] == 4 + prefix
    torch.testing.assert_close(found, resample_abs_pos_embed(own, [2, 2], num_prefix_tokens=prefix))


def test_images_are_normalised_as_the_weights_expect(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224.augreg_in21k"
    torch.manual_seed(0)
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pt")
    config = model_of(name, weights=str(tmp_path / "weights.pt"))
    network = build_network(config, (224, 224, 3), 6, seed=0).eval()
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=0).eval()
    reference.load_state_dict(network[0].backbone.state_dict())
    pixels = torch.randint(256, (1, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = normalize(pixels.permute(0, 3, 1, 2).float() / 255, [0.5] * 3, [0.5] * 3)
    with torch.inference_mode():
        torch.testing.assert_close(network[0](to_inputs(pixels)), reference(images), rtol=1e-3, atol=1e-4)


def test_images_are_resized_as_the_network_was_made_for(tmp_path: Path) -> None:
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    store = make_photos(tmp_path / "photos", "raw")
    extractor = Extractor(store, model_of(MADE), 32)
    rows = np.arange(3)
    pixels = store.inputs(rows).permute(0, 3, 1, 2)
    assert model_of(MADE).interpolation == "bicubic"
    assert model_of("test_resnet").interpolation == "bilinear"
    assert ModelConfig(backbone="resnet18").interpolation == "bilinear"
    expected = resize(pixels, [32, 32], interpolation=InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(extractor.images(rows), expected.permute(0, 2, 3, 1))
    other = Training(photo_config(store, data={"image_size": 32}, model={"backbone": PREFIX + MADE}))
    assert torch.equal(other.loader._preparation[rows], expected)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of torch and of the hub, and no network."""
    from huggingface_hub import constants, file_download

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://nowhere.invalid")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def pretrained() -> Network:
    size = model_of(MADE).image_size
    return build_network(model_of(MADE, weights="pretrained"), (size, size, 3), 6, seed=0)


def test_offline_the_message_names_the_file_and_its_place(caches: Path) -> None:
    place = caches / "torch" / "hub" / "checkpoints" / "timm" / "test_vit.r160_in1k.safetensors"
    assert timm_weights_file(PREFIX + MADE) == place
    with pytest.raises(UserError) as error:
        pretrained()
    message = str(error.value)
    assert message.startswith("model.weights: the weights of timm:test_vit could not be downloaded (")
    assert f"put the file model.safetensors of timm/test_vit.r160_in1k at {place}, or set" in message
    assert "\n" not in message


def test_a_file_at_that_place_is_used_and_its_digest_compared(caches: Path) -> None:
    place, state = timm_weights_file(PREFIX + MADE), made_state()
    place.parent.mkdir(parents=True)
    save_file(state, place)
    assert torch.equal(pretrained()[0].backbone.cls_token, state["cls_token"])
    beside = place.with_name(f"{place.name}.sha256")
    beside.write_text(f"{hashlib.sha256(place.read_bytes()).hexdigest()}  {place.name}\n")
    pretrained()
    beside.write_text(f"{'0' * 64}  {place.name}\n")
    with pytest.raises(UserError, match=r"test_vit.r160_in1k.safetensors is damaged or another file"):
        pretrained()
    beside.unlink()
    place.write_bytes(place.read_bytes()[:-100])
    with pytest.raises(UserError, match="is not a state dict that can be read safely"):
        pretrained()


def test_a_file_in_the_hubs_cache_is_used_and_its_digest_compared(caches: Path) -> None:
    state, folder = made_state(), caches / "hub" / "models--timm--test_vit.r160_in1k"
    for name in ("blobs", "refs", "snapshots/abc"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    save_file(state, folder / "made")
    digest = hashlib.sha256((folder / "made").read_bytes()).hexdigest()
    blob = (folder / "made").rename(folder / "blobs" / digest)
    (folder / "snapshots" / "abc" / "model.safetensors").symlink_to(blob)
    assert torch.equal(pretrained()[0].backbone.cls_token, state["cls_token"])
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or another file: its SHA-256 begins with"):
        pretrained()


def test_a_pickle_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"cls_token": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="is damaged, or holds more than tensors"):
        network_for(MADE, weights=str(tmp_path / "weights.pt"))
    assert "executed" not in capsys.readouterr().out


def test_weights_that_leave_a_part_at_random_are_refused(tmp_path: Path) -> None:
    state = made_state()
    for prepare, message in (
        (lambda: state.pop("blocks.0.attn.qkv.weight"), r"lack 1 of the network's tensors, such as blocks\.0\.attn"),
        (lambda: state.update(made_state("test_vit2")), r"have \d+ layers that the network has not, such as blocks\.6"),
        (
            lambda: state.update(made_state("vit_tiny_patch16_224")),
            "does not fit the backbone 'timm:test_vit': .*size mismatch",
        ),
    ):
        prepare()
        torch.save(dict(state), tmp_path / "weights.pt")
        with pytest.raises(UserError, match=message) as error:
            network_for(MADE, weights=str(tmp_path / "weights.pt"))
        assert "\n" not in str(error.value)


def test_loading_leaves_torch_as_it_was(tmp_path: Path) -> None:
    before = nn.Module.load_state_dict
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(UserError):
        network_for(MADE, weights=str(tmp_path / "weights.pt"))
    assert nn.Module.load_state_dict is before


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ({"backbone": "timm:vit_tini"}, (64, 64, 3), r"has no network 'vit_tini'; "),
        ({"backbone": "timm:vit_smal_patch14_dinov2"}, (64, 64, 3), r"did you mean vit_small_patch14_dinov2"),
        ({"backbone": "timm:test_vit.x"}, (160, 160, 3), r"timm's test_vit has no tag 'x'; valid: r160_in1k"),
        ({"backbone": "timm:test_vit"}, (12,), r"'timm:test_vit' needs images"),
        ({"backbone": "timm:test_vit"}, (30, 30, 3), r"data\.image_size: .* does not take images of 30 x 30 \(.*160"),
        (
            {"backbone": "timm:test_vit", "weights": "imagenet"},
            (160, 160, 3),
            r"'imagenet' means torchvision's; .* pre",
        ),
        ({"backbone": "resnet18", "weights": "pretrained"}, (64, 64, 3), r"'pretrained' means those of .* timm"),
        ({"backbone": "timm:mobilenetv5_300m_enc"}, (768, 768, 3), r"gives no vector of features for an image"),
        (
            {"backbone": "timm:test_vit", "weights": "/nowhere.pt"},
            (160, 160, 3),
            r"no file '/nowhere.pt'; give pretrained",
        ),
    ],
)
def test_mistakes(values: dict[str, str], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_network(ModelConfig(**values), shape, 6, seed=0)
    assert "\n" not in str(error.value)


def test_what_batchnorm_needs_is_known_beforehand() -> None:
    def config(name: str, **model: Any) -> TrainConfig:
        return config_of(model={"backbone": PREFIX + name, **model}, micro_batch_size=2)

    require_steps(config("test_vit"), on_several=True)
    require_steps(config("test_resnet", freeze_batchnorm=True), on_several=True)
    with pytest.raises(UserError, match=r"model\.freeze_batchnorm: false works with one worker only"):
        require_steps(config("test_resnet"), on_several=True)


def test_a_tag_has_its_own_size() -> None:
    assert model_of("vit_large_patch14_dinov2.lvd142m").image_size == 518
    assert model_of("vit_tiny_patch16_384").image_size == 384
    assert model_of("no_such_network").image_size is None
    network = build("timm:test_vit", (32, 32))
    assert next(len(stage) for stage in stage_names(network)) == 4


def test_without_timm_all_else_works() -> None:
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "from ndcl.config import ModelConfig\n"
        "from ndcl.models import build_network\n"
        "build_network(ModelConfig(backbone='resnet18'), (64, 64, 3), 3, seed=0)\n"
        "assert ModelConfig(backbone='timm:test_vit').image_size is None\n"
        "build_network(ModelConfig(backbone='timm:test_vit'), (64, 64, 3), 3, seed=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = (
        "UserError: model.backbone: 'timm:NAME' needs the package timm, which is not installed; install it by: "
        "pip install '.[timm]' in the folder of this project, or pip install timm"
    )
    assert expected in done.stderr.splitlines()[-1]


def test_other_backbones_import_no_timm() -> None:
    code = (
        "import sys\nfrom ndcl.config import ModelConfig\nfrom ndcl.models import build_network\n"
        "build_network(ModelConfig(), (28, 28, 3), 3, seed=0); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_network_is_measured_once() -> None:
    timm_model.cache_clear()
    with mock.patch.object(ndcl.timm_models, "_on_meta", side_effect=ndcl.timm_models._on_meta) as built:
        for _ in range(3):
            require_fit(model_of(MADE), (160, 160, 3))
    assert built.call_count == 1
