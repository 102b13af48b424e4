"""Which model a study settles on, and what `ndcl export` makes of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ndcl
from harness.records import Journal, StudyKey, TrialRecord
from harness.state.selected_models import members_of, selected_models
from ndcl.errors import UserError
from tests.harness.command_line import error_of, run
from tests.made.made_records import key, record
from tests.made.made_sweep import made_sweep, trained_again

torch.set_num_threads(1)
RATE = 1e-3


def final(number: int, seed: int, accuracy: float, of: StudyKey | None = None) -> TrialRecord:
    return record(number, accuracy=accuracy, stage="final", rate=RATE, seed=seed, of=of)


def names(records: list[TrialRecord], *studies: str, top_k: int = 1) -> list[str]:
    return [found.name for found in selected_models(records, top_k, studies or None)]


def test_the_best_of_the_final_runs_is_selected() -> None:
    study = key().name
    records = [record(0, accuracy=0.9, rate=RATE), final(0, 1, 0.4), final(1, 2, 0.6), final(2, 3, 0.5)]
    assert names(records) == [f"{study}.final-001"]


def test_final_runs_of_other_values_do_not_count() -> None:
    surpassed = record(3, accuracy=0.99, stage="final", rate=0.5, seed=1)
    records = [record(0, accuracy=0.9, rate=RATE), final(0, 1, 0.4), surpassed]
    assert names(records) == [f"{key().name}.final-000"]


def test_before_any_final_run_it_is_the_selected_trial() -> None:
    running = record(0, "running", stage="final", rate=RATE)
    records = [record(0, accuracy=0.2), record(1, accuracy=0.7), record(2, "pruned", accuracy=0.9), running]
    assert names(records) == [f"{key().name}.search-001"]


def test_each_study_has_its_own() -> None:
    other = key(target="sign")
    records = [record(0), record(0, of=other), final(0, 1, 0.5), record(0, "running", of=key("ndcl"))]
    assert names(records) == [f"{key().name}.final-000", f"{other.name}.search-000"]
    assert names(records, other.name) == [f"{other.name}.search-000"]


def test_studies_that_have_nothing_are_told() -> None:
    records = [record(0, "running"), record(0, of=key(target="sign"))]
    with pytest.raises(UserError, match="has no finished training yet; continue with: ndcl sweep"):
        names(records, key().name)
    with pytest.raises(UserError, match="no finished training yet"):
        names(records[:1])
    with pytest.raises(UserError, match=f"unknown study '{key().name}s'; did you mean '{key().name}'"):
        names(records, f"{key().name}s")


def combined(number: int, *members: TrialRecord) -> TrialRecord:
    return record(number, stage="ensemble", rate=RATE, members=tuple(one.name for one in members))


def test_the_ensemble_of_the_final_runs_is_a_model_of_its_study() -> None:
    runs = [final(0, 1, 0.4), final(1, 2, 0.6)]
    records = [record(0, accuracy=0.9, rate=RATE), *runs, combined(0, *runs)]
    study = key().name

    def chosen(run: str) -> list[str]:
        return [one.name.removeprefix(f"{study}.") for one in selected_models(records, 1, run=run)]

    assert [chosen(run) for run in ("ensemble", "best", "seed-1")] == [["ensemble-000"], ["final-001"], ["final-000"]]
    assert [one.name for one in selected_models(records[:3], 1, run="ensemble")] == [f"{study}.final-001"]
    with pytest.raises(UserError, match=r"--run seed-7: study .* has no final run of this seed; it has seed-1, seed-2"):
        chosen("seed-7")
    for wrong in ("seed", "last", "seed-x"):
        with pytest.raises(UserError, match=f"--run {wrong}: it is neither ensemble, best nor a final run"):
            chosen(wrong)


def test_an_ensemble_is_exported_with_its_members(tmp_path: Path) -> None:
    runs = [record(n, stage="final", rate=1e-3, seed=n + 1) for n in range(2)]
    folder = made_sweep(tmp_path, record(0), *runs)
    about = {"of": "probabilities", "scales": [1.0, 1.0], "temperature": 1.25}
    made = combined(0, *runs)
    evaluation = made.evaluations[-1] | {"ensemble": about}
    Journal(folder).write(dataclasses.replace(made, evaluations=(evaluation,)))
    result = run("export", "made", "--results", tmp_path, "--to", tmp_path / "models")
    assert result.exit_code == 0, result.output
    model = ndcl.load_model(tmp_path / "models" / key().name)
    assert model.description.temperature == 1.25
    assert model.description.origin["members"] == [one.name for one in runs]
    trainings = [trained_again(one) for one in Journal(folder).read() if one.stage == "final"]
    rows = np.arange(0, 100, 3)
    shares = torch.stack([training.logits(rows).softmax(dim=1) for training in trainings]).mean(dim=0)
    found = model.predict(trainings[0].problem.store.inputs(rows).numpy())
    assert found.class_ids.tolist() == shares.argmax(dim=1).tolist()
    result = run("export", "made", "--results", tmp_path, "--to", tmp_path / "single", "--run", "seed-2")
    assert f"{key().name}.final-001: " in result.stdout
    result = run("export", "made", "--results", tmp_path, "--to", tmp_path / "best", "--best")
    assert f"{key().name}.final-00" in result.stdout


@pytest.mark.parametrize("form", ["safetensors", "torch-export"])
def test_an_exported_model_predicts_as_its_training_did(tmp_path: Path, form: str) -> None:
    folder = made_sweep(tmp_path / "results")
    result = run("export", "made", "--results", tmp_path / "results", "--to", tmp_path / "models", "--format", form)
    assert result.exit_code == 0, result.output
    place = tmp_path / "models" / key().name
    assert result.stdout == f"{key().name}.final-000: {place}\nnext: ndcl predict {place} IMAGES...\n"
    model = ndcl.load_model(place)
    made = next(one for one in Journal(folder).read() if one.stage == "final")
    training = trained_again(made)
    rows = np.arange(0, 100, 3)
    assert torch.equal(model.logits(model.prepare(training.problem.store.inputs(rows))), training.logits(rows))
    origin = json.loads((place / "model.json").read_text())["origin"]
    assert (origin["sweep"], origin["trial"], origin["seed"]) == ("made", made.name, 1)
    assert origin["git_revision"] == "of the training"
    assert origin["validation_accuracy"] == 0.5
    assert origin["step"] == 2  # the first of equals
    assert origin["target"]["overall"] == made.evaluations[0]["target"]["overall"]


def test_exporting_again_does_not_overwrite(tmp_path: Path) -> None:
    made_sweep(tmp_path)
    arguments = ("export", "made", "--results", tmp_path, "--to", tmp_path / "models")
    assert run(*arguments).exit_code == 0
    assert "exists already; delete it first" in error_of(*arguments)


def test_a_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = made_sweep(tmp_path)
    for state in folder.rglob("state.pt"):
        state.unlink()
    assert "its checkpoint is no longer in" in error_of("export", "made", "--results", tmp_path, "--to", tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--to DIR, --mlflow or --register MODEL"),
        (("--register", "m"), "give exactly one --study"),
        (("--to", "x", "--alias", "champion"), "also give --register MODEL"),
        (("--to", "x", "--study", "nothing"), "unknown study 'nothing'"),
        (("--to", "x", "--run", "seed-1", "--best"), "--best and --run seed-1 name two models; leave one of them out"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    folder = tmp_path / "made"
    Journal(folder).write(record(0))
    assert words in error_of("export", "made", "--results", tmp_path, *options)


def test_a_sweep_that_has_not_run_is_one_line(tmp_path: Path) -> None:
    assert "there is no sweep 'made'" in error_of("export", "made", "--results", tmp_path, "--to", "x")


def test_a_member_without_a_record_is_told() -> None:
    ensemble = dataclasses.replace(final(0, 0, 0.5), stage="ensemble", members=("one", "two"))
    with pytest.raises(UserError, match=r"it is made of one, which has no record any more; run the sweep again"):
        members_of(ensemble, [ensemble])
    assert members_of(final(0, 1, 0.4), []) == [final(0, 1, 0.4)]
