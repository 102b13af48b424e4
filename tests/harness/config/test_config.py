"""The sweep's YAML: what it holds when it is right, and the one line it answers with when it is wrong."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from harness.config import SweepConfig, load_sweep
from harness.config.parameters import ChoiceParameter, FloatParameter, IntParameter
from harness.config.resources import ResourceSpec
from harness.config.search import SchedulerConfig, SearchSpec
from harness.config.sweep import AlgorithmSpec, DataSpec, FinalSpec, Override
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.config import (
    AveragingConfig,
    ImbalanceConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from ndcl.errors import UserError

BOTH = ("worst_domain_accuracy", "few_shot_accuracy")
SWEEP = {
    "name": "small",
    "data": "digits",
    "imbalance": {"setting": "long_tail", "ratio": 65},
    "algorithms": {"erm": None, "ndcl": {"space": {"algorithm.alpha": {"type": "float", "low": 0.1, "high": 10}}}},
    "train": {"num_steps": 20},
    "search": {"num_trials": 4},
}


@pytest.fixture
def write(tmp_path: Path):
    def write_changed(**changes: object) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({**SWEEP, **changes}))
        return path

    return write_changed


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_sweep(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_short_forms_become_complete(write):
    config = load_sweep(write())
    assert [(spec.name, spec.targets) for spec in config.data] == [("digits", "all")]
    assert config.imbalance[0].values == {"setting": "long_tail", "ratio": 65}
    assert config.algorithms["erm"].space == {}
    assert config.search.scheduler.name == "asha"
    assert config.final.seeds == 3
    assert config.source.endswith("sweep.yaml")


def test_lists_of_data_and_imbalance(write):
    data = ["digits", {"name": "pacs", "targets": ["photo"], "augment": False}, {"name": "vlcs", "targets": "SUN"}]
    config = load_sweep(write(data=data, imbalance=[{"setting": "natural"}, {"setting": "released/cross"}]))
    assert [spec.targets for spec in config.data] == ["all", ("photo",), ("SUN",)]
    assert [spec.values["setting"] for spec in config.imbalance] == ["natural", "released/cross"]


def test_a_list_of_ratios_is_a_setting_each(write):
    config = load_sweep(write(imbalance={"setting": "long_tail", "ratio": [10, 50], "validation": 3}))
    assert [spec.values for spec in config.imbalance] == [
        {"setting": "long_tail", "ratio": ratio, "validation": 3} for ratio in (10, 50)
    ]
    assert len(load_sweep(write(), ["imbalance.ratio=[2, 3, 4]"]).imbalance) == 3


def test_a_label_is_the_beginning_of_the_names_of_a_list_of_ratios(write):
    both = [
        {"setting": "long_tail", "ratio": [10, 12.5]},
        {"setting": "long_tail", "class_order": "per_domain", "ratio": [10, 12.5], "label": "own"},
    ]
    config = load_sweep(write(imbalance=both))
    assert [spec.label for spec in config.imbalance] == [None, None, "own-10", "own-12.5"]
    assert [spec.values["ratio"] for spec in config.imbalance] == [10, 12.5] * 2
    again = SweepConfig.model_validate(config.model_dump(mode="json"))
    assert again.imbalance == config.imbalance
    assert "imbalance.label: " in refusal(write(imbalance={"ratio": [2, 3], "label": "a/b"}))


def test_one_objective_needs_no_brackets_and_several_are_not_pruned(write):
    assert load_sweep(write()).search.objective == ("validation_accuracy",)
    one = load_sweep(write(search={"num_trials": 4, "objective": "few_shot_accuracy"})).search
    assert (one.objective, one.scheduler.name) == (("few_shot_accuracy",), "asha")
    several = load_sweep(write(search={"num_trials": 4, "objective": list(BOTH)})).search
    assert (several.objective, several.scheduler.name) == (BOTH, "none")
    assert load_sweep(write(search={"sampler": "grid"})).search.num_trials is None


def test_a_condition_needs_no_brackets_for_one_value(write):
    space = {"algorithm.mixup": {"type": "float", "low": 0.1, "high": 0.3, "when": {"algorithm.mixup_mode": "rev"}}}
    assert load_sweep(write(space=space)).space["algorithm.mixup"].when == {"algorithm.mixup_mode": ("rev",)}


def test_train_may_be_nested_or_dotted(write):
    nested = load_sweep(write(train={"optimizer": {"weight_decay": 0.1}, "batch_size": 8}))
    dotted = load_sweep(write(train={"optimizer.weight_decay": 0.1, "batch_size": 8}))
    assert nested.train == dotted.train == {"optimizer.weight_decay": 0.1, "batch_size": 8}


def test_config_is_frozen(write):
    with pytest.raises(ValueError, match="frozen"):
        load_sweep(write()).name = "other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serach": {}}, "serach: unknown key; did you mean 'search'?"),
        ({"search": {"num_trails": 4}}, "search.num_trails: unknown key; did you mean 'num_trials'?"),
        ({"search": {}}, "search.num_trials: a value is required"),
        ({"search": {"num_trials": "many"}}, "search.num_trials: expected a whole number"),
        ({"search": {"num_trials": 0}}, "search.num_trials: 0 is out of range; it must be at least 1"),
        (
            {"search": {"num_trials": 1, "sampler": "tpee"}},
            "is not valid; choose one of tpe, gp, cmaes",
        ),
        (
            {"search": {"num_trials": 1, "scheduler": {"nam": "asha"}}},
            "search.scheduler.nam: unknown key; did you mean",
        ),
        ({"search": {"num_trials": 1, "objective": "accuracy"}}, "is not valid; choose one of validation_acc"),
        ({"search": {"num_trials": 1, "objective": []}}, "search.objective: expected at least 1 entry"),
        (
            {"search": {"num_trials": 1, "objective": ["validation_accuracy"] * 2}},
            "search.objective: validation_accuracy, validation_accuracy names one twice",
        ),
        (
            {"search": {"num_trials": 1, "objective": list(BOTH), "scheduler": {"name": "asha"}}},
            "search.scheduler.name: asha compares trials by one number, but there are 2 objectives; give --set",
        ),
        (
            {"search": {"num_trials": 1, "objective": list(BOTH), "sampler": "cmaes"}},
            "search.sampler: cmaes knows one objective only",
        ),
        ({"search": {"sampler": "tpe"}}, "search.num_trials: a value is required"),
        (
            {"search": {"num_trials": 1, "objective": "leave_one_domain_out_accuracy"}, "final": {"top_k": 2}},
            "final.top_k: final runs train on all source domains, so that by leave_one_domain_out_accuracy they",
        ),
        (
            {"search": {"num_trials": 1, "objective": "leave_one_domain_out_likelihood"}, "final": {"top_k": 2}},
            "final.top_k: final runs train on all source domains, so that by leave_one_domain_out_likelihood they",
        ),
        (
            {
                "search": {"num_trials": 4, "select": {"by": "leave_one_domain_out_likelihood"}},
                "final": {"top_k": 2},
            },
            "final.top_k: the final runs of several trials would choose between them once more",
        ),
        (
            {
                "search": {
                    "num_trials": 4,
                    "objective": "oracle_accuracy",
                    "select": {"by": "leave_one_domain_out_likelihood"},
                }
            },
            "search.select: the search's objective oracle_accuracy looks at the target",
        ),
        (
            {
                "search": {
                    "num_trials": 4,
                    "objective": "leave_one_domain_out_accuracy",
                    "select": {"by": "leave_one_domain_out_likelihood"},
                }
            },
            "search.select: by objective leave_one_domain_out_accuracy the search leaves out each source domain",
        ),
        (
            {"search": {"num_trials": 4, "select": {"by": "leave_one_domain_out_likelihood", "among": 1}}},
            "search.select.among: 1 is out of range; it must be at least 2",
        ),
        (
            {"search": {"num_trials": 4, "select": {"by": "oracle_accuracy"}}},
            "search.select.by: 'oracle_accuracy' is not valid",
        ),
        ({"final": {"top_k": 0}}, "final.top_k: 0 is out of range; it must be at least 1"),
        (
            {"final": {"ensemble": "all"}},
            "final.ensemble: expected seeds, weights, none or a mapping of keys to values, got 'all'",
        ),
        (
            {"final": {"ensemble": {"top": 2}}},
            "final.ensemble: {'top': 2} is not valid; give seeds, weights, none, or the number of",
        ),
        ({"final": {"ensemble": {"top_k": 3}, "top_k": 2}}, "final.ensemble.top_k: 3 trials can't be combined, since"),
        ({"imbalance": {"ratio": [10, 0.5]}}, "imbalance.ratio: 0.5 is out of range"),
        ({"imbalance": {"ratio": []}}, "imbalance: ratio: expected a number or several, got []"),
        (
            {"train": {"select_by": ["oracle_accuracy"]}},
            "train.select_by: it is not a value of `train`",
        ),
        ({"search": {"num_trials": 1, "warm_start": {}}}, "search.warm_start.sweep: a value is required"),
        ({"imbalance": {"ratoi": 2}}, "imbalance.ratoi: unknown key; did you mean 'ratio'?"),
        ({"imbalance": {"ratio": 0.5}}, "imbalance.ratio: 0.5 is out of range"),
        ({"imbalance": []}, "imbalance: expected at least 1 entry"),
        ({"data": {"name": "digits", "targets": []}}, "data.targets: expected at least 1 entry or all, got []"),
        ({"imbalance": [{"ratio": 2}, {"ratio": -2}]}, "imbalance.1.ratio: -2.0 is out of range"),
        ({"data": {"name": "digits", "target": "all"}}, "data.target: unknown key; did you mean 'targets'?"),
        ({"algorithms": {}}, "algorithms: expected at least 1 entry"),
        ({"algorithms": {"ndcl": {"spaces": {}}}}, "algorithms.ndcl.spaces: unknown key; did you mean 'space'?"),
        ({"name": "a/b"}, "name: 'a/b' can't be a name; use letters"),
        ({"train": {"seed": 3}}, "train.seed: it is not a value of `train`; search trials use seed 0"),
        ({"train": {"data": {"name": "pacs"}}}, "train.data.name: it is not a value of `train`"),
        ({"train": {"imbalance.ratio": 3}}, "write it under the sweep's `imbalance`"),
        ({"train": 3}, "train: expected a mapping of keys to values, got 3"),
        ({"overrides": [{"train": {}}]}, "overrides.0.target: an override needs at least one of"),
        ({"overrides": [{"targets": "scan"}]}, "overrides.0.targets: unknown key; did you mean 'target'?"),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial: 0 is out of range; it must be above 0"),
        ({"resources": {"workers_per_trial": 0}}, "out of range; it must be at least 1"),
        (
            {"resources": {"workers_per_trial": {"min": 3, "max": 2}}},
            "resources.workers_per_trial.min: 3 is greater than max, 2; exchange them",
        ),
        (
            {"resources": {"workers_per_trial": 2, "cpus_per_trial": 2}},
            "resources.cpus_per_trial: with several workers a trial has none; use cpus_per_worker",
        ),
        (
            {"resources": {"gpus_per_worker": 1}},
            "resources.gpus_per_worker: with one worker a trial has none; use gpus_per_trial",
        ),
        (
            {"resources": {"placement": "SPREAD"}},
            "resources.placement: with one worker a trial has none; leave it out",
        ),
        (
            {"final": {"resources": {"workers_per_trial": 2, "cpus_per_trial": 2}}},
            "final.resources.cpus_per_trial: with several workers a trial has none; use cpus_per_worker",
        ),
        (
            {"final": {"resources": {"keep_checkpoints": "selected"}}},
            "final.resources.keep_checkpoints: unknown key",
        ),
        (
            {"resources": {"workers_per_trial": 2, "placement": "ROUND"}},
            "'ROUND' is not valid; choose one of PACK",
        ),
    ],
)
def test_mistakes_are_one_line_with_file_and_key(write, changes, message):
    path = write(**changes)
    assert refusal(path).startswith(f"{path}: ")
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("key", "parameter", "message"),
    [
        ("imbalance.ratio", {}, "space.imbalance.ratio: it can't be searched: the imbalance is the problem's"),
        ("data.target", {}, "space.data.target: it can't be searched"),
        ("seed", {}, "space.seed: it can't be searched"),
        ("oracle", {}, "space.oracle: it can't be searched"),
        ("num_steps", {}, "space.num_steps: it can't be searched"),
        ("algorithm.name", {}, "space.algorithm.name: it can't be searched"),
        ("batch_size", {"low": 9}, "space.batch_size.low: 9.0 is greater than high"),
        ("batch_size", {"lo": 1}, "space.batch_size.lo: unknown key; did you mean"),
        ("batch_size", {"high": None}, "space.batch_size.high: expected a number"),
        ("batch_size", {"type": "real"}, "space.batch_size: unknown type 'real'; choose one of float, int, choice"),
        ("batch_size", {"type": None}, "space.batch_size: unknown type"),
    ],
)
def test_mistakes_in_the_space(write, key, parameter, message):
    assert message in refusal(write(space={key: {"type": "float", "low": 1, "high": 2, **parameter}}))


def test_a_parameter_needs_a_type(write):
    assert "space.x: a type is required" in refusal(write(space={"x": {"low": 1, "high": 2}}))


def test_a_key_is_fixed_or_searched_but_not_both(write):
    path = write(train={"batch_size": 1}, space={"batch_size": {"type": "int", "low": 1, "high": 2}})
    assert "train.batch_size: it is both fixed here and searched" in refusal(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "it is not valid YAML"),
        ("name: a\nname: b", "key 'name' is given twice"),
        ("- a", "expected a mapping of keys to values"),
        ("", "expected a mapping of keys to values, got None"),
    ],
)
def test_files_that_are_no_sweep(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert message in refusal(path)


def test_files_that_cant_be_read(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "Is a directory" in refusal(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in refusal(tmp_path / "x.yaml")


def test_scientific_notation_without_a_dot_is_a_number(tmp_path, write):
    path = write()
    path.write_text(f"{path.read_text()}space: {{x: {{type: choice, choices: [1e-3, 3E4]}}}}\n")
    assert load_sweep(path).space["x"].choices == (1e-3, 3e4)


def test_set_reaches_every_depth(write):
    path = write(space={"optimizer.learning_rate": {"type": "float", "low": 0.1, "high": 1}})
    config = load_sweep(
        path,
        [
            "search.num_trials=7",
            "search.scheduler.name=none",  # a block that the file leaves out
            "final.seeds=1",
            "train.optimizer.weight_decay=1e-4",
            "train.num_steps=30",
            "space.optimizer.learning_rate.high=0.5",
            "space.resampling_ratio={type: choice, choices: [null, 1]}",
            "algorithms.ndcl.space.algorithm.alpha.low=0.2",
            "algorithms.erm.train.model.dropout=0.1",  # below an empty entry
            "data={name: digits, targets: [sign]}",
        ],
    )
    assert config.search.num_trials == 7
    assert config.search.scheduler.name == "none"
    assert config.final.seeds == 1
    assert config.train == {"num_steps": 30, "optimizer.weight_decay": 1e-4}
    assert config.space["optimizer.learning_rate"].high == 0.5
    assert config.space["resampling_ratio"].choices == (None, 1)
    assert config.algorithms["ndcl"].space["algorithm.alpha"].low == 0.2
    assert config.algorithms["erm"].train == {"model.dropout": 0.1}
    assert config.data[0].targets == ("sign",)


def test_set_reaches_into_lists(write):
    path = write(imbalance=[{"ratio": 2}, {"ratio": 4}])
    assert load_sweep(path, ["imbalance.1.ratio=8"]).imbalance[1].values == {"ratio": 8}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.num_trials", "expected key=value"),
        ("=3", "expected key=value"),
        ("search.num_trails=3", "search.num_trails: unknown key; did you mean 'num_trials'?"),
        ("serach.num_trials=3", "serach: unknown key; did you mean 'search'?"),
        ("data.targets=[sign]", "part of the key stands for a plain value"),
        ("search.num_trials=[", "not valid YAML"),
        ("final.seeds=-1", "final.seeds: -1 is out of range; it must be at least 0"),
    ],
)
def test_mistakes_in_set(write, override, message):
    assert message in refusal(write(), override)


def test_resolved_form_is_read_back_as_the_same(write):
    space = {"x": {"type": "choice", "choices": [None, 1], "default": None}, "y": {"type": "choice", "choices": [1]}}
    config = load_sweep(write(space=space, overrides=[{"target": "sign", "train": {"batch_size": 4}}]))
    dumped = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    again = SweepConfig.model_validate(dumped)
    assert again.model_dump(mode="json") == dumped
    assert again.space["x"].has_default
    assert not again.space["y"].has_default


# The guide


OF_ALGORITHMS = (Path(__file__).parents[3] / "docs" / "algorithms.md").read_text()
GUIDE = (Path(__file__).parents[3] / "docs" / "search_space.md").read_text()
MODELS = (SweepConfig, DataSpec, AlgorithmSpec, Override, SearchSpec, FinalSpec, ResourceSpec, SchedulerConfig)
PARAMETERS = (FloatParameter, IntParameter, ChoiceParameter)


@pytest.mark.parametrize("model", [*MODELS, *PARAMETERS], ids=lambda model: model.__name__)
def test_the_guide_explains_every_field(model):
    for field in model.model_fields:
        assert any(form in GUIDE for form in (f"`{field}`", f"`scheduler.{field}`")) or field == "scheduler"


def test_the_guide_explains_every_value_of_a_training():
    parts = {"": TrainConfig, "optimizer.": OptimizerConfig, "averaging.": AveragingConfig, "model.": ModelConfig}
    keys = [f"{prefix}{field.name}" for prefix, part in parts.items() for field in fields(part)]
    keys += [f"algorithm.{field.name}" for part in ALGORITHM_CONFIGS.values() for field in fields(part)]
    keys += [field.name for field in fields(ImbalanceConfig)]
    missing = {key for key in keys if f"`{key}`" not in GUIDE}
    own = {key for key in missing if key.startswith("algorithm.")}
    missing -= {key for key in own if f"`{key.removeprefix('algorithm.')}" in OF_ALGORITHMS}
    assert missing == {"model", "optimizer", "averaging"}  # groups, whose members are there


def test_the_guide_states_the_defaults_as_they_are():
    for key in ("num_steps", "evaluate_every", "batch_size", "device"):
        default = getattr(TrainConfig, key)
        assert f"| `{key}` | {default} |" in GUIDE or f"| `{key}` | `{default}` |" in GUIDE
    assert f"| `seeds` | {FinalSpec().seeds} |" in GUIDE
    assert f"| `scheduler.reduction_factor` | {SchedulerConfig().reduction_factor} |" in GUIDE


def test_the_guides_example_is_a_sweep(tmp_path):
    (tmp_path / "x.yaml").write_text(GUIDE.split("```yaml\n")[1].split("```")[0])
    assert list(load_sweep(tmp_path / "x.yaml").algorithms) == ["erm", "ndcl"]
