"""What a message names as the remedy works, as it is typed; and what one command takes for a sweep, the others take."""

import shlex
import shutil
import socket
from pathlib import Path

import pytest
import yaml

from harness.config import load_sweep
from harness.config.search import WITHOUT_SCHEDULER
from harness.plan import make_plan
from harness.records import Journal
from harness.sweep.prepare import prepare, refusal
from tests.harness.command_line import error_of, run
from tests.integration import sweeps
from tests.made.made_records import base, record


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ended(here: Path) -> Path:
    """The YAML file of a sweep of one training, which has ended; its results are in `results`."""
    one = {"name": "digits", "targets": ["scan"]}
    path = sweeps.written(here, data=one, algorithms={"erm": None}, search={"num_trials": 1}, final={"seeds": 0})
    plan = sweeps.planned(path, Path("results"))
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    Journal(plan.folder).write(record(0, of=plan.studies[0].key))
    return path


@pytest.mark.parametrize(
    "changes", [("train.num_steps=2",), ("search.objective=[validation_accuracy, worst_domain_accuracy]",)]
)
def test_a_scheduler_that_does_not_fit_is_taken_away(here: Path, changes: tuple[str, ...]) -> None:
    scheduler = {"name": "asha", "min_resource": 2, "reduction_factor": 4}
    path = sweeps.written(here, search={"num_trials": 3, "scheduler": scheduler})
    command = ["plan", path, *(word for change in changes for word in ("--set", change))]
    error = error_of(*command)
    assert f"or give {WITHOUT_SCHEDULER}" in error or f"give {WITHOUT_SCHEDULER}, or" in error
    assert run(*command, *shlex.split(WITHOUT_SCHEDULER)).exit_code == 0


def test_checkpoints_that_are_gone_are_told_by_export_and_sweep(ended: Path) -> None:
    error = error_of("export", "tiny", "--to", "models")
    anew = "to delete the sweep's results and train anew: ndcl sweep "
    assert anew in error
    again = run("sweep", ended)
    assert again.exit_code == 0, again.output
    assert "its checkpoint is no longer in" in again.stdout
    assert "models: ndcl export" not in again.stdout
    assert error.partition(anew)[2].strip() in again.stdout
    command = shlex.split(error.partition(anew)[2])
    assert command[-1] == "--fresh"
    assert Path(command[0]).is_file()


def test_a_training_with_other_values_names_what_works(here: Path) -> None:
    (here / "one.yaml").write_text(yaml.safe_dump(base()))
    assert run("train", "one.yaml").exit_code == 0
    error = error_of("train", "one.yaml", "--set", "seed=1")
    for remedy in ("--results", "a YAML file of another name", "--fresh"):
        assert remedy in error
    assert run("train", "one.yaml", "--set", "seed=1", "--results", "other").exit_code == 0


def test_a_sweep_without_its_file_is_told_and_restored(ended: Path) -> None:
    Path("results/tiny/sweep.yaml").unlink()
    for verb in ("status", "sync"):
        error = error_of(verb, "tiny")
        assert (
            "results/tiny/sweep.yaml is missing; the command that started the sweep writes it again: ndcl sweep"
            in error
        )
    assert run("sweep", ended).exit_code == 0
    assert run("status", "tiny").exit_code == 0


@pytest.mark.parametrize("given", ["results/tiny", "results/tiny/", "{cwd}/results/tiny"])
def test_a_sweep_is_found_by_its_folder(ended: Path, given: str) -> None:
    given = given.format(cwd=Path.cwd())
    for options in ((), ("--results", "elsewhere")):
        for verb in ("status", "report", "sync"):
            result = run(verb, given, *options)
            assert result.exit_code == 0, result.output
        assert "its checkpoint is no longer in" in error_of("export", given, "--to", "models", *options)
    shutil.move("results/tiny", "results/moved")
    assert "there is no sweep 'tiny' in" in error_of("status", given)


def test_the_file_of_another_command_is_told(here: Path) -> None:
    (here / "one.yaml").write_text(yaml.safe_dump(base()))
    sweep = sweeps.written(here)
    use = "it is the file of a sweep, not of a training; use: ndcl sweep "
    assert f"{use}{sweep}" in error_of("train", sweep)
    use = "one.yaml: it is the file of a training, not of a sweep; use: ndcl train one.yaml"
    for verb in ("sweep", "plan", "status", "report"):
        assert use in error_of(verb, "one.yaml")
    cluster = Path(__file__).parents[3] / "clusters" / "local.yaml"
    for verb in ("sweep", "train"):
        assert f"use: ndcl cluster check {cluster}" in error_of(verb, cluster)


def test_a_uri_is_not_read(here: Path) -> None:
    words = "URIs are not read here; download it, and give its path"
    assert words in error_of("predict", "https://host/model", ".")
    assert words in error_of("data", "import", "https://host/photos", "--name", "mine")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("batch_size=1e12", "GB as inputs alone, and this machine has"), ("num_steps=1e20", "it must be at most 1,000,0")],
)
def test_sizes_that_no_machine_holds(here: Path, setting: str, words: str) -> None:
    assert words in error_of("plan", sweeps.written(here), "--set", f"train.{setting}")
    (here / "one.yaml").write_text(yaml.safe_dump(base()))
    assert words in error_of("train", "one.yaml", "--set", setting)


def test_a_plan_of_what_has_ended_counts_its_own_trainings(ended: Path) -> None:
    output = run("plan", ended).output
    assert "1 trainings of which 1 are done" in output
    assert "left: nothing\n" in output
    study = sweeps.planned(ended, Path("results")).studies[0].key
    Journal(Path("results/tiny")).write(record(1, of=study))
    assert "1 trainings of which 1 are done" in run("plan", ended).output
    changed = run("plan", ended, "--set", "data.targets=[sign]").output
    assert "(data.targets: ['scan'] -> ['sign'])" in changed


def test_a_damaged_sweep_is_told_before_the_plan_is_shown(ended: Path) -> None:
    Path("results/tiny/sweep.yaml").write_text("name: [")
    result = run("plan", ended)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_fault_in_yaml_has_its_line(here: Path) -> None:
    Path("bad.yaml").write_text("a: [1\nb")
    assert "bad.yaml: it is not valid YAML: line 2, column 2: expected ',' or ']'" in error_of("plan", "bad.yaml")


def test_a_sweep_without_final_runs_is_deployed_after_what_the_message_names(ended: Path) -> None:
    error = error_of("deploy", "tiny", "--to", "model")
    _, named, command = error.partition(
        "by which one could be chosen; the sweep has to come to its end first; continue with: ndcl sweep "
    )
    assert named, error
    path, *options = shlex.split(command)
    assert options[-2:] == ["--set", "final.seeds=5"]
    assert "1 trainings of which 1 are done" in run("plan", ended).output
    planned = run("plan", path, *options)
    assert "6 trainings of which 1 are done" in planned.output
    assert refusal(make_plan(load_sweep(Path(path), ["final.seeds=5"]), Path("results"))) is None


def test_nothing_is_made_where_no_cluster_answers(here: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = error_of("sweep", sweeps.written(here), "--address", address)
    assert f"--address {address}: there is no Ray cluster ([Errno 111] Connection refused); start one" in error
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("imbalance={setting: long_tail, ratio: []}", "imbalance: ratio: expected a number or several, got []"),
        ("search={num_trials: 1, scheduler: {name: pbt}}", "search.num_trials: with 1 trial scheduler pbt has nothing"),
    ],
)
def test_what_can_do_nothing_is_named(here: Path, setting: str, words: str) -> None:
    assert words in error_of("plan", sweeps.written(here), "--set", setting)


def test_a_plan_in_which_nothing_is_stopped_early_does_not_speak_of_it(here: Path) -> None:
    path = sweeps.written(here, search={"num_trials": 2, "scheduler": {"name": "none"}})
    assert "stopped early" not in run("plan", path).output


@pytest.mark.parametrize(
    ("final", "needed"),
    [
        ({"seeds": 0}, ["final.seeds=2"]),
        ({"seeds": 1}, ["final.seeds=2"]),
        ({"seeds": 3, "ensemble": "none"}, ["final.ensemble=seeds"]),
        ({"seeds": 1, "ensemble": "none"}, ["final.seeds=2", "final.ensemble=seeds"]),
        ({"seeds": 2}, []),
        ({"seeds": 1, "top_k": 2, "ensemble": {"top_k": 2}}, []),
    ],
)
def test_what_is_distilled_names_what_makes_an_ensemble(
    here: Path, final: dict[str, object], needed: list[str]
) -> None:
    path = sweeps.written(here, search={"num_trials": 2}, final=final)
    plan = sweeps.planned(path, Path("results"))
    plan.folder.mkdir(parents=True)
    prepare(plan, fresh=False)
    Journal(plan.folder).write(record(0, of=plan.studies[0].key))
    error = error_of("distill", "tiny", "--to", "models")
    _, named, command = error.partition("; continue with: ndcl sweep ")
    assert named, error
    path_again, *options = shlex.split(command)
    settings = options[1::2]
    assert settings == needed
    [*_, study] = make_plan(load_sweep(Path(path_again), settings), Path("results")).studies
    assert study.has_ensemble
    assert study.num_final > 1
    assert refusal(make_plan(load_sweep(Path(path_again), settings), Path("results"))) is None


def test_a_final_run_that_the_sweep_was_not_to_have_names_what_makes_it(ended: Path) -> None:
    error = error_of("export", "tiny", "--to", "models", "--run", "seed-2")
    assert "has no final run yet; continue with: ndcl sweep" in error
    assert error.endswith("--set final.seeds=2")
