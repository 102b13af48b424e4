"""The MLflow runs of a sweep on a real sqlite store."""

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from harness.config.dotted_keys import flat
from harness.config.tracking_uri import store_uri
from harness.records import TrialRecord
from harness.search.figures import StudyFigures
from harness.state import StudySummary
from harness.tracking import contents
from harness.tracking import tracker as tracker_module
from harness.tracking.client import newest_experiment
from harness.tracking.contents import evaluation_metrics
from harness.tracking.items import Item, StudySelection
from harness.tracking.runs import SweepRuns
from harness.tracking.tracker import Tracker
from ndcl.config import TrainConfig
from ndcl.criteria import OBJECTIVES
from ndcl.errors import UserError
from ndcl.unused import refuse_unused
from tests.made.made_records import evaluation, key, record, study

SECONDS = 120


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "SECONDS_BETWEEN_WRITES", 0)
    monkeypatch.setattr(tracker_module, "PATIENCE_SECONDS", 0)


@pytest.fixture
def results(tmp_path: Path, made_store: bytes) -> Path:
    (tmp_path / "mlflow.db").write_bytes(made_store)
    return tmp_path


def track(results: Path, *items: Item, sweep_id: str = "one", is_running: bool = False) -> Tracker:
    """What one process writes of a sweep."""
    tracker = Tracker(results, "made", sweep_id)
    tracker.is_running = is_running
    tracker.start()
    for item in items:
        tracker.push(item)
    tracker.close(SECONDS)
    return tracker


def runs(results: Path) -> dict[str, Run]:
    client = MlflowClient(store_uri(results))
    found = client.search_runs([client.get_experiment_by_name("made").experiment_id])
    by_name = {run.data.tags["ndcl.name"]: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def steps(results: Path, run: Run, metric: str = "target/overall") -> list[int]:
    return [point.step for point in MlflowClient(store_uri(results)).get_metric_history(run.info.run_id, metric)]


def state(stage: str = "search", **changes: Any) -> StudySummary:
    return StudySummary(key=key(), stage=stage, num_planned=5, **changes)


def test_a_trial_is_a_child_run_with_all_that_its_record_says(results: Path) -> None:
    one = record(0, checkpoint="/somewhere/checkpoint_000001")
    assert track(results, one).problem is None
    found = runs(results)
    run, parent = found[one.name], found[key().name]
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1000_000, 1010_000)
    assert run.data.params["optimizer.learning_rate"] == "0.001"
    assert run.data.params["data.target"] == "scan"
    assert run.data.metrics["validation_accuracy"] == 0.5
    assert steps(results, run) == [2, 4]
    tags = run.data.tags
    assert (tags["stage"], tags["seed"], tags["algorithm"], tags["target"]) == ("search", "0", "erm", "scan")
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    client = MlflowClient(store_uri(results))
    artifact = Path(client.download_artifacts(run.info.run_id, "config.yaml"))
    assert yaml.safe_load(artifact.read_text()) == one.config


def test_what_is_learned_of_the_target_at_the_end_reaches_the_step_that_it_is_of(results: Path) -> None:
    nothing = dict.fromkeys(evaluation(2)["target"]) | {"num_images": 0, "per_class": [None, None]}
    begun = record(0, "running", steps=()).with_evaluation(evaluation(2) | {"target": nothing})
    track(results, begun)
    look = {"step": 2, "target": evaluation(2)["target"] | {"overall": 0.75}}
    told = replace(begun, state="finished", ended=1010.0)
    told = told.with_evaluation(evaluation(4) | {"target": nothing, "selected": look})
    for _ in range(2):  # the second time by a process that knows nothing
        track(results, told)
        run = runs(results)[told.name]
        assert steps(results, run) == [2]
        assert steps(results, run, "validation_accuracy") == [2, 4]
        assert (run.data.metrics["target/overall"], run.data.metrics["target/per_class/000"]) == (0.75, 0.5)


FACTS: dict[str, Any] = {
    "name": "digits",
    "digest": "0123456789abcdef" * 4,
    "folder": "/data/digits",
    "num_images": 9,
    "domains": ["scan", "sign", "print"],
    "target": "scan",
    "classes": ["zero", "one/two"],
    "groups": ["many", "few"],
    "training_images": [40, 2],
}
ENVIRONMENT: dict[str, Any] = {"git_revision": "abc-dirty", "cluster": "local", "host": "node-1", "data": FACTS}


def files(results: Path, run: Run, folder: str = "results") -> dict[str, Path]:
    client = MlflowClient(store_uri(results))
    found = [artifact.path for artifact in client.list_artifacts(run.info.run_id, folder)]
    return {Path(path).name: Path(client.download_artifacts(run.info.run_id, path)) for path in found}


def test_a_run_tells_where_and_on_what_it_was_trained(results: Path) -> None:
    one = record(0, environment=ENVIRONMENT)
    track(results, one, state(best=one, ratio=20.0))
    client = MlflowClient(store_uri(results))
    for run in runs(results).values():
        tags = run.data.tags
        found = [tags[key] for key in ("git_revision", "git_dirty", "cluster", "data_digest", "ratio", "dataset")]
        assert found == ["abc", "true", "local", FACTS["digest"], "20", "digits"]
        [data] = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("digits", FACTS["digest"][:36])
        assert json.loads(data.dataset.profile)["classes"] == FACTS["classes"]
        told = client.download_artifacts(run.info.run_id, "environment.json")
        assert json.loads(Path(told).read_text()) == ENVIRONMENT


def test_classes_have_their_names_in_metrics_and_tables(results: Path) -> None:
    measured = evaluation(2) | {"system": {"memory_mib": 500.0}, "target_confusion": [[3, 1], [2, 2]]}
    one = replace(record(0, stage="final", environment=ENVIRONMENT), evaluations=(measured,))
    track(results, one)
    run = runs(results)[one.name]
    metrics = run.data.metrics
    assert (metrics["target/per_class/zero"], metrics["validation/per_class/zero"]) == (0.5, 0.5)
    assert "target/per_class/one_two" not in metrics  # None: no image of it
    assert metrics["system/memory_mib"] == 500
    found = files(results, run)
    assert set(found) == {"per_class.csv", "confusion.csv", "confusion.png"}
    assert found["per_class.csv"].read_text().splitlines()[1:] == ["0,zero,many,40,0.5,0.5", "1,one/two,few,2,,"]
    assert found["confusion.csv"].read_text().splitlines() == [
        '"class, taken for",zero,one/two',
        "zero,3,1",
        "one/two,2,2",
    ]
    assert found["confusion.png"].read_bytes().startswith(b"\x89PNG")


def test_a_search_trial_has_its_confusions_as_a_table(results: Path) -> None:
    measured = evaluation(2) | {"target_confusion": [[3, 1], [2, 2]]}
    one = replace(record(0, environment=ENVIRONMENT), evaluations=(measured,))
    track(results, one)
    found = files(results, runs(results)[one.name])
    assert set(found) == {"per_class.csv", "confusion.csv"}
    assert found["confusion.csv"].read_text().splitlines()[1:] == ["zero,3,1", "one/two,2,2"]


def test_a_record_of_an_earlier_version_has_no_environment(results: Path) -> None:
    track(results, record(0))
    run = runs(results)[record(0).name]
    assert files(results, run)["per_class.csv"].read_text().splitlines()[1] == "0,0,,,0.5,0.5"
    assert run.inputs.dataset_inputs == []


def test_no_metric_is_bookkeeping(results: Path) -> None:
    track(results, record(0))
    groups = {name.partition("/")[0] for name in runs(results)[record(0).name].data.metrics}
    known = {"validation_accuracy", "worst_domain_accuracy", "few_shot_accuracy", "seconds"}
    assert groups == known | {"losses", "target", "validation"}


def test_values_that_change_while_a_half_written_run_is_completed(results: Path) -> None:
    """As in population based training: MLflow refuses a parameter that is given another value."""
    store = SweepRuns(results, "made", "one")
    store._create_trial(record(0))
    store._log(record(0).name, [], {}, {"seed": 7})
    assert track(results, record(0)).problem is None
    params = runs(results)[record(0).name].data.params
    assert (params["seed"], params["num_steps"]) == ("7", "4")


def test_the_selection_of_a_study(results: Path) -> None:
    best, final = record(1, accuracy=0.9), record(0, stage="final", rate=2e-3, seed=1)
    selection = StudySelection(key=key(), selected=best, records=[record(0), best, record(2, "pruned"), final])
    track(results, best, state("done", best=best), selection)
    found = files(results, runs(results)[key().name], "selection")
    config, written = TrainConfig.from_dict(best.config), yaml.safe_load(found["best_config.yaml"].read_text())
    assert TrainConfig.from_dict(written) == config
    idle = {"freeze_batchnorm", "mlp_width", "mlp_depth", "norm", "lora_rank", "lora_alpha"}
    assert set(best.config["model"]) - set(written["model"]) == idle
    refuse_unused(config, flat(written))  # `ndcl train` takes it
    told = json.loads(found["selection.json"].read_text())
    assert (told["selected"], told["selected_by"]) == (best.name, ["validation_accuracy"])
    assert [(one["trial"], one["merit"]) for one in told["candidates"]] == [(best.name, 0.9), (record(0).name, 0.5)]
    assert [(one["seed"], one["selected"]) for one in told["final_runs"]] == [(1, True)]


@pytest.mark.parametrize(
    ("trial_state", "status"),
    [("running", "RUNNING"), ("interrupted", "SCHEDULED"), ("pruned", "KILLED"), ("failed", "FAILED")],
)
def test_states(results: Path, trial_state: Any, status: str) -> None:
    track(results, record(0, trial_state, reason="it broke" if trial_state == "failed" else None))
    run = runs(results)[record(0).name]
    assert run.info.status == status
    assert run.data.tags.get("failure_reason") == ("it broke" if status == "FAILED" else None)
    assert f"**{trial_state}**" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["pruned"] == ("true" if trial_state == "pruned" else "false")


def test_writing_the_same_again_changes_nothing(results: Path) -> None:
    items = [record(0), record(1, "pruned", steps=(2,)), state("done", best=record(0), updated=5.0, metrics={"a": 1.0})]
    track(results, *items)
    before = runs(results)
    track(results, *items)
    after = runs(results)
    assert {n: run.to_dictionary() for n, run in after.items()} == {n: run.to_dictionary() for n, run in before.items()}
    assert steps(results, after[record(0).name]) == [2, 4]
    assert steps(results, after[key().name], "a") == [0]


def test_another_process_completes_what_a_killed_one_left(results: Path) -> None:
    track(results, record(0, "running", steps=(2,)), is_running=True)
    track(results, record(0, steps=(2, 4, 6)))
    run = runs(results)[record(0).name]
    assert steps(results, run) == [2, 4, 6]
    assert run.info.status == "FINISHED"


def test_a_run_killed_right_after_it_was_made_is_filled(results: Path) -> None:
    store = SweepRuns(results, "made", "one")
    store._create_trial(record(0))
    track(results, record(0))
    run = runs(results)[record(0).name]
    assert run.data.params["num_steps"] == "4"
    assert [a.path for a in store.client.list_artifacts(run.info.run_id)] == ["config.yaml", "results"]


def test_a_step_replayed_after_a_fault_stands_once(results: Path) -> None:
    store = SweepRuns(results, "made", "one")
    first = record(0, "running", steps=(2,))
    store.sync_trial(first)
    again = first.with_evaluation(evaluation(2) | {"seconds": 9.0})
    store.sync_trial(again)
    assert steps(results, runs(results)[first.name]) == [2]


def test_an_evaluation_writes_no_tag_and_no_status_that_stands_already(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SweepRuns(results, "made", "one")
    first = record(0, "running", steps=(2,))
    store.sync_trial(first)
    log_batch, written = store.client.log_batch, []

    def noted(run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        written.extend(tag.key for tag in tags)
        log_batch(run_id, metrics, params, tags)

    monkeypatch.setattr(store.client, "log_batch", noted)
    monkeypatch.setattr(store.client, "update_run", lambda run_id, status: written.append(status))
    store.sync_trial(first.with_evaluation(evaluation(4)))
    assert written == ["mlflow.note.content"], "the description alone tells of the step"
    assert steps(results, runs(results)[first.name]) == [2, 4]


def test_a_run_that_goes_on_after_an_interruption_is_running_again(results: Path) -> None:
    track(results, record(0, "interrupted", steps=(2,)))
    store = SweepRuns(results, "made", "one")
    for state_now, status in (("running", "RUNNING"), ("interrupted", "SCHEDULED"), ("running", "RUNNING")):
        going_on = record(0, state_now, steps=(2,), attempts=2)
        store.sync_trial(going_on)
        run = runs(results)[going_on.name]
        assert (run.info.status, run.data.tags["state"], run.data.tags["attempts"]) == (status, state_now, "2")


def test_a_study_is_a_parent_run_with_its_best_trial(results: Path) -> None:
    best, final = record(1, accuracy=0.9), record(0, stage="final", rate=2e-3, seed=1)
    selected = (best.name, final.name)
    metrics = {"validation_accuracy": 0.9}
    track(results, record(0), best, final, state("done", best=best, selected=selected, metrics=metrics, updated=5.0))
    found = runs(results)
    parent = found[key().name]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["selected_trial"] == best.name
    assert parent.data.tags["best.optimizer.learning_rate"] == "0.002"
    assert parent.data.metrics["validation_accuracy"] == 0.9
    names = (record(0).name, best.name, final.name)
    assert [found[name].data.tags["selected"] for name in names] == ["false", "true", "true"]


@pytest.mark.parametrize(
    ("stage", "is_running", "status"),
    [
        ("search", True, "RUNNING"),
        ("final", False, "SCHEDULED"),
        ("done", True, "FINISHED"),
        ("stopped", False, "FAILED"),
    ],
)
def test_status_of_a_study(results: Path, stage: str, is_running: bool, status: str) -> None:
    track(results, state(stage, reason="3 of 3 failed" if stage == "stopped" else None), is_running=is_running)
    assert runs(results)[key().name].info.status == status


def test_an_earlier_sweep_of_the_same_name_is_left_but_for_its_open_runs(results: Path) -> None:
    track(results, record(0, "running"), record(1), is_running=True)
    track(results, record(0), sweep_id="two")
    client = MlflowClient(store_uri(results))
    found = client.search_runs([client.get_experiment_by_name("made").experiment_id])
    by_sweep = Counter((run.data.tags["ndcl.sweep_id"], run.info.status) for run in found)
    assert by_sweep[("one", "KILLED")] == 2, "the trial and its study"
    assert by_sweep[("one", "FINISHED")] == 1
    assert by_sweep[("two", "FINISHED")] == 1


def test_a_step_with_more_metrics_than_one_call_takes(results: Path) -> None:
    many = evaluation(2)
    many["losses"] = {f"term_{n}": float(n) for n in range(1200)}
    track(results, TrialRecord(**{**vars(record(0)), "evaluations": (many, evaluation(4))}))
    run = runs(results)[record(0).name]
    assert sum(name.startswith("losses/term_") for name in run.data.metrics) == 1200
    assert steps(results, run) == [2, 4]


def test_no_failure_of_the_store_reaches_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # it would try for minutes
    (tmp_path / "mlflow.db").mkdir()
    tracker = track(tmp_path, record(0), record(1))
    assert tracker.problem is not None
    assert tracker.problem.startswith("2 entries are not written yet (")
    assert "\n" not in tracker.problem


def test_pushing_does_not_wait_for_the_store(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, written = threading.Event(), []

    def slow(self: Any, one: TrialRecord, is_running: bool) -> dict[str, str]:
        release.wait(SECONDS)
        written.append((one.name, len(one.evaluations)))
        return {}

    monkeypatch.setattr(SweepRuns, "sync", slow)
    tracker = Tracker(results, "made", "one")
    tracker.start()
    tracker.push(record(0, "running"))
    for last in range(2, 22, 2):
        tracker.push(record(1, "running", steps=tuple(range(2, last + 2, 2))))
    release.set()
    tracker.close(SECONDS)
    assert written[-1] == (record(1).name, 10)
    assert len(written) <= 11


def test_metrics_name_domains_and_leave_out_what_is_missing() -> None:
    metrics = evaluation_metrics(evaluation(2))
    assert metrics["validation/sign/few"] == 0.25
    assert metrics["target/overall"] == 0.25
    assert "target/zero" not in metrics
    assert not any(name.startswith("oracle") for name in metrics)
    strange = evaluation(2) | {"validation": {"a(b)": evaluation(2)["target"]}}
    assert "validation/a_b_/few" in evaluation_metrics(strange)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_a_metric_and_records_without_it_are_logged_all_the_same(objective: str) -> None:
    assert evaluation_metrics(evaluation(2) | {objective: 0.125})[objective] == 0.125
    early = {name: value for name, value in evaluation(2).items() if name != objective}
    assert objective not in evaluation_metrics(early)
    assert evaluation_metrics(early)["target/overall"] == 0.25


def test_the_loss_on_a_domain_left_out_stands_beside_its_accuracies() -> None:
    part = evaluation(2)["target"]
    values = evaluation(2) | {"held_out": {"sign": part, "print": part}, "held_out_nll": {"sign": 1.25, "print": None}}
    metrics = evaluation_metrics(values)
    assert metrics["held_out/sign/overall"] == 0.25
    assert metrics["held_out/sign/nll"] == 1.25
    assert "held_out/print/nll" not in metrics


def test_the_figures_of_a_study_are_artifacts_of_its_run(results: Path) -> None:
    figures = StudyFigures(plan=study(), records=[record(0), record(1, accuracy=0.7)])
    assert track(results, state("done"), figures).problem is None
    artifacts = MlflowClient(store_uri(results)).list_artifacts(runs(results)[key().name].info.run_id, "optuna")
    assert "optuna/optimization_history.png" in {artifact.path for artifact in artifacts}
    written = Path(runs(results)[key().name].info.artifact_uri.removeprefix("file://"), artifacts[0].path)
    written.unlink()
    track(results, figures)
    assert not written.exists()  # those of as many trials are not drawn again
    track(results, StudyFigures(plan=study(), records=[*figures.records, record(2)]))
    assert written.exists()


def test_figures_that_cannot_be_drawn_are_a_problem_and_no_error(results: Path) -> None:
    outside = record(0, rate=5.0)  # no value of the search space
    tracker = track(results, StudyFigures(plan=study(), records=[outside]), record(1))
    assert tracker.problem is not None
    assert runs(results)[record(1).name].info.status == "FINISHED"


NAMES = ["C+", "C#", "C_", "a/b", "a_b", "Cat", "cat ", "x" * 300, "x" * 299 + "y", "日本", "it's", "a[0]", "😀", ".."]
"""Of classes and domains, as people have them."""


def named(state: Any = "finished") -> TrialRecord:
    """A trial whose domains and classes have all these names, each class with its own accuracy."""
    facts = FACTS | {"domains": NAMES, "classes": NAMES, "groups": ["many"] * len(NAMES)}
    facts["training_images"] = [1] * len(NAMES)
    part = evaluation(2)["target"] | {"per_class": [k / 100 for k in range(len(NAMES))]}
    measured = evaluation(2) | {"validation": {name: part | {"few": k / 10} for k, name in enumerate(NAMES)}}
    one = record(0, state, environment=ENVIRONMENT | {"data": facts})
    return replace(one, evaluations=(measured | {"target": part},))


def test_domains_and_classes_of_any_name_keep_their_numbers_apart(results: Path) -> None:
    tracker = track(results, named())
    assert (tracker.problem, tracker.refusal) == (None, None)
    run = runs(results)[record(0).name]
    assert run.info.status == "FINISHED"
    own = json.loads(files(results, run, "")["names.json"].read_text())
    classes = {own["classes"].get(part, part): value for part, value in group(run, "target/per_class/").items()}
    assert classes == {name: k / 100 for k, name in enumerate(NAMES)}
    domains = {own["domains"].get(part, part): value for part, value in group(run, "validation/", "/few").items()}
    assert domains == {name: k / 10 for k, name in enumerate(NAMES)}


def group(run: Run, begin: str, end: str = "") -> dict[str, float]:
    """Metrics by the part of their name that is between these."""
    return {
        name[len(begin) : len(name) - len(end)]: value
        for name, value in run.data.metrics.items()
        if name.startswith(begin) and name.endswith(end)
    }


def test_what_mlflow_refuses_keeps_nothing_else_back(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a name had got through that MLflow does not take."""
    monkeypatch.setattr(contents, "valid_key", str)
    losses = {"total": 1.5, "(": 1.0, "y" * 300: 1.0}
    tracker = track(results, replace(record(0), evaluations=(evaluation(2) | {"losses": losses},)), record(1))
    assert tracker.problem is None
    assert tracker.refusal is not None
    assert tracker.refusal.startswith(f"losses/( of {record(0).name} and 1 more (MlflowException: ")
    found = runs(results)
    assert [found[record(n).name].info.status for n in (0, 1)] == ["FINISHED", "FINISHED"]
    assert group(found[record(0).name], "losses/") == {"total": 1.5}
    assert steps(results, found[record(0).name]) == [2]
    assert "losses/(: MlflowException" in found[record(0).name].data.tags["ndcl.left_out"]


def test_an_item_that_mlflow_refuses_is_not_tried_for_ever(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = MlflowClient.create_run, []

    def refuse(self: MlflowClient, experiment_id: str, time: Any, tags: dict[str, str], name: str) -> Run:
        asked.append(tags["ndcl.name"])
        if tags["ndcl.name"] == record(0).name:
            raise MlflowException("no such name", INVALID_PARAMETER_VALUE)
        return create(self, experiment_id, time, tags, name)

    monkeypatch.setattr(MlflowClient, "create_run", refuse)
    tracker = track(results, record(0), record(1))
    assert tracker.problem is None
    assert tracker.refusal == f"{record(0).name} (MlflowException: no such name)"
    assert asked.count(record(0).name) == 2
    assert runs(results)[record(1).name].info.status == "FINISHED"


def test_a_fault_of_the_server_is_no_refusal(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Run:
        raise MlflowException("busy", TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    tracker = track(results, record(0))
    assert tracker.refusal is None
    assert tracker.problem == "1 entry is not written yet (MlflowException: busy)"


def test_a_run_that_somebody_deletes_is_made_anew_with_all_its_values(results: Path) -> None:
    store = SweepRuns(results, "made", "one")
    store.sync_trial(record(0, "running", steps=(2,)))
    store.client.delete_run(runs(results)[record(0).name].info.run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        store.sync(record(0), is_running=True)
    assert track(results, record(0)).problem is None
    assert steps(results, runs(results)[record(0).name]) == [2, 4]


def test_long_texts_are_cut(results: Path) -> None:
    one = record(0, "failed", reason="why " * 5000)
    tracker = track(results, replace(one, config=one.config | {"note": "x" * 9000}))
    assert (tracker.problem, tracker.refusal) == (None, None)
    run = runs(results)[one.name]
    assert run.data.tags["failure_reason"].endswith("…")
    assert len(run.data.params["note"]) == 6000


def test_a_study_has_single_values_and_none_twice(results: Path) -> None:
    """MLflow draws what has a step other than 0 as a curve."""
    track(results, state(metrics={"validation_accuracy": 0.5}, counts={"finished": 4}, updated=4.0))
    done = {"validation_accuracy": 0.5, "final/num_seeds": 2, "final/target/overall": 0.75}
    track(results, state("done", metrics=done, counts={"finished": 5}, updated=5.0))
    run = runs(results)[key().name]
    for name, value in {"validation_accuracy": 0.5, "final/target/overall": 0.75}.items():
        history = MlflowClient(store_uri(results)).get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in history] == [(0, value)]
    assert run.data.tags["final_runs"] == "2"
    assert "final/num_seeds" not in run.data.metrics


def test_runs_of_version_0_1_are_completed_and_called_as_now(results: Path) -> None:
    """It named runs by their tag, and gave a study's metrics the number of trials as their step."""
    old = SweepRuns(results, "made", "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(old.shown, "of_study", lambda key: key.name)
        patch.setattr(old.shown, "of_trial", lambda key, stage, number: f"{stage}-{number:03d}")
        old.sync(record(0, "running", steps=(2,)), is_running=True)
        old.sync(record(1), is_running=True)
    [run_id] = [run.info.run_id for name, run in runs(results).items() if name == key().name]
    old.client.log_metric(run_id, "validation_accuracy", 0.5, 4000, 4)
    old.client.log_metric(run_id, "validation_accuracy", 0.6, 5000, 5)
    before = {name: run.info.run_id for name, run in runs(results).items()}
    track(results, record(0), record(1), state("done", metrics={"validation_accuracy": 0.7}, updated=6.0))
    found = runs(results)
    assert {name: run.info.run_id for name, run in found.items()} == before
    assert found[key().name].data.metrics["validation_accuracy"] == 0.7
    assert steps(results, found[record(0).name]) == [2, 4]
    assert {run.info.run_name for run in found.values()} == {
        "scan · erm",
        "search-000 · scan · erm",
        "search-001 · scan · erm",
    }


def test_a_study_begins_with_its_first_trial(results: Path) -> None:
    track(results, record(0), state("done", updated=1010.0))
    info = runs(results)[key().name].info
    assert (info.start_time, info.end_time) == (1000_000, 1010_000)


def test_the_newest_experiment_is_that_of_the_run_that_began_last(results: Path) -> None:
    assert newest_experiment(results) is None
    client = MlflowClient(store_uri(results))
    older, newer = (client.create_experiment(name) for name in ("older", "newer"))
    client.create_run(newer, start_time=1000)
    assert newest_experiment(results) == newer
    client.create_run(older, start_time=2000)
    assert newest_experiment(results) == older, "it continues"


def test_a_damaged_store_is_one_line_with_a_remedy(results: Path) -> None:
    (results / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"mlflow\.db is damaged; make it anew from the journal with: ndcl sync SWEEP"):
        newest_experiment(results)
