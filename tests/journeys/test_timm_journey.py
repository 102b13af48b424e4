"""A network of timm with random weights, its features and a sweep on them, typed as docs/backbones.md says."""

import json

import pytest
from PIL import Image

from tests.journeys.clone import Clone
from tests.journeys.guides import block

pytestmark = pytest.mark.soak
pytest.importorskip("timm")
EXAMPLE = block("docs/backbones.md", "ndcl data embed digits")
ADAPTED = block("docs/backbones.md", "ndcl sweep search_spaces/digits_smoke.yaml --set name=lora")
SMALL = (
    *("data.targets=[texture]", "train.num_steps=100", "search.num_trials=1", "final.seeds=0"),
    "search.scheduler.name=none",
)


def test_features_of_the_digits(clone: Clone) -> None:
    printed = clone.type(EXAMPLE.line("ndcl data embed"))
    assert "digits_timm: " in printed
    assert "vectors of 256 features" in printed


def test_a_sweep_on_them(clone: Clone) -> None:
    assert "results: results/digits_timm" in clone.type(EXAMPLE.line("ndcl sweep"), *SMALL)
    records = [json.loads(path.read_text()) for path in clone.folder.glob("results/digits_timm/trials/*.json")]
    assert [record["state"] for record in records] == ["finished"] * 2
    assert all(record["evaluations"][-1]["target"]["overall"] > 0.15 for record in records), "ten classes"
    assert "ndcl - erm" in clone.type(EXAMPLE.line("ndcl report"))


def test_an_adapted_transformer_becomes_a_model(clone: Clone) -> None:
    assert "results: results/lora" in clone.type(ADAPTED.line("ndcl sweep"))
    record = json.loads(next(clone.folder.glob("results/lora/trials/ndcl.*.search-*.json")).read_text())
    assert record["config"]["model"] == record["config"]["model"] | {"backbone": "timm:test_vit", "train": "lora"}
    assert "next: ndcl predict lora_models/" in clone.type(ADAPTED.line("ndcl export"))
    Image.effect_noise((40, 30), 60.0).convert("RGB").save(clone.folder / "one.png")
    model = next(path.name for path in clone.folder.glob("lora_models/ndcl.*"))
    assert "one.png" in clone.type(f"ndcl predict lora_models/{model} one.png")


def test_names_and_places(clone: Clone) -> None:
    names = clone.type(block("docs/backbones.md", 'python -c "import timm').lines[0])
    assert "vit_large_patch14_dinov2.lvd142m" in names
    place = clone.type(block("docs/backbones.md", 'python -c "from ndcl.models.timm_weights').lines[0])
    assert place.rstrip().endswith("hub/checkpoints/timm/vit_base_patch14_dinov2.lvd142m.safetensors")


def test_offline_a_training_says_which_file_it_needs(clone: Clone) -> None:
    line = "ndcl data embed digits --backbone timm:test_vit --image-size 32 --name other"
    printed = clone.type(f"HF_ENDPOINT=https://nowhere.invalid HTTPS_PROXY= {line}", code=2)
    assert "put the file model.safetensors of timm/test_vit.r160_in1k at " in printed
