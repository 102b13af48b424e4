"""The recipe of a fine-tuning as the guide has it, and when the unseen domain is looked at."""

import json
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ndcl.checkpoints import content
from tests.journeys.clone import Clone
from tests.journeys.guides import block

RECIPE = block("docs/backbones.md", "train:\n  num_steps: 60")
SMOKE = "ndcl sweep search_spaces/digits_smoke.yaml"
SMALL = ("algorithms={erm: null}", "space={}", "final.seeds=1", "final.ensemble=none")


SMALLER = tuple(setting for setting in SMALL if not setting.startswith("space"))


def records(clone: Clone, name: str) -> list[dict]:
    found = sorted((clone.folder / "results" / name / "trials").glob("*.json"))
    return [json.loads(path.read_text()) for path in found]


def looks(record: dict) -> list[int]:
    """The steps at which the target was looked at."""
    return [each["step"] for each in record["evaluations"] if each["target"]["num_images"]]


@pytest.mark.parametrize(
    ("asked", "search", "final"), [("selected", 1, 1), ("final", 0, 1), ("always", 2, 2)], ids=lambda value: str(value)
)
def test_the_unseen_domain_is_looked_at_as_the_search_says(clone: Clone, asked: str, search: int, final: int) -> None:
    printed = clone.type(SMOKE, *SMALL, f"name=looks_{asked}", f"search.evaluate_target={asked}")
    assert re.search(r"overall\s+erm\s+[\d.]+", printed)
    found = records(clone, f"looks_{asked}")
    assert {each["stage"]: len(looks(each)) for each in found} == {"search": search, "final": final}
    [repeated] = [each for each in found if each["stage"] == "final"]
    selected = max(repeated["evaluations"], key=lambda each: each["validation_accuracy"])
    assert selected["target"]["overall"] is not None


def test_a_single_training_says_what_its_best_checkpoint_reaches(clone: Clone) -> None:
    (clone.folder / "once.yaml").write_text(
        "data: {name: digits, target: sign}\nimbalance: {ratio: 20, validation: 2}\nalgorithm: {name: erm}\n"
        "num_steps: 20\nevaluate_every: 5\nevaluate_target: selected\n"
    )
    printed = clone.type("ndcl train once.yaml")
    step = int(re.search(r"best checkpoint: step (\d+), validation [\d.]+ %, target [\d.]+ %", printed)[1])
    evaluations = json.loads((clone.folder / "results" / "train" / "once" / "evaluations.json").read_text())
    assert looks({"evaluations": evaluations}) == [step]


def test_the_recipe_of_the_guide_is_trained_selected_and_exported(clone: Clone) -> None:
    recipe = yaml.safe_load(RECIPE.text)["train"]
    clone.type(SMOKE, *SMALL, "name=recipe", f"train={json.dumps(recipe | {'evaluate_every': 20, 'batch_size': 8})}")
    found = records(clone, "recipe")
    for record in found:
        assert record["state"] == "finished"
        assert record["config"]["averaging"] | recipe["averaging"] == record["config"]["averaging"]
        optimizer = recipe["optimizer"] | {"learning_rate": 1e-3}
        assert record["config"]["optimizer"] | optimizer == record["config"]["optimizer"]
    clone.type("ndcl export recipe --to averaged")
    [model] = (clone.folder / "averaged").iterdir()
    [repeated] = [each for each in found if each["stage"] == "final"]
    state, _ = content.read(clone.folder / repeated["checkpoint"] / "training")
    exported = load_file(model / "model.safetensors")
    assert exported.keys() == state["network"].keys()
    for name, value in exported.items():
        assert torch.equal(value, state["best"]["network"][name])
        assert not torch.equal(value, state["network"][name]), "the newest weights are not what is exported"


def test_the_augmentation_is_searched(clone: Clone) -> None:
    space = "space={data.augment: {type: choice, choices: [trivial, randaugment]}}"
    clone.type(
        SMOKE, *SMALLER, "name=augmented", "search={num_trials: 2, sampler: grid, scheduler: {name: none}}", space
    )
    found = [each["config"]["data"]["augment"] for each in records(clone, "augmented") if each["stage"] == "search"]
    assert sorted(found) == ["randaugment", "trivial"]
    assert {each["state"] for each in records(clone, "augmented")} == {"finished"}
    printed = clone.type(
        SMOKE, *SMALLER, "name=image_size", "space={data.image_size: {type: int, low: 16, high: 32}}", code=2
    )
    assert "data.image_size: it can't be searched: the data are the problem, not a choice" in printed
