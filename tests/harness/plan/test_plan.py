"""From a sweep's config to its studies, and every mistake found before anything starts."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from harness.config import SweepConfig, load_sweep
from harness.config.dotted_keys import flat, laid_over
from harness.config.space import defaults
from harness.plan import Plan, make_plan
from harness.plan.changes import difference, extends
from harness.plan.checks import Check, buildable
from harness.plan.studies import as_begun
from harness.plan.words import model_warnings, plan_totals
from ndcl.config import TrainConfig
from ndcl.data.store.writer import write_store
from ndcl.errors import UserError, unknown_name
from tests.made.made_records import both, record
from tests.made.made_store import make_store

DOMAINS = {"digits": ("scan", "texture", "print", "sign"), "pacs": ("art", "photo")}
RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}
ALPHA = {"type": "float", "low": 0.1, "high": 10}
SWEEP = {
    "name": "small",
    "data": "digits",
    "imbalance": {"setting": "long_tail", "ratio": 65},
    "algorithms": {"erm": None, "ndcl": {"train": {"algorithm.mixup": 0.3}, "space": {"algorithm.alpha": ALPHA}}},
    "train": {"num_steps": 20, "evaluate_every": 5},
    "space": {"optimizer.learning_rate": RATE},
    "search": {"num_trials": 4, "seed": 7},
    "final": {"seeds": 2},
}
SEARCH_SPACES = Path(__file__).parents[3] / "search_spaces"


def domains(name: str, folder: str | None) -> tuple[str, ...]:
    if name not in DOMAINS:
        raise unknown_name("data set", name, DOMAINS)
    return DOMAINS[name]


def plan_of(results: Path = Path("results"), check: Check = lambda config: None, **changes: object) -> Plan:
    config = SweepConfig.model_validate({**SWEEP, **changes})
    return make_plan(config, results, domains=domains, check=check)


def study_of(plan: Plan, algorithm: str, target: str):
    (study,) = (s for s in plan.studies if (s.key.algorithm, s.key.target) == (algorithm, target))
    return study


@pytest.mark.parametrize(
    ("asked", "search", "final"),
    [
        ({}, "selected", "selected"),
        ({"evaluate_target": "always"}, "always", "always"),
        ({"evaluate_target": "final"}, "never", "selected"),
    ],
)
def test_trainings_look_at_the_target_as_the_search_says(asked: dict[str, str], search: str, final: str) -> None:
    study = study_of(plan_of(search={**SWEEP["search"], **asked}), "ndcl", "sign")
    trial = study.train_config(defaults(study.space))
    assert trial.evaluate_target == search
    repeated = study.final_config(record(0), 1)
    assert (repeated.evaluate_target, repeated.seed) == (final, 1)


def test_when_the_target_is_looked_at_stands_at_one_place() -> None:
    with pytest.raises(ValidationError, match=r"write it under the sweep's `search\.evaluate_target`"):
        plan_of(train={"evaluate_target": "always"})
    with pytest.raises(ValidationError, match="'always', 'selected' or 'final'"):
        plan_of(search={**SWEEP["search"], "evaluate_target": "never"})


def refusal(**changes: object) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The studies


def test_a_study_per_algorithm_data_set_setting_and_target():
    plan = plan_of(data=["digits", "pacs"], imbalance=[{"setting": "long_tail", "ratio": 10}, {"setting": "natural"}])
    assert len(plan.studies) == 2 * 2 * (4 + 2)
    names = [study.key.name for study in plan.studies]
    assert len(set(names)) == len(names)
    assert names[:2] == ["erm.digits.long_tail-10.scan", "ndcl.digits.long_tail-10.scan"]  # compared side by side
    assert names[-1] == "ndcl.pacs.natural.photo"


def test_the_plan_carries_budget_and_resources():
    plan = plan_of(Path("/out"), resources={"cpus_per_trial": 2, "gpus_per_trial": 0.5, "max_concurrent": 3})
    assert plan.folder == Path("/out/small")
    assert plan.occupied == both(cpus=2, gpus=0.5, max_concurrent=3)
    assert plan.phases == (("search", "final"),)
    study = plan.studies[0]
    assert (study.num_trials, study.num_steps, study.final_seeds, study.num_final) == (4, 20, (1, 2), 2)
    assert (study.sampler, study.scheduler.name, study.seed) == ("tpe", "asha", 7)


def test_base_is_complete_and_valid():
    base = study_of(plan_of(), "ndcl", "print").base
    config = TrainConfig.from_dict(base)
    assert config.to_dict() == base
    assert config.data.target == "print"
    assert config.imbalance.ratio == 65
    assert config.algorithm.mixup == 0.3
    assert config.seed == 0  # final runs use seeds from 1 on


def test_train_config_lays_values_and_seed_over_the_base():
    study = study_of(plan_of(), "ndcl", "scan")
    before = yaml.safe_dump(study.base)
    config = study.train_config({"algorithm.alpha": 3.0, "optimizer.learning_rate": 0.5}, seed=9)
    assert (config.algorithm.alpha, config.optimizer.learning_rate, config.seed) == (3.0, 0.5, 9)
    assert config.algorithm.mixup == 0.3
    assert study.train_config({}).seed == 0
    assert yaml.safe_dump(study.base) == before


def test_train_config_refuses_what_is_unknown():
    with pytest.raises(UserError, match=r"algorithm\.alhpa: unknown key; did you mean 'alpha'"):
        study_of(plan_of(), "ndcl", "scan").train_config({"algorithm.alhpa": 1})


def test_common_space_is_the_same_for_all_and_own_space_only_for_one():
    plan = plan_of()
    assert list(study_of(plan, "erm", "scan").space) == ["optimizer.learning_rate"]
    assert list(study_of(plan, "ndcl", "scan").space) == ["optimizer.learning_rate", "algorithm.alpha"]


def test_without_anything_to_search_there_is_one_trial():
    plan = plan_of(space={})
    assert study_of(plan, "erm", "scan").num_trials == 1
    assert study_of(plan, "ndcl", "scan").num_trials == 4


def test_variants_of_an_algorithm_have_their_own_studies():
    variants = {"ndcl": None, "no_alignment": {"algorithm": "ndcl", "train": {"algorithm.beta": 0}}}
    study = study_of(plan_of(algorithms=variants), "no_alignment", "scan")
    assert study.base["algorithm"]["name"] == "ndcl"
    assert study.base["algorithm"]["beta"] == 0


@pytest.mark.parametrize(
    ("imbalance", "label"),
    [
        ({"setting": "long_tail", "ratio": 65}, "long_tail-65"),
        ({"setting": "long_tail", "ratio": 12.5}, "long_tail-12.5"),
        ({"setting": "long_tail", "counts": [65, 42, 1]}, "long_tail-65"),
        ({"setting": "long_tail", "counts": [60, 8, 0]}, "long_tail-7.5"),
        ({"setting": "released/cross"}, "released/cross"),
        ({"setting": "natural", "label": "as_it_is"}, "as_it_is"),
    ],
)
def test_the_setting_is_named_with_its_ratio(imbalance, label):
    assert plan_of(imbalance=imbalance).studies[0].key.setting == label


def test_two_settings_of_one_kind_over_a_list_of_ratios_are_told_apart_by_a_label():
    ratios = {"setting": "long_tail", "ratio": [10, 50]}
    message = "study erm.digits.long_tail-10.scan would run 2 times; leave one out, or give its imbalance a label"
    assert message in refusal(imbalance=[ratios, {**ratios, "class_order": "per_domain"}])
    plan = plan_of(imbalance=[ratios, {**ratios, "class_order": "per_domain", "label": "own"}])
    settings = dict.fromkeys(study.key.setting for study in plan.studies)
    assert list(settings) == ["long_tail-10", "long_tail-50", "own-10", "own-50"]


# Overrides


def test_an_override_changes_only_the_studies_it_names():
    narrow = {**RATE, "high": 2e-3}
    override = {"target": "sign", "train": {"batch_size": 4}, "space": {"optimizer.learning_rate": narrow}}
    plan = plan_of(overrides=[override])
    for study in plan.studies:
        named = study.key.target == "sign"
        assert study.base["batch_size"] == (4 if named else 32)
        assert study.space["optimizer.learning_rate"].high == (2e-3 if named else 1e-2)


def test_an_override_that_fixes_a_value_ends_its_search_and_the_later_one_wins():
    overrides = [
        {"algorithm": "ndcl", "train": {"algorithm.alpha": 2}},
        {"algorithm": "ndcl", "target": "sign", "space": {"algorithm.alpha": ALPHA}},
    ]
    plan = plan_of(overrides=overrides)
    assert "algorithm.alpha" not in study_of(plan, "ndcl", "scan").space
    assert study_of(plan, "ndcl", "scan").base["algorithm"]["alpha"] == 2
    assert "algorithm.alpha" in study_of(plan, "ndcl", "sign").space


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "digitz"}, "data.name: unknown data set 'digitz'; did you mean 'digits'? Valid: digits, pacs"),
        ({"data": {"name": "digits", "targets": ["sing"]}}, "data.targets: unknown target domain 'sing'"),
        ({"data": {"name": "digits", "targets": ["None"]}}, "texture, all, or none for a study that leaves none out"),
        ({"algorithms": {"ndlc": None}}, "algorithms.ndlc: unknown algorithm 'ndlc'; did you mean 'ndcl'?"),
        ({"algorithms": {"x": {"algorithm": "y"}}}, "unknown algorithm 'y'; valid: and_mask, arm, balanced_softmax, "),
        ({"train": {"num_step": 1}}, "study erm.digits.long_tail-65.scan: num_step: unknown key; did you mean"),
        ({"train": {"optimizer.learning_rat": 1}}, "optimizer.learning_rat: unknown key; did you mean 'learning_rate'"),
        ({"train": {"batch_size": 0}}, "batch_size: 0 is out of range"),
        ({"train": {"algorithm.alpha": 1}}, "study erm.digits.long_tail-65.scan: algorithm.alpha: unknown key"),
        ({"train": {"batch_size.x": 1}}, "batch_size"),
        ({"data": ["digits", "digits"]}, "study erm.digits.long_tail-65.scan would run 2 times"),
        ({"imbalance": [{"ratio": 2, "seed": 0}, {"ratio": 2, "seed": 1}]}, "give its imbalance a label"),
        ({"overrides": [{"target": "sing"}]}, "overrides.0.target: unknown target 'sing'; did you mean 'sign'?"),
        ({"overrides": [{"algorithm": "ndlc"}]}, "overrides.0.algorithm: unknown algorithm 'ndlc'"),
        ({"overrides": [{"data": "pacs"}]}, "overrides.0.data: unknown data 'pacs'"),
        (
            {"search": {"num_trials": 1, "scheduler": {"min_resource": 5}}},
            "search.scheduler.min_resource: 5 is more than the 4 evaluations of a trial",
        ),
    ],
)
def test_mistakes_are_found_before_anything_starts(changes, message):
    assert message in refusal(**changes)


@pytest.mark.parametrize(
    ("key", "parameter", "message"),
    [
        ("optimizer.learning_rate", {"type": "float", "low": 0, "high": 1}, "optimizer.learning_rate: 0.0 is out of"),
        ("model.dropout", {"type": "float", "low": 0, "high": 1}, "model.dropout: 1.0 is out of range"),
        ("batch_size", {"type": "float", "low": 8, "high": 16}, "batch_size: expected a whole number"),
        ("resampling_ratio", {"type": "choice", "choices": [None, 0.5]}, "resampling_ratio: 0.5 is out of range"),
        ("optimizer.lr", {"type": "float", "low": 1, "high": 2}, "optimizer.lr: unknown key"),
        ("optimizer", {"type": "choice", "choices": ["adam"]}, "optimizer: expected a mapping"),
    ],
)
def test_a_search_range_is_checked_at_both_ends(key, parameter, message):
    text = refusal(space={key: parameter})
    assert text.startswith("study erm.digits.long_tail-65.scan: space: ")
    assert message in text


def test_each_problem_is_checked_once_and_its_refusal_names_file_and_study(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    checked = []

    def check(config: TrainConfig) -> None:
        checked.append(config.data.target)
        if config.data.target == "print":
            raise UserError("imbalance: domain scan has 87 images of class 3, 90 are asked for")

    with pytest.raises(UserError) as caught:
        make_plan(load_sweep(path), tmp_path, domains=domains, check=check)
    assert checked == ["scan", "texture", "print"]
    assert str(caught.value).startswith(f"{path}: study erm.digits.long_tail-65.print: imbalance: domain scan has 87")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.model.backbone=resnet5", "model.backbone: unknown backbone 'resnet5'; did you mean 'resnet50'?"),
        ("imbalance.counts=[90, 42, 20, 9, 5, 2, 1, 1, 1, 1]", "domain 'texture', which has 87"),
        ("imbalance.setting=long_tial", "unknown imbalance setting 'long_tial'; did you mean 'long_tail'?"),
    ],
)
def test_what_only_the_data_and_models_know_is_checked_too(override, message):
    with pytest.raises(UserError) as caught:
        make_plan(load_sweep(SEARCH_SPACES / "digits.yaml", [override]), Path("results"))
    assert "digits.yaml: study erm.digits." in str(caught.value)
    assert message in str(caught.value)


PRETRAINED = {"model.backbone": "resnet18", "model.weights": "imagenet"}
CHOICE = {"type": "choice"}


@pytest.mark.parametrize(
    ("train", "space", "message"),
    [
        ({}, {}, "model.weights: none runs of several seeds begin apart"),
        (
            {"model.backbone": "linear"},
            {},
            "their mean is what seeds makes of them already; take final.ensemble: seeds",
        ),
        (PRETRAINED, {}, "a random head of its own seed; give all one with model.head_seed: 0, or take final.ensemble"),
        (
            {"model.backbone": "resnet18", "model.head_seed": 0},
            {"model.weights": {**CHOICE, "choices": ["imagenet", "none"]}},
            "model.weights: none runs of several seeds begin apart",
        ),
    ],
)
def test_weights_are_averaged_only_of_runs_that_begin_alike(train: Any, space: Any, message: str) -> None:
    changes = {"train": SWEEP["train"] | train, "space": SWEEP["space"] | space}
    plan_of(**changes)
    with pytest.raises(UserError, match=r"study erm\.digits.*: final\.ensemble: weights: .*" + re.escape(message)):
        plan_of(**changes, final={"seeds": 2, "ensemble": "weights"})


def test_weights_are_not_averaged_where_each_run_makes_a_head_of_its_own() -> None:
    train = SWEEP["train"] | PRETRAINED | {"model.head_seed": 0}
    for name in ("mtl", "tcri_hsic", "gini_dg", "crt"):
        with pytest.raises(UserError, match=f"final.ensemble: weights: {name} puts a head of its own seed in place"):
            plan_of(train=train, algorithms={name: None}, final={"seeds": 2, "ensemble": "weights"})


def test_a_single_run_has_no_weights_to_average() -> None:
    with pytest.raises(ValidationError, match=r"ensemble: weights: with seeds: 1 there are none to average"):
        plan_of(final={"seeds": 1, "ensemble": "weights"})


def test_runs_that_begin_alike_have_averaged_weights() -> None:
    train = SWEEP["train"] | PRETRAINED | {"model.head_seed": 0}
    before, after = (plan_of(train=train, final={"seeds": 2, "ensemble": kind}) for kind in ("seeds", "weights"))
    assert [each.averages_weights for plan in (before, after) for each in plan.studies[:1]] == [False, True]
    assert all(late.continues(early) for early, late in zip(before.studies, after.studies, strict=True))


def test_an_objective_that_cant_be_measured_is_refused() -> None:
    settings = ["search.objective=few_shot_accuracy", "imbalance.few_below=1"]
    with pytest.raises(UserError) as caught:
        make_plan(load_sweep(SEARCH_SPACES / "digits.yaml", settings), Path("results"))
    assert "objective few_shot_accuracy can't be measured with target 'scan'" in str(caught.value)
    assert "raise imbalance.few_below" in str(caught.value)


BACKBONES = {"type": "choice", "choices": ["small_cnn", "resnet18"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"overrides": [{"target": "sign", "train": {"model.freeze_stages": 4}}]},
            "study erm.digits.long_tail-65.sign: model.freeze_stages: 'small_cnn' has 3 stages before its head",
        ),
        (
            {"space": {"model.backbone": BACKBONES, "model.freeze_stages": {"type": "int", "low": 0, "high": 5}}},
            "scan: space: model.freeze_stages: 'small_cnn' has 3 stages before its head, so that 5 cannot be frozen",
        ),
        (
            {"space": {"model.backbone": {"type": "choice", "choices": ["resnet18", "resnet81"]}}},
            "scan: space: model.backbone: unknown backbone 'resnet81'; did you mean 'resnet18'?",
        ),
    ],
)
def test_values_that_together_give_no_network_are_refused(changes, message):
    assert message in refusal(check=buildable, **changes)


def test_a_condition_keeps_values_apart_that_give_no_network_together():
    stages = {"type": "int", "low": 0, "high": 5, "when": {"model.backbone": "resnet18"}}
    plan_of(check=buildable, space={"model.backbone": BACKBONES, "model.freeze_stages": stages})


def test_each_model_that_is_searched_is_checked_once():
    checked = []
    depth = {"type": "int", "low": 2, "high": 4, "when": {"batch_size": 8, "model.backbone": "mlp"}}
    backbones = {"type": "choice", "choices": ["linear", "mlp"]}
    space = {"model.backbone": backbones, "model.mlp_depth": depth, "batch_size": {"type": "int", "low": 4, "high": 8}}
    data = {"name": "digits", "targets": ["sign"]}
    plan_of(check=lambda c: checked.append((c.model.backbone, c.model.mlp_depth)), data=data, space=space)
    assert checked == [("linear", 3), ("mlp", 2), ("mlp", 4)]


# A changed sweep under the same name


def test_resolved_form_is_plain_yaml_with_targets_written_out():
    resolved = plan_of().resolved
    assert yaml.safe_load(yaml.safe_dump(resolved)) == resolved
    assert resolved["data"][0]["targets"] == list(DOMAINS["digits"])


def test_difference_names_what_changed():
    old, new = plan_of().resolved, plan_of(search={"num_trials": 9, "seed": 7}, train={"num_steps": 20}).resolved
    assert difference(old, old) == []
    assert sorted(difference(old, new)) == ["search.num_trials: 4 -> 9", "train.evaluate_every: 5 -> (absent)"]


def test_difference_looks_into_lists():
    old, new = plan_of().resolved, plan_of(imbalance={"setting": "long_tail", "ratio": 10}).resolved
    assert difference(old, new) == ["imbalance.ratio: 65 -> 10"]


ALGORITHMS = SWEEP["algorithms"]


LOOK = {"by": "leave_one_domain_out_likelihood"}


def test_second_looks_may_grow_but_not_go() -> None:
    def with_look(**look: object) -> dict[str, object]:
        return plan_of(search={"num_trials": 4, "seed": 7, "select": {**LOOK, **look} if look else None}).resolved

    assert extends(with_look(among=2), with_look(among=3))
    assert not extends(with_look(among=3), with_look(among=2))
    assert not extends(with_look(among=3), with_look())
    assert not extends(with_look(among=3), with_look(among=3, by="leave_one_domain_out_accuracy"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search": {"num_trials": 5, "seed": 7}},
        {"search": {"num_trials": 4, "seed": 7, "select": LOOK}},
        {"final": {"seeds": 3}},
        {"data": ["digits", "pacs"]},
        {"algorithms": {**ALGORITHMS, "focal": None}},
        {"imbalance": [{"setting": "natural"}, {"setting": "long_tail", "ratio": 65}]},
        {"resources": {"max_concurrent": 1}},
        {"final": {"seeds": 2, "resources": {"workers_per_trial": 2}}},
        {"data": "pacs_and_digits"},
    ],
)
def test_adding_extends(changes):
    if changes.get("data") == "pacs_and_digits":  # with an override for what is new
        changes = {"data": ["pacs", "digits"], "overrides": [{"data": "pacs", "train": {"batch_size": 4}}]}
    assert extends(plan_of().resolved, plan_of(**changes).resolved)


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"num_trials": 3, "seed": 7}},
        {"search": {"num_trials": 4, "seed": 8}},
        {"search": {"num_trials": 4, "seed": 7, "sampler": "random"}},
        {"search": {"num_trials": 4, "seed": 7, "scheduler": {"reduction_factor": 4}}},
        {"final": {"seeds": 1}},
        {"train": {"num_steps": 30, "evaluate_every": 5}},
        {"space": {"optimizer.learning_rate": {**RATE, "high": 0.02}}},
        {"space": {"optimizer.learning_rate": {**RATE, "default": 2e-3}}},
        {"imbalance": {"setting": "long_tail", "ratio": 65, "seed": 1}},
        {"algorithms": {"erm": None}},
        {"data": {"name": "digits", "targets": ["scan"]}},
        {"data": {"name": "digits", "augment": False}},
        {"overrides": [{"target": "sign", "train": {"batch_size": 4}}]},
        {"name": "other"},
    ],
)
def test_changing_or_taking_away_does_not_extend(changes):
    assert not extends(plan_of().resolved, plan_of(**changes).resolved)


def test_what_another_version_wrote_is_not_extended():
    resolved = plan_of().resolved
    assert not extends({**resolved, "unheard_of": 1}, resolved)


def test_a_sweep_of_version_0_1_goes_on_with_the_batchnorm_it_froze() -> None:
    first, second = plan_of(train={"model.backbone": "resnet18"}).studies[:2]
    assert first.base["model"]["freeze_batchnorm"] is None
    old = dataclasses.replace(record(0), study=first.key)
    old.config["model"]["freeze_batchnorm"] = True
    begun, new = as_begun([first, second], [old])
    assert begun.train_config({}).model.freeze_batchnorm is True
    assert begun.final_config(old, 3).model.freeze_batchnorm is True
    assert new == second
    assert as_begun([first], [dataclasses.replace(record(0), study=first.key)]) == (first,)
    explicit = plan_of(train={"model.backbone": "resnet18", "model.freeze_batchnorm": False}).studies[0]
    assert as_begun([explicit], [old]) == (explicit,)


def test_true_without_weights_is_warned_of() -> None:
    train = {"model.backbone": "resnet18", "model.freeze_batchnorm": True}
    [line] = model_warnings(plan_of(train=train))
    assert line.startswith("warning: study erm.digits.long_tail-65.scan and 7 more: model.freeze_batchnorm: true with")
    assert not [*model_warnings(plan_of(train={"model.backbone": "resnet18"}))]
    assert not [*model_warnings(plan_of(train={**train, "model.weights": "imagenet"}))]


@pytest.mark.parametrize("key", ["optimizer.warmup_steps", "model.head_warmup_steps"])
def test_a_warm_up_of_the_whole_training_is_told(key: str):
    [line] = model_warnings(plan_of(train={key: 30, "num_steps": 30}))
    assert line.startswith("warning: study erm.digits.long_tail-65.scan and 7 more: ")
    assert f"{key}: 30 of 30 steps" in line
    assert not [*model_warnings(plan_of(train={key: 29, "num_steps": 30}))]


def test_a_patience_that_is_searched_is_left_to_the_search():
    train = {"averaging.name": "swad", "num_steps": 20, "evaluate_every": 10}
    [line] = model_warnings(plan_of(train=train))
    assert "averaging.start_patience: 3 of 2 evaluations" in line
    space = {"averaging.start_patience": {"type": "int", "low": 1, "high": 2}}
    assert not [*model_warnings(plan_of(train=train, space=space))]


STOPPED = "how many trials are stopped early"
FOLDS = "how many steps are best without each source domain, which final runs then take"


def test_what_trains_several_times_is_told():
    folds, select = "leave_one_domain_out_accuracy", {"by": "leave_one_domain_out_likelihood", "among": 2}
    told = "\nleave-one-domain-out: each {} trains once for each source domain, and is counted once here"
    plain = {"num_trials": 3, "scheduler": {"name": "none"}}
    assert "leave-one" not in plan_totals(plan_of(search=plain), [])
    assert plan_totals(plan_of(search={**plain, "objective": folds}), []).endswith(told.format("search trial"))
    assert plan_totals(plan_of(search={**plain, "select": select}), []).endswith(told.format("second look"))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("all", {"all", "ink", "oil"}),
        (["all"], {"all"}),
        (["all", "ink"], {"all", "ink"}),
        (None, {"all", "ink", "oil"}),
    ],
)
def test_all_targets_are_meant_where_a_domain_has_that_name(targets: Any, expected: set[str]) -> None:
    data = {"name": "digits"} | ({} if targets is None else {"targets": targets})
    config = SweepConfig.model_validate({**SWEEP, "data": data})
    found = make_plan(config, Path("results"), domains=lambda *_: ("all", "ink", "oil"), check=lambda config: None)
    assert {study.key.target for study in found.studies} == expected


@pytest.mark.parametrize(
    ("scheduler", "objective", "reasons"),
    [
        ("none", "leave_one_domain_out_accuracy", (FOLDS,)),
        ("asha", "leave_one_domain_out_accuracy", (STOPPED, FOLDS)),
        ("asha", "validation_accuracy", (STOPPED,)),
        ("none", "validation_accuracy", ()),
    ],
)
def test_the_steps_that_are_left_are_a_range_for_a_reason(
    scheduler: str, objective: str, reasons: tuple[str, ...]
) -> None:
    search = {"num_trials": 4, "objective": objective, "scheduler": {"name": scheduler}}
    train = {"num_steps": 20, "evaluate_every": 2}
    line = plan_totals(plan_of(search=search, train=train, final={"seeds": 2}), []).splitlines()[1]
    assert (" to " in line) == bool(reasons)
    assert line.partition(" steps")[2] == (f", depending on {' and on '.join(reasons)}" if reasons else "")


def test_all_targets_and_none_stand_in_one_list():
    found = plan_of(data={"name": "digits", "targets": ["all", "none"]}).studies
    assert {study.key.target for study in found} == {"scan", "sign", "texture", "print", "none"}


def test_a_study_does_not_continue_one_with_other_final_seeds():
    study = plan_of().studies[0]
    assert not dataclasses.replace(study, final_seeds=(2, 3, 4)).continues(study)


# Shipped search spaces


@pytest.mark.parametrize("path", sorted(SEARCH_SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_search_spaces_are_valid_and_introduced(path):
    opening = path.read_text().split("\n\n")[0]
    assert all(f"# {word}:" in opening for word in ("Command", "Time", "Result"))
    assert f"ndcl sweep search_spaces/{path.name}" in opening
    plan = make_plan(
        load_sweep(path),
        Path("results"),
        domains=lambda *_: ("art", "photo", "scan", "sign"),
        check=lambda config: None,
    )
    assert plan.name == path.stem


def test_digits_is_fair_and_starts_from_the_defaults():
    path = SEARCH_SPACES / "digits.yaml"
    plan = make_plan(load_sweep(path), Path("results"), domains=domains, check=lambda config: None)
    assert {s.key.target for s in plan.studies} == set(DOMAINS["digits"])
    for target in DOMAINS["digits"]:
        erm, ndcl = (study_of(plan, algorithm, target) for algorithm in ("erm", "ndcl"))
        assert erm.space.items() <= ndcl.space.items()  # what is searched for both is searched alike
        assert (erm.num_trials, erm.num_steps, erm.base["imbalance"]) == (
            ndcl.num_trials,
            ndcl.num_steps,
            ndcl.base["imbalance"],
        )
        assert defaults(ndcl.space).keys() == ndcl.space.keys()
    assert study_of(plan, "erm", "sign").space != study_of(plan, "erm", "scan").space


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_features_runs_on_any_feature_set(tmp_path: Path, backbone: str) -> None:
    make_store(tmp_path / "mine", np.full((3, 3), 7), shape=(5,))
    settings = ["data.name=mine", "name=mine", f"data.folder={tmp_path}", f"train.model.backbone={backbone}"]
    plan = make_plan(load_sweep(SEARCH_SPACES / "features.yaml", settings), tmp_path)
    assert [s.key.target for s in plan.studies if s.key.algorithm == "erm"] == ["art", "photo", "sketch"]
    ndcl = study_of(plan, "ndcl", "art")
    assert study_of(plan, "erm", "art").space.items() <= ndcl.space.items()
    assert ndcl.base["model"]["backbone"] == backbone
    assert defaults(ndcl.space).keys() == ndcl.space.keys()


@pytest.mark.parametrize(
    ("shape", "setting", "words"),
    [
        ((5,), "train.model.backbone=resnet50", "'resnet50' needs images, got inputs of shape .5,.; use 'linear'"),
        ((5,), "train.model.backbone=liner", "did you mean 'linear'"),
        ((12, 12, 3), "data.standardize=true", "mine holds images"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_runs(
    tmp_path: Path, shape: tuple[int, ...], setting: str, words: str
) -> None:
    make_store(tmp_path / "mine", np.full((3, 3), 7), shape=shape)
    settings = ["data.name=mine", f"data.folder={tmp_path}", setting]
    with pytest.raises(UserError, match=words):
        make_plan(load_sweep(SEARCH_SPACES / "features.yaml", settings), tmp_path)


# Dotted keys


def test_dotted_keys_and_back():
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": {}}
    assert flat(nested) == {"a.b.c": 1, "a.d": [1, 2], "e": {}}
    assert laid_over({}, flat(nested)) == nested
    with pytest.raises(UserError, match=r"a\.b: a holds the value 3"):
        laid_over({"a": 3}, {"a.b": 1})


@pytest.mark.parametrize("is_searched", [False, True])
def test_roots_of_features_below_0_are_refused_before_anything_runs(tmp_path: Path, is_searched: bool) -> None:
    inputs = np.ones((63, 5), np.float32)
    inputs[40, 2] = -0.25
    domains, labels = np.repeat(np.arange(3), 21), np.tile(np.arange(3), 21)
    names: dict[str, Any] = {"name": "mine", "classes": ("a", "b", "c"), "domains": ("x", "y", "z")}
    write_store(tmp_path / "mine", inputs=inputs, labels=labels, domain_ids=domains, **names)
    space = "space={data.transform: {type: choice, choices: [none, sqrt]}}"
    settings = ["data.name=mine", f"data.folder={tmp_path}", space if is_searched else "data.transform=sqrt"]
    words = r"data\.transform: sqrt takes features that are never negative, and mine has one of -0\.25; set it to none"
    with pytest.raises(UserError, match=words):
        make_plan(load_sweep(SEARCH_SPACES / "features.yaml", settings), tmp_path)


def test_images_have_no_roots(tmp_path: Path) -> None:
    make_store(tmp_path / "mine", np.full((3, 3), 7), shape=(12, 12, 3))
    settings = ["data.name=mine", f"data.folder={tmp_path}", "data.standardize=false", "data.transform=sqrt"]
    with pytest.raises(UserError, match=r"data\.transform: mine holds images"):
        make_plan(load_sweep(SEARCH_SPACES / "features.yaml", [*settings, "train.model.backbone=mlp"]), tmp_path)


def test_augmentation_and_transform_are_searched_and_nothing_else_of_the_data() -> None:
    choices = {"type": "choice", "choices": ["default", "trivial", "none"]}
    study = study_of(plan_of(space={"data.augment": choices}), "erm", "sign")
    assert study.train_config({"data.augment": "trivial"}).data.augment == "trivial"
    assert study.base["data"]["augment"] == "default"
    roots = study_of(plan_of(space={"data.transform": {"type": "choice", "choices": ["none", "sqrt"]}}), "erm", "sign")
    assert roots.train_config({"data.transform": "sqrt"}).data.transform == "sqrt"
    with pytest.raises(ValidationError, match=r"data\.image_size: it can't be searched"):
        plan_of(space={"data.image_size": {"type": "int", "low": 16, "high": 32}})


def test_a_sweep_that_said_true_goes_on() -> None:
    said = [plan_of(data={"name": "digits", "augment": value}).resolved for value in (True, "default")]
    assert said[0] == said[1]
    said[0]["data"][0]["augment"] = True
    assert extends(*said)


@pytest.mark.parametrize("key", ["optimizer.name", "optimizer.weight_decay_of", "averaging.name"])
def test_a_population_does_not_change_the_form_of_the_state(key: str) -> None:
    choices = {"optimizer.name": ["adam", "sgd"], "optimizer.weight_decay_of": ["all", "weights"]}
    space = {key: {"type": "choice", "choices": choices.get(key, ["none", "ema"])}}
    search = {"num_trials": 4, "scheduler": {"name": "pbt"}}
    train = {**SWEEP["train"], "optimizer.weight_decay": 0.1}
    assert f"space.{key}: a training can't change it while it trains" in refusal(
        space=space, search=search, train=train
    )
    plan_of(space=space, train=train)


@pytest.mark.parametrize(("algorithm", "key"), [("dann", "width"), ("arm", "width"), ("gini_dg", "width")])
def test_a_population_does_not_change_an_algorithms_own_networks(algorithm: str, key: str) -> None:
    search = {"num_trials": 4, "scheduler": {"name": "pbt"}}
    said = refusal(algorithms=[algorithm], search=search)
    assert f"space.algorithm.{key}: a network can't change it while it trains" in said


def test_keys_of_one_optimiser_are_used_where_its_name_is_searched() -> None:
    momentum = {"type": "float", "low": 0.5, "high": 0.9}
    names = {"type": "choice", "choices": ["adam", "sgd"]}
    assert "optimizer.momentum: adam does not use it" in refusal(space={"optimizer.momentum": momentum})
    plan_of(space={"optimizer.momentum": momentum, "optimizer.name": names})
    ema, tolerance = {"type": "choice", "choices": ["none", "ema"]}, {"type": "float", "low": 1.1, "high": 1.5}
    space = {"averaging.name": ema, "averaging.tolerance": tolerance}
    assert "averaging.tolerance: nothing is averaged" in refusal(space=space)
    plan_of(space={**space, "averaging.name": {"type": "choice", "choices": ["none", "swad"]}})


def test_a_key_that_an_override_gives_to_another_algorithm_is_told_with_its_place():
    overrides = [{"target": "scan", "train": {"batch_size": 4}}, {"target": "sign", "train": {"algorithm.alpha": 0.2}}]
    with pytest.raises(UserError, match=r"^overrides\.1: study erm\.digits.*\.sign: algorithm\.alpha: unknown key"):
        plan_of(overrides=overrides)
    plan_of(overrides=[overrides[0], {**overrides[1], "algorithm": "ndcl"}])
