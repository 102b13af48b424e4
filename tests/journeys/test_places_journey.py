"""Results and storages by the paths that people give: through links, with `..`, blanks, umlauts, as URIs, moved."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.clone import Clone

pytestmark = pytest.mark.soak

SWEEP = "ndcl sweep search_spaces/digits_smoke.yaml"
ALONE = ("algorithms={erm: null}", "train.batch_size=4", "final.seeds=1", "tracking.figures=false")
POPULATION = (
    *ALONE,
    "search.scheduler={name: pbt, perturbation_interval: 3}",
    "search.num_trials=2",
    "train.num_steps=60",
)
NAME, STUDY = "digits_smoke", "erm.digits.long_tail-10.scan"


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((results / NAME / "trials").glob("*.json"))]


def kept(results: Path) -> set[str]:
    return {str(path) for path in (results / NAME / "ray").glob("run-*/*/checkpoint_*")}


def test_a_population_that_was_killed_and_moved_goes_on_from_its_checkpoints(clone: Clone) -> None:
    odd = clone.folder / "Ergebnisse für mich"
    odd.mkdir()
    (clone.folder / "link").symlink_to(odd)
    results = odd.parent / "é"
    with clone.start(f"{SWEEP} --results link/../é", *POPULATION) as running:
        running.wait_until(lambda: any(len(r["evaluations"]) > 3 and r["checkpoint"] for r in records(results)))
        running.kill()
    before = {record["number"]: record for record in records(results) if record["stage"] == "search"}
    shutil.move(results, odd / "moved")
    plan = clone.folder / "search_spaces" / "digits_smoke.yaml"
    printed = clone.type(
        f"{SWEEP.replace('search_spaces/digits_smoke.yaml', str(plan))} --results moved", *POPULATION, cwd=odd
    )
    assert "start anew" not in printed
    after = records(odd / "moved")
    assert [(record["stage"], record["state"]) for record in after] == [("final", "finished")] + [
        ("search", "finished")
    ] * 2
    assert kept(odd / "moved") == {record["checkpoint"] for record in after}
    for record in (record for record in after[1:] if not record["notes"]):  # with their own past
        held = before[record["number"]]["evaluations"][:3]  # up to the first exchange
        assert [e["seconds"] for e in record["evaluations"][: len(held)]] == [e["seconds"] for e in held]
    clone.type(
        f"ndcl export {NAME} --results '../link/../Ergebnisse für mich/moved' --to models", cwd=clone.folder / "docs"
    )
    assert (clone.folder / "docs" / "models" / STUDY / "model.safetensors").is_file()
    assert "done" in clone.type(f"ndcl status {NAME} --results 'Ergebnisse für mich/moved'")
    assert f"all of sweep {NAME}" in clone.type(f"ndcl sync {NAME} --results 'Ergebnisse für mich/moved'")
    assert not results.exists()


def test_a_storage_is_the_same_as_a_relative_and_an_absolute_path_and_as_a_uri(clone: Clone) -> None:
    small = (*ALONE, "search.num_trials=1", "train.num_steps=4", "train.evaluate_every=2")
    clone.type(f"{SWEEP} --storage 'all of us'", *small)
    shared = clone.folder / "all of us"
    first = records(clone.folder / "results")
    assert len(first) == 2
    for place in (shared, shared.as_uri(), f"file://{shared}", "./docs/../all of us"):
        clone.type(f"{SWEEP} --storage '{place}'", *small)
        assert records(clone.folder / "results") == first
    clone.type(f"{SWEEP} --results elsewhere --storage 'file://{shared}'", *small)
    assert records(clone.folder / "elsewhere") == first, "the other machine finds all of it done"
    clone.type(f"ndcl export {NAME} --results elsewhere --to models")
    assert (clone.folder / "models" / STUDY / "model.safetensors").is_file()
