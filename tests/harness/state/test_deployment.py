"""What is deployed: chosen by what models were worth on domains that they had not seen."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.plan import make_plan
from harness.records import Journal, StudyKey, TrialRecord
from harness.state.deployment import deploy_sweep, evidence_of, one_problem, study_without_target, without_evidence
from harness.state.model_card import _expectation, expected_of
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.errors import UserError
from tests.harness.command_line import error_of
from tests.integration import sweeps
from tests.made.made_records import record

PROBLEM = ("digits", "long_tail-20")


def run(algorithm: str, target: str, accuracy: float | None, *, stage: Any = "final", number: int = 0) -> TrialRecord:
    key = StudyKey(algorithm=algorithm, dataset="digits", setting="long_tail-20", target=target)
    made = record(number, stage=stage, rate=1e-3, seed=0 if stage == "search" else number + 1, of=key)
    part = made.evaluations[-1]["target"] | {"overall": accuracy, "num_images": 0 if accuracy is None else 4}
    evaluation = made.evaluations[-1] | {"target": part}
    return dataclasses.replace(made, evaluations=(evaluation,))


def study(algorithm: str, target: str, *accuracies: float) -> list[TrialRecord]:
    finals = [run(algorithm, target, accuracy, number=n) for n, accuracy in enumerate(accuracies)]
    return [run(algorithm, target, 0.1, stage="search"), *finals]


def both() -> list[TrialRecord]:
    return [
        *study("erm", "scan", 0.2, 0.4), *study("erm", "sign", 0.5),
        *study("ndcl", "scan", 0.6), *study("ndcl", "sign", 0.3, 0.5),
    ]  # fmt: skip


def test_the_mean_over_unseen_domains_chooses() -> None:
    ndcl, erm = evidence_of(both(), PROBLEM, 1)
    assert (ndcl.algorithm, erm.algorithm) == ("ndcl", "erm")
    assert ndcl.accuracies == {"scan": 0.6, "sign": pytest.approx(0.4)}
    assert erm.mean == pytest.approx(0.4)
    assert ndcl.expected == "40 to 60 %, mean 50 %"
    assert ndcl.calibration_error is None


def test_a_single_domain_gives_no_range() -> None:
    [erm] = evidence_of(study("erm", "scan", 0.25), PROBLEM, 1)
    assert erm.expected == "25 %, of a single domain"


def test_domains_that_are_alike_give_no_range() -> None:
    [erm] = evidence_of([*study("erm", "scan", 0.25), *study("erm", "sign", 0.25)], PROBLEM, 1)
    assert erm.expected == "25 % (2 domains)"


def test_without_a_domain_left_out_one_algorithm_is_taken_as_it_is() -> None:
    erm, ndcl = run("erm", "none", None), run("ndcl", "none", None)
    only = without_evidence([erm], PROBLEM, None)
    assert only is not None
    assert (only.algorithm, only.mean, only.expected) == ("erm", None, "no accuracy is known, since none was left out")
    assert expected_of(only) == {"accuracy_on_unseen_domains": {}, "mean": None, "calibration_error": None}
    asked = without_evidence([erm, ndcl], PROBLEM, "ndcl")
    assert asked is not None
    assert asked.algorithm == "ndcl"
    assert without_evidence([*both(), erm], PROBLEM, None) is None
    with pytest.raises(UserError, match="nothing chooses between erm, ndcl; name one"):
        without_evidence([erm, ndcl], PROBLEM, None)
    with pytest.raises(UserError, match="unknown algorithm 'emr'; did you mean 'erm'"):
        without_evidence([erm, ndcl], PROBLEM, "emr")


def test_the_card_says_which_domains_were_left_out() -> None:
    evidence = evidence_of(both(), PROBLEM, 1)
    every = _expectation(evidence[0], evidence, ["sign", "scan"])
    assert "**40 to 60 %, mean 50 %**. Each domain was left out once, and a model" in every[0]
    assert every[2:] == [
        "| left out | accuracy | erm |", "| --- | ---: | ---: |", "| scan | 60 % | 30 % |", "| sign | 40 % | 50 % |"
    ]  # fmt: skip
    some = _expectation(evidence[0], evidence, ["sign", "scan", "print"])
    assert "**. Measured on scan and sign alone, with a model trained on the other domains:" in some[0]
    single = evidence_of(study("erm", "scan", 0.25), PROBLEM, 1)
    one = _expectation(single[0], single, ["sign", "scan"])
    assert "**25 %**. Measured on scan alone, with a" in one[0]
    only = without_evidence([run("erm", "none", None)], PROBLEM, None)
    assert only is not None
    assert _expectation(only, [only], ["sign", "scan"])[0].startswith(
        "On a domain that it has not seen: **not known**."
    )


def test_an_ensemble_counts_in_place_of_its_members() -> None:
    members = tuple(one.name for one in study("erm", "scan", 0.2, 0.4)[1:])
    combined = dataclasses.replace(run("erm", "scan", 0.9, stage="ensemble"), members=members)
    found = {each.algorithm: each for each in evidence_of([*both(), combined], PROBLEM, 1)}
    assert found["erm"].accuracies == {"scan": 0.9, "sign": 0.5}


def test_only_domains_with_models_of_all_algorithms_count() -> None:
    records = [one for one in both() if not (one.study.algorithm == "erm" and one.study.target == "sign")]
    assert [list(each.accuracies) for each in evidence_of(records, PROBLEM, 1)] == [["scan"], ["scan"]]
    with pytest.raises(UserError, match="no unseen domain has a finished final run of every algorithm"):
        evidence_of([one for one in both() if one.stage == "search"], PROBLEM, 1)


def test_a_study_without_a_target_is_no_evidence_but_is_taken() -> None:
    without = [run("ndcl", "none", None, stage="search"), run("ndcl", "none", None)]
    records = [*both(), *without]
    assert all("none" not in each.accuracies for each in evidence_of(records, PROBLEM, 1))
    assert study_without_target(records, PROBLEM, "ndcl") == without[0].study
    assert study_without_target(records, PROBLEM, "erm") is None
    named = run("erm", "none", 0.5)  # a domain of that name is a domain
    assert named.has_target


def test_of_several_settings_one_is_named() -> None:
    other = dataclasses.replace(both()[0], study=dataclasses.replace(both()[0].study, setting="natural"))
    records = [*both(), other]
    assert one_problem(both(), None) == PROBLEM
    assert one_problem(records, "natural") == ("digits", "natural")
    with pytest.raises(UserError, match=r"--setting: the sweep has several \(long_tail-20, natural\); say which one"):
        one_problem(records, None)
    with pytest.raises(UserError, match="unknown setting 'natura'; did you mean 'natural'"):
        one_problem(records, "natura")


def test_of_several_data_sets_one_is_named() -> None:
    first = both()[0]
    records = [*both(), dataclasses.replace(first, study=dataclasses.replace(first.study, dataset="pacs"))]
    assert one_problem(records, "digits.long_tail-20") == PROBLEM
    assert one_problem(records, "pacs.long_tail-20") == ("pacs", "long_tail-20")
    with pytest.raises(UserError, match=r"the sweep has several \(digits.long_tail-20, pacs.long_tail-20\)"):
        one_problem(records, None)


def test_the_sweep_that_trains_on_all_domains(tmp_path: Path) -> None:
    overrides = [
        {"target": "sign", "train": {"batch_size": 2}},
        {"algorithm": "ndcl", "train": {"optimizer.weight_decay": 0.5}},
    ]
    plan = sweeps.planned(sweeps.written(tmp_path, overrides=overrides), tmp_path / "results")
    made = deploy_sweep(plan.resolved, both(), PROBLEM, "ndcl")
    assert made.name == f"{plan.name}-deploy-ndcl"
    assert made.data[0].targets == ("none",)
    assert list(made.algorithms) == ["ndcl"]
    assert [each.target for each in made.overrides] == [None]
    assert made.search.objective == ("leave_one_domain_out_accuracy",)
    assert made.search.warm_start is not None
    assert (made.search.warm_start.sweep, made.search.warm_start.from_other_targets) == (plan.name, True)
    assert made.final.seeds == plan.resolved["final"]["seeds"]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHM_CONFIGS))
def test_every_algorithm_is_deployed_from_a_sweep_without_a_space(tmp_path: Path, algorithm: str) -> None:
    plan = sweeps.planned(sweeps.written(tmp_path, algorithms=[algorithm], space={}), tmp_path / "results")
    made = make_plan(deploy_sweep(plan.resolved, study(algorithm, "scan", 0.5), PROBLEM, algorithm), plan.results)
    [own] = made.studies
    assert (own.key.target, own.num_trials, own.num_final) == ("none", 1, 2)
    assert bool(own.space) == (own.warm_start is not None)


def test_each_algorithm_and_setting_has_a_sweep_of_its_own(tmp_path: Path) -> None:
    settings = [{"setting": "long_tail", "ratio": 20, "validation": 2}, {"setting": "natural", "validation": 2}]
    one = sweeps.planned(sweeps.written(tmp_path), tmp_path / "results").resolved
    two = sweeps.planned(sweeps.written(tmp_path, imbalance=settings), tmp_path / "results").resolved
    erm, ndcl = (deploy_sweep(one, both(), PROBLEM, algorithm) for algorithm in ("erm", "ndcl"))
    assert (erm.name, ndcl.name) == ("tiny-deploy-erm", "tiny-deploy-ndcl")
    assert deploy_sweep(two, both(), PROBLEM, "erm").name == "tiny-deploy-erm-long_tail-20"
    odd = {**two, "data": [*two["data"], {**two["data"][0], "name": "Office Home"}]}
    key = dataclasses.replace(both()[0].study, dataset="Office Home")
    records = [dataclasses.replace(each, study=key) for each in study("erm", "scan", 0.5)]
    other = deploy_sweep(odd, records, (key.dataset, key.setting), "erm")
    assert other.name == "tiny-deploy-erm-Office_Home-long_tail-20"
    begun = deploy_sweep(one, both(), PROBLEM, "erm").model_dump() | {"name": "tiny-deploy"}
    assert deploy_sweep(one, both(), PROBLEM, "erm", begun).name == "tiny-deploy"
    assert deploy_sweep(one, both(), PROBLEM, "ndcl", begun).name == "tiny-deploy-ndcl"


def test_a_deployment_of_what_was_found_earlier_is_not_mixed_with_a_new_one(tmp_path: Path) -> None:
    results = tmp_path / "results"
    plan = sweeps.planned(sweeps.written(tmp_path), results)
    for each in both():
        Journal(plan.folder).write(each)
    begun = make_plan(deploy_sweep(plan.resolved, both(), PROBLEM, "ndcl"), results)
    earlier = begun.resolved | {"search": begun.resolved["search"] | {"num_trials": 9}}
    for folder, values in ((plan.folder, plan.resolved), (begun.folder, earlier)):
        folder.mkdir(exist_ok=True)
        (folder / "sweep.yaml").write_text(yaml.safe_dump(values))
    line = error_of("deploy", "tiny", "--to", tmp_path / "new", "--results", results)
    assert f"{begun.folder} was trained for what sweep 'tiny' had found earlier; delete that folder, then" in line
    assert not (tmp_path / "new").exists()


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert "it exists already" in error_of("deploy", "x", "--to", tmp_path / "there")
    assert "there is no sweep 'x'" in error_of("deploy", "x", "--to", tmp_path / "new", "--results", tmp_path)
