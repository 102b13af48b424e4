"""A sweep is bound to the content of its data: another data set under the same name is met by no command in silence."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import load_sweep
from harness.plan import Plan, make_plan
from harness.records import Journal, TrialRecord, select
from harness.state.bound_data import DATA_FILE, bind
from harness.state.new_data import load_on_new_data
from harness.storage import CheckpointFolders
from harness.storage.checkpoints import TRAINING
from harness.sweep.controller import SweepController
from harness.sweep.prepare import prepare
from harness.trials.messages import failure
from harness.trials.trial import problem_of
from ndcl.data import Store
from ndcl.data.datasets import header_of
from ndcl.errors import ReplacedDataError, UserError
from tests.harness.command_line import error_of, run
from tests.made.made_records import record
from tests.made.made_sweep import with_training
from tests.made.made_vectors import CLASSES, TARGET, write_vectors
from tests.ndcl.checkpoints.test_replaced_data import as_version_0_1

NEW_CLASSES = ("cat", "dog", "wolf")
RATE = {"type": "float", "low": 1e-4, "high": 1e-1, "log": True, "default": 1e-3}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, with the data set `made` in its data folder and a sweep on it in `my sweep.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NDCL_DATA", str(write_vectors(tmp_path / "data")))
    write_sweep()
    return tmp_path


def write_sweep(**changes: Any) -> None:
    values: dict[str, Any] = {
        "name": "heads",
        "data": {"name": "made", "targets": [TARGET]},
        "imbalance": {"setting": "natural", "validation": 2},
        "algorithms": {"erm": None},
        "train": {"model.backbone": "linear", "num_steps": 4, "evaluate_every": 2, "batch_size": 4},
        "space": {"optimizer.learning_rate": RATE},
        "search": {"num_trials": 2, "scheduler": {"name": "none"}},
        "final": {"seeds": 1},
    }
    Path("my sweep.yaml").write_text(yaml.safe_dump(values | changes))


def replaced(place: Path) -> str:
    """Another data set takes the place of the first; its digest."""
    write_vectors(place / "data", classes=NEW_CLASSES, replace=True)
    return Store(place / "data" / "made").digest


def planned(results: Path = Path("results")) -> Plan:
    return make_plan(load_sweep(Path("my sweep.yaml")), results)


def made(plan: Plan, number: int, digest: str | None, **changes: Any) -> TrialRecord:
    """A training that has finished on data of this digest; None: as version 0.1 wrote it, before it knew digests."""
    study = plan.studies[0]
    values = {"optimizer.learning_rate": 0.01 * (number + 1)}
    data = {} if digest is None else {"data": {"digest": digest, "classes": list(CLASSES)}}
    found = replace(record(number, **changes), study=study.key, values=values, environment=data)
    return replace(found, config=study.train_config(values, found.config["seed"]).to_dict())


def begun(*records: TrialRecord) -> Plan:
    """A sweep that has been started, with these records."""
    plan = planned()
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    for one in records:
        Journal(plan.folder).write(one)
    return plan


def test_plan_sweep_and_export_refuse_other_data_and_name_the_command_that_works(place: Path) -> None:
    old = header_of("made").digest
    plan = begun(made(planned(), 0, old))
    assert run("plan", "my sweep.yaml").exit_code == 0
    new = replaced(place)
    command = "ndcl sweep 'my sweep.yaml' --on-new-data heads-2"
    for verb in ("plan", "sweep"):
        line = error_of(verb, "my sweep.yaml")
        assert f"started on digest {old[:12]}, under this name lies {new[:12]} now" in line
        assert line.endswith(f": {command}")
    assert command in error_of("export", "my sweep.yaml", "--to", "models")
    assert "results/heads/sweep.yaml --on-new-data heads-2; or" in error_of("export", "heads", "--to", "models")
    assert not Path("models").exists()
    shown = run("status", "heads").output.replace("\n", "")
    assert f"data set 'made': digest {old[:12]}" in shown
    assert "next: ndcl sweep results/heads/sweep.yaml --on-new-data heads-2" in shown
    assert Journal(plan.folder).read() == [made(planned(), 0, old)]


def test_all_options_stand_in_the_command(place: Path) -> None:
    Path("results").symlink_to(place / "elsewhere")
    settings = ["search.num_trials=3", "data.targets=[ink, web]"]
    plan = make_plan(load_sweep(Path("my sweep.yaml"), settings), Path("other results"))
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    (plan.folder / ".storage").write_text("/shared/disk")
    replaced(place)
    with pytest.raises(ReplacedDataError) as error:
        bind(plan)
    words = shlex.split(str(error.value).partition("with: ")[2])
    assert words == ["ndcl", "sweep", "my sweep.yaml", "--set", settings[0], "--set", settings[1], "--results",
                     "other results", "--on-new-data", "heads-2", "--storage", "/shared/disk"]  # fmt: skip


def test_data_that_come_back_are_the_same(place: Path) -> None:
    begun()
    replaced(place)
    write_vectors(place / "data", replace=True)
    assert bind(planned()) == []


def test_an_extension_binds_what_is_new_and_keeps_what_was(place: Path) -> None:
    begun()
    write_vectors(place / "more")
    both = [{"name": "made", "targets": [TARGET]}, {"name": "made", "targets": ["web"], "folder": str(place / "more")}]
    write_sweep(data=both)
    bind(planned())
    listed = json.loads((planned().folder / DATA_FILE).read_text())["data"]
    assert [(each["name"], each["folder"]) for each in listed] == [("made", None), ("made", str(place / "more"))]
    replaced(place)
    with pytest.raises(ReplacedDataError):
        bind(planned())


def test_fresh_is_bound_anew(place: Path) -> None:
    begun()
    new = replaced(place)
    prepare(planned(), fresh=True)
    assert json.loads((planned().folder / DATA_FILE).read_text())["data"][0]["digest"] == new


def without_file(*digests: str | None) -> Plan:
    """A sweep of version 0.1, whose trainings say that they saw these data."""
    plan = begun(*(made(planned(), number, digest) for number, digest in enumerate(digests)))
    (plan.folder / DATA_FILE).unlink()
    return plan


def test_a_sweep_of_version_0_1_is_bound_to_what_its_records_say(place: Path) -> None:
    old = header_of("made").digest
    plan = without_file(old, old)
    assert bind(plan) == []
    (plan.folder / DATA_FILE).unlink()
    replaced(place)
    with pytest.raises(ReplacedDataError, match=old[:12]):
        bind(plan)


def test_what_version_0_1_did_not_write_is_said_once_and_taken_as_it_is(place: Path) -> None:
    plan = without_file(None, None)
    [line] = bind(plan)
    assert "2 trainings of an early version do not say what it held; it is taken to be unchanged" in line
    assert bind(plan) == []
    assert "it is not known what it held" not in run("status", "heads").output


def test_a_sweep_that_version_0_1_ran_on_two_versions_of_the_data_does_not_go_on(place: Path) -> None:
    plan = without_file("a" * 64, header_of("made").digest)
    with pytest.raises(ReplacedDataError, match=f"digest {'a' * 12} and "):
        bind(plan)


def test_a_damaged_file_is_one_line(place: Path) -> None:
    plan = begun()
    (plan.folder / DATA_FILE).write_text("{")
    assert "data.json is damaged; delete it" in error_of("plan", "my sweep.yaml")


def test_models_of_replaced_data_are_exported_with_their_own_names_if_asked_for(place: Path) -> None:
    plan = begun()
    final = with_training(plan.folder, made(planned(), 0, None, stage="final", seed=1))
    data = {"data": {"digest": header_of("made").digest}}
    Journal(plan.folder).write(replace(final, environment=data))
    replaced(place)
    assert "or export the models of the earlier data with: --old-data" in error_of("export", "heads", "--to", "models")
    result = run("export", "heads", "--to", "models", "--old-data")
    assert result.exit_code == 0, result.output
    model = json.loads((Path("models") / plan.studies[0].key.name / "model.json").read_text())
    assert model["classes"] == list(CLASSES)
    assert model["origin"]["data"]["digest"] == data["data"]["digest"]


def test_an_export_that_can_not_know_its_data_says_so(place: Path) -> None:
    plan = begun()
    final = with_training(plan.folder, made(planned(), 0, None, stage="final", seed=1))
    Journal(plan.folder).write(final)
    (plan.folder / DATA_FILE).unlink()
    assert final.checkpoint is not None
    as_version_0_1(Path(final.checkpoint) / TRAINING)
    result = run("export", "heads", "--to", "models")
    assert result.exit_code == 0, result.output
    assert "does not say on which data it was trained; what 'made' holds now is taken" in result.stderr


def test_a_sweep_anew_begins_with_the_best_values(place: Path) -> None:
    begun(*(made(planned(), number, header_of("made").digest, accuracy=0.1 * number) for number in range(3)))
    replaced(place)
    plan = make_plan(load_on_new_data(Path("my sweep.yaml"), [], "heads-2", Path("results")), Path("results"))
    assert plan.name == "heads-2"
    assert plan.resolved["search"]["warm_start"] == {
        "sweep": "heads",
        "num_trials": 3,
        "algorithm": None,
        "from_other_targets": False,
        "optional": True,
    }
    plan.folder.mkdir()
    assert [line.partition(" (")[0] for line in bind(plan)] == [
        "search.warm_start: sweep 'heads' found its values on other data"
    ]
    controller = SweepController(plan, CheckpointFolders(plan.folder / "ray"), select, lambda record: None)
    controller.catch_up()
    controller.max_concurrent = 3
    for _ in range(2):
        assert controller.next_trial() is not None
    rates = [one.values["optimizer.learning_rate"] for one in Journal(plan.folder).read()]
    assert rates == [RATE["default"], 0.03]
    assert {one.notes["values from an earlier sweep"] for one in Journal(plan.folder).read()} == {"heads"}
    again = load_on_new_data(Path("my sweep.yaml"), [], "heads-2", Path("results"))
    assert make_plan(again, Path("results")) == plan
    assert error_of("plan", "my sweep.yaml").endswith("--on-new-data heads-2"), "the one that has begun on these data"


def test_a_sweep_anew_asks_for_no_values_where_there_are_none(place: Path) -> None:
    begun(made(planned(), 0, header_of("made").digest, state="running"))
    replaced(place)
    result = run("plan", "my sweep.yaml", "--on-new-data", "heads-2")
    assert "sweep 'heads' found its values on other data" in result.output
    write_sweep(data="made")  # with targets that the earlier sweep did not have
    assert run("plan", "my sweep.yaml", "--on-new-data", "heads-2").exit_code == 0
    grid = {"sampler": "grid", "scheduler": {"name": "none"}}
    write_sweep(search=grid, space={"optimizer.learning_rate": {"type": "choice", "choices": [1e-3, 1e-2]}})
    assert load_on_new_data(Path("my sweep.yaml"), [], "heads-2", Path("results")).search.warm_start is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("heads", "the sweep has that name already"),
        ("../up", "my sweep.yaml: name: "),
        ("heads-2", "the data are those that sweep 'heads' was started on"),
    ],
)
def test_mistakes_in_starting_anew_are_one_line(place: Path, name: str, words: str) -> None:
    assert "there is no sweep 'heads' in results yet" in error_of("plan", "my sweep.yaml", "--on-new-data", "heads-2")
    begun(made(planned(), 0, header_of("made").digest))
    assert words in error_of("plan", "my sweep.yaml", "--on-new-data", name)


def test_a_trial_takes_no_other_data_and_the_sweep_stops(place: Path) -> None:
    plan = begun()
    controller = SweepController(plan, CheckpointFolders(plan.folder / "ray"), select, lambda record: None)
    controller.catch_up()
    config = controller.next_trial()
    assert config is not None
    train = config["segments"][0]["train"]
    key = json.dumps({"data": train["data"], "imbalance": train["imbalance"], "algorithm": {"name": "erm"}})
    kept = problem_of(key, config["digest"])
    replaced(place)
    assert problem_of(key, config["digest"]) is kept, "a process that has it open resumes it"
    problem_of.cache_clear()
    with pytest.raises(ReplacedDataError) as error:
        problem_of(key, config["digest"])
    with pytest.raises(ReplacedDataError, match="--on-new-data heads-2"):
        controller.on_failure(config["name"], failure(error.value)["failure"])
    assert isinstance(controller.fault, ReplacedDataError), "or Ray would be started again"
    controller.interrupt()
    assert [one.state for one in Journal(plan.folder).read()] == ["interrupted"]


def test_a_machine_that_made_other_data_of_its_own_is_named(place: Path) -> None:
    """As a node whose libraries draw the built-in digits in another way."""
    plan = begun()
    controller = SweepController(plan, CheckpointFolders(plan.folder / "ray"), select, lambda record: None)
    controller.catch_up()
    config = controller.next_trial()
    assert config is not None
    reason = "ReplacedDataError: data set 'made' has digest b on a-node, but the sweep was started on a"
    with pytest.raises(UserError, match=r"on a-node, but .*; have the same data set on all machines"):
        controller.on_failure(config["name"], reason)
