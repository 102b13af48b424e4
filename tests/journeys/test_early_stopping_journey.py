"""Searches that stop or promote trials, as docs/search_space.md has them: typed, to their end."""

import json

import pytest
import yaml

from tests.journeys.clone import Clone
from tests.journeys.guides import block

pytestmark = pytest.mark.soak
LINES = block("docs/search_space.md", "search: {num_trials: 20, scheduler: {name: asha").lines
MINE = {
    "data": {"name": "digits", "targets": "sign"},
    "imbalance": {"setting": "long_tail", "ratio": 20},
    "train": {"num_steps": 36, "evaluate_every": 4, "batch_size": 8},
    "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}},
    "algorithms": ["erm"],
    "final": {"seeds": 1},
}


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_search_of_the_page_ends_and_is_selected_from(clone: Clone, number: int) -> None:
    search, name = yaml.safe_load(LINES[number])["search"], f"early-{number}"
    (clone.folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **MINE, "search": search}))
    few = "search.num_trials=7"
    assert "depending on how many trials are stopped early" in clone.type(f"ndcl plan {name}.yaml", few)
    assert f"results: results/{name}" in clone.type(f"ndcl sweep {name}.yaml", few)
    assert "done" in clone.type(f"ndcl status {name}")
    found = [json.loads(path.read_text()) for path in clone.folder.glob(f"results/{name}/trials/*.json")]
    states = [record["state"] for record in found if record["stage"] == "search"]
    assert len(states) == 7
    assert "finished" in states
    assert set(states) <= {"finished", "pruned"}
    if search["scheduler"].get("mode") == "promote":
        assert "pruned" in states
        assert any(record["notes"].get("paused at steps") for record in found)


def test_a_place_where_no_cluster_listens_is_one_line(clone: Clone) -> None:
    (clone.folder / "away.yaml").write_text(yaml.safe_dump({"name": "away", **MINE, "search": {"num_trials": 1}}))
    printed = clone.type("ndcl sweep away.yaml --address 127.0.0.1:1", "search.scheduler={name: none}", code=2)
    assert "--address 127.0.0.1:1: there is no Ray cluster" in printed
    assert len(printed.splitlines()) == 1
    assert not (clone.folder / "results" / "away").exists()
