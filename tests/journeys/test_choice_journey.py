"""Which model a sweep ends with, by a file of one's own: a second look, an ensemble over trials, no target at all.

Then doubtful images are rejected; and all is typed wrongly, too.
"""

import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.journeys.clone import Clone
from tests.journeys.guides import block

pytestmark = pytest.mark.soak
LOOK = yaml.safe_load(block("docs/search_space.md", "search: {num_trials: 40, select:").text)["search"]["select"]
MINE = {
    "name": "mine",
    "data": {"name": "digits", "targets": ["sign", "none"]},
    "imbalance": {"setting": "long_tail", "ratio": 20},
    "train": {"num_steps": 60, "evaluate_every": 30, "batch_size": 16},
    "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}},
    "algorithms": ["erm"],
    "search": {"num_trials": 3, "scheduler": {"name": "none"}, "select": LOOK | {"among": 2}},
    "final": {"seeds": 2},
}
STUDY = "erm.digits.long_tail-20"
REJECT = "ndcl predict model photos/ --reject"


def written(clone: Clone, name: str, **changes: object) -> str:
    """A file of the user's own; returns the command that runs it."""
    (clone.folder / f"{name}.yaml").write_text(yaml.safe_dump(MINE | {"name": name} | changes, sort_keys=False))
    return f"ndcl sweep {name}.yaml"


def records(clone: Clone, name: str) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in clone.folder.glob(f"results/{name}/trials/*.json")}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "search.select={by: validation_accuracy}",
            "search.select.by: 'validation_accuracy' is not valid; choose one of",
        ),
        ("search.select.among=1", "search.select.among: 1 is out of range; it must be at least 2"),
        ("final.top_k=2", "final.top_k: the final runs of several trials would choose between them once more"),
        ("final.ensemble={top_k: 2}", "final.ensemble.top_k: 2 trials can't be combined, since final.top_k has only 1"),
        ("final.ensemble={topk: 2}", "give seeds, weights, none, or the number of trials as {top_k: 2}"),
        ("data.targets=[]", "data.targets: expected at least 1 entry or all, got []"),
        ("data.targets=[None]", "texture, all, or none for a study that leaves none out"),
        ("data.targets=[none, none]", f"study {STUDY}.none would run 2 times; leave one out"),
    ],
)
def test_slips_in_the_file_are_one_line(clone: Clone, setting: str, words: str) -> None:
    written(clone, "mine")
    printed = clone.type("ndcl plan mine.yaml", setting, code=2)
    assert words in printed
    assert len(printed.splitlines()) == 1


def test_a_second_look_chooses_what_the_final_runs_repeat(clone: Clone) -> None:
    command = written(clone, "mine")
    assert "second looks" in clone.type("ndcl plan mine.yaml")
    printed = clone.type(command)
    assert "one model of all domains" not in printed, "one unseen domain tells no range"
    for target in ("sign", "none"):
        own = {name: each for name, each in records(clone, "mine").items() if each["study"]["target"] == target}
        stages = [each["stage"] for each in own.values()]
        assert [stages.count(stage) for stage in ("search", "review", "final", "ensemble")] == [3, 2, 2, 1]
        finals = [each for each in own.values() if each["stage"] == "final"]
        reviews = [each for each in own.values() if each["stage"] == "review"]
        assert finals[0]["values"] == finals[1]["values"]
        assert finals[0]["values"] in [each["values"] for each in reviews]
    assert "second look" in (clone.folder / "results" / "mine" / "report.md").read_text().lower()


def test_the_study_without_a_target_is_what_is_deployed(clone: Clone) -> None:
    before = records(clone, "mine")
    printed = clone.type("ndcl deploy mine --to model")
    assert re.search(r"^erm: on domains that it had not seen \d+ %, of a single domain  <- deployed$", printed, re.M)
    assert records(clone, "mine") == before, "nothing is trained"
    assert not list(clone.folder.glob("results/mine-deploy*"))
    described = json.loads((clone.folder / "model" / "model.json").read_text())
    assert described["origin"]["study"] == f"{STUDY}.none"
    assert described["sources"]["domains"] == ["scan", "texture", "print", "sign"]
    card = (clone.folder / "model" / "MODEL_CARD.md").read_text()
    assert "trained on all 4 labelled domains" in card
    assert "Measured on sign alone" in card
    assert "it exists already" in clone.type("ndcl deploy mine --to model", code=2)


def test_a_sweep_that_leaves_no_domain_out_is_deployed_as_it_is(clone: Clone) -> None:
    data = {"name": "digits", "targets": "none"}
    clone.type(written(clone, "alone", data=data, search={"num_trials": 1}, space={}, algorithms=["erm", "focal"]))
    assert "nothing chooses between erm, focal; name one" in clone.type("ndcl deploy alone --to other", code=2)
    printed = clone.type("ndcl deploy alone --to other --algorithm erm")
    assert "erm: on domains that it had not seen no accuracy is known, since none was left out  <- deployed" in printed
    assert (clone.folder / "other" / "model.safetensors").is_file()
    assert "**not known**" in (clone.folder / "other" / "MODEL_CARD.md").read_text()
    assert not list(clone.folder.glob("results/alone-deploy*"))


def test_doubtful_photos_are_rejected(clone: Clone) -> None:
    (clone.folder / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(clone.folder / "photos" / f"{number}.png")
    selective = json.loads((clone.folder / "model" / "model.json").read_text())["selective"]
    reached = max(selective["accuracies"])
    wanted = np.floor(100 * reached) / 100
    printed = clone.type(f"{REJECT} {wanted:g} --output found.csv")
    (rejected,) = re.findall(r"^(\d) of 6 rejected: confidence below 0\.\d+; above it", printed, re.MULTILINE)
    rows = (clone.folder / "found.csv").read_text().splitlines()
    assert rows[0].endswith('"rejected"')
    assert sum(row.endswith("true") for row in rows) == int(rejected)
    assert "(rejected)" in clone.type(f"{REJECT} {wanted:g}") or rejected == "0"
    assert "invalid value for '--reject'" in clone.type(f"{REJECT} 90", code=2)
    if reached < 1:
        assert f"at most {reached:.2f} is reached" in clone.type(f"{REJECT} 1", code=2)
    described = json.loads((clone.folder / "model" / "model.json").read_text())
    (clone.folder / "model" / "model.json").write_text(json.dumps(described | {"selective": None}))
    assert "export it again from its sweep" in clone.type(f"{REJECT} 0.5", code=2)
    (clone.folder / "model" / "model.json").write_text(json.dumps(described))


def test_an_ensemble_over_trials_is_evaluated_and_exported(clone: Clone) -> None:
    search = {"num_trials": 2, "scheduler": {"name": "none"}}
    final = {"seeds": 2, "top_k": 2, "ensemble": {"top_k": 2}}
    command = written(clone, "many", data={"name": "digits", "targets": "sign"}, search=search, final=final)
    assert "erm ensemble" in clone.type(command)
    [ensemble] = [each for each in records(clone, "many").values() if each["stage"] == "ensemble"]
    assert len(ensemble["members"]) == 4
    clone.type("ndcl export many --to models")
    described = json.loads((clone.folder / "models" / f"{STUDY}.sign" / "model.json").read_text())
    assert len(described["members"]["models"]) == 4
    assert described["origin"]["members"] == ensemble["members"]
