"""A sweep with a second look at its best trials: killed in the midst of it, resumed, told everywhere."""

import json
from pathlib import Path

from mlflow import MlflowClient

from harness.config.tracking_uri import store_uri
from harness.records.selection import best_checkpoint, best_merit, review_of
from harness.state import read_status
from tests.integration import processes, sweeps

BY = "leave_one_domain_out_likelihood"
CHANGES = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {**sweeps.TINY["train"], "num_steps": 16},
    "search": {"num_trials": 3, "scheduler": {"name": "none"}, "select": {"by": BY, "among": 2}},
    "final": {"seeds": 2},
}


def kill_in_a_second_look(path: Path, results: Path) -> None:
    process = sweeps.started(path, results)
    with sweeps.ended_with_test(process):
        sweeps.wait_until(
            lambda: any(r.stage == "review" and 0 < r.step < 16 and r.checkpoint for r in sweeps.records(results)),
            process,
        )
        processes.kill(process)


def test_a_second_look_resumes_and_has_the_last_word(tmp_path: Path) -> None:
    path, results = sweeps.written(tmp_path, **CHANGES), tmp_path / "results"
    code, output = sweeps.ran("plan", str(path), "--results", str(results))
    assert (code, "second looks" in output, "7 trainings" in output) == (0, True, True), output
    kill_in_a_second_look(path, results)
    before = {r.name: r for r in sweeps.records(results) if r.stage == "review"}
    assert {study.stage for study in read_status(results, "tiny").studies} == {"review"}
    code, output = sweeps.finished(path, results)
    assert code == 0, output

    records = sweeps.records(results)
    sweeps.check_complete(sweeps.planned(path, results))
    searched, reviews, finals = ([r for r in records if r.stage == s] for s in ("search", "review", "final"))
    assert [len(searched), len(reviews), len(finals)] == [3, 2, 2]
    for review in reviews:
        assert review.config["select_by"] == [BY]
        assert [e["step"] for e in review.evaluations] == list(range(2, 17, 2))
        assert all(set(e["held_out"]) == set(e["validation"]) for e in review.evaluations)
        assert all(e["target"]["num_images"] == 0 for e in review.evaluations)
    assert any(r.attempts > 1 for r in reviews)
    for name, old in before.items():
        [new] = [r for r in reviews if r.name == name]
        assert sweeps.past(new)[: len(old.evaluations)] == sweeps.past(old)

    best = max(reviews, key=best_merit)
    for final in finals:
        assert final.config == next(r for r in searched if r.values == best.values).config | {"seed": final.number + 1}
    for review in reviews:
        chosen = best_checkpoint(review)
        assert chosen is not None
        assert chosen["validation_accuracy"] == max(e["validation_accuracy"] for e in review.evaluations)
        assert best_merit(review) == chosen[BY]
    told_everywhere(results, [r.name for r in searched if review_of(r, [best])])


def told_everywhere(results: Path, chosen: list[str]) -> None:
    client = MlflowClient(store_uri(results))
    experiment = client.get_experiment_by_name("tiny")
    [study] = client.search_runs([experiment.experiment_id], "tags.role = 'study'")
    assert [study.data.tags["selected_trial"]] == chosen
    assert BY in study.data.metrics
    code, output = sweeps.ran("report", "tiny", "--results", str(results))
    assert code == 0, output
    folder = results / "tiny"
    [told] = json.loads((folder / "report.json").read_text())["studies"]
    assert told["second_look"]["num_trials"] == 2
    assert f"search-{told['second_look']['chosen']:03d}" == chosen[0][-10:]
    assert told["missing"] is None
    for name in ("report.md", "report.html"):
        assert "second look at the best trials" in (folder / name).read_text()
    code, output = sweeps.ran("status", "tiny", "--results", str(results))
    assert (code, "8/8" in output or "7/7" in output) == (0, True), output
