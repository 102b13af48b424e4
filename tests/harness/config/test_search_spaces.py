"""The shipped search spaces, on the true counts of their data sets: what they plan is feasible and as they say."""

import re
from pathlib import Path

import pytest

from harness.config import load_sweep
from harness.config.parameters import FloatParameter
from harness.config.space import defaults
from harness.plan import Plan, make_plan
from harness.plan.cost import Kind, Range, Speed, cost_of
from ndcl.config import TrainConfig
from ndcl.data.catalogue import entry_of, find_entry
from ndcl.data.digits.digits import DOMAINS
from ndcl.imbalance import count_table

LONG_TAIL = ("erm", "ndcl", "reweight", "balanced_softmax", "ldam", "focal")
FOLDER = Path(__file__).parents[3] / "search_spaces"
ALL = sorted(FOLDER.glob("*.yaml"))
PUBLIC = [FOLDER / f"{name}.yaml" for name in ("pacs", "vlcs", "officehome", "terraincognita", "domainnet")]
RESNET50_PARAMETERS = 23_508_032
"""Without its head, which has 2049 for each class."""
PUBLISHED = {
    "batch_size": 32,
    "optimizer.learning_rate": 5e-5,
    "model.dropout": 0,
    "resampling_ratio": None,
    "algorithm.alpha": 1,
    "algorithm.beta": 0.1,
    "algorithm.mixup": 0.2,
    "algorithm.margin_temperature": 1,
    "algorithm.alignment_temperature": 1,
    "algorithm.class_weight_exponent": 1,
    "algorithm.logit_adjustment": 0,
    "algorithm.cross_entropy": "published",
}


def plan_of(path: Path) -> Plan:
    """Its plan, each of its problems' tables made from the true counts."""
    return make_plan(load_sweep(path), Path("results"), domains=_domains, check=_has_the_images)


def _domains(name: str, folder: str | None) -> tuple[str, ...]:
    entry = find_entry(name)
    return DOMAINS if name == "digits" else entry.domains if entry else ("art", "ink", "photo", "web")


def _has_the_images(config: TrainConfig) -> None:
    entry = find_entry(config.data.name)
    if entry is not None:
        target = config.data.target
        count_table(config.imbalance, entry.name, entry.domains, entry.classes, entry.counts, target)


def opening_of(path: Path) -> str:
    """The comment at the top in one line."""
    lines = path.read_text().split("\n\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_size_that_a_search_space_states_is_that_of_its_plan(path: Path) -> None:
    plan = plan_of(path)
    trainings = [study.num_trials + study.num_final for study in plan.studies]
    steps = sum(number * study.num_steps for number, study in zip(trainings, plan.studies, strict=True))
    assert f"Size: {len(plan.studies)} studies, {sum(trainings)} trainings, at most {steps} steps" in (
        re.sub(" +", " ", opening_of(path))
    )


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_the_cost_that_a_search_space_states_follows_from_its_assumption(path: Path) -> None:
    text = opening_of(path)
    assert "an estimate, not a measurement" in text
    assert f"ndcl plan search_spaces/{path.name} --measure" in text
    assumed = re.search(r"assumes ([\d.]+) s a step \(NDCL ([\d.]+)\) and ([\d.]+) s an evaluation", text)
    assert assumed
    step, ndcl_step, evaluation = map(float, assumed.groups())
    plan = plan_of(path)
    kinds = {Kind.of(study.base) for study in plan.studies}
    speeds = {
        kind: Speed(
            seconds_per_step=ndcl_step if kind.algorithm == "ndcl" else step,
            seconds_per_evaluation=evaluation,
            checkpoint_bytes=16 * (RESNET50_PARAMETERS + 2049 * len(entry_of(kind.dataset).classes)),
        )
        for kind in kinds
    }
    cost = cost_of(plan, [], speeds, None)
    assert cost.checkpoint_bytes
    check_stated(re.search(r"(\d+) to (\d+) GPU-hours", text), cost.gpu_hours)
    stated = re.search(r"up to (\d+) GB of checkpoints", text)
    assert stated, "no disk use is stated"
    assert float(stated.group(1)) == pytest.approx(cost.checkpoint_bytes.most * 1e-9, rel=0.05)


def check_stated(found: re.Match[str] | None, computed: Range) -> None:
    assert found
    assert float(found[1]) == pytest.approx(computed.least, rel=0.05)
    assert float(found[2]) == pytest.approx(computed.most, rel=0.05)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_the_assumed_speeds_follow_from_the_images_per_second(path: Path) -> None:
    text = opening_of(path)
    entry = entry_of(load_sweep(path).data[0].name)
    trained, evaluated = (float(number) for number in re.findall(r"on (\d+) images.*?evaluates (\d+)", text)[0])
    step, evaluation = re.findall(r"assumes ([\d.]+) s a step .*? and ([\d.]+) s an evaluation", text)[0]
    sources = len(entry.domains) - 1
    validation = load_sweep(path).imbalance[0].values.get("validation", 15 if path.stem == "pacs" else 5)
    images = entry.counts.sum() / len(entry.domains) + validation * sources * len(entry.classes)
    assert float(step) == pytest.approx(21.4 * sources / trained, rel=0.05)
    assert float(evaluation) == pytest.approx(images / evaluated, rel=0.05)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_public_data_sets_are_searched_alike_for_all_algorithms_from_the_published_values(path: Path) -> None:
    plan = plan_of(path)
    assert {study.key.algorithm for study in plan.studies} == set(LONG_TAIL)
    erm = next(study for study in plan.studies if study.key.algorithm == "erm")
    for study in plan.studies:
        assert erm.space.items() <= study.space.items()
        assert (study.num_trials, study.final_seeds, study.num_steps) == (20, (1, 2, 3), 5001)
        assert (study.base["model"]["backbone"], study.base["model"]["weights"]) == ("resnet50", "imagenet")
        first = defaults(study.space)
        assert first.keys() == study.space.keys()
        assert {key: first[key] for key in first if key in PUBLISHED}.items() <= PUBLISHED.items()
        assert first["optimizer.weight_decay"] == 1e-6


def test_public_data_sets_differ_in_data_and_settings_alone() -> None:
    texts = {path.stem: path.read_text() for path in PUBLIC}
    spaces = {text[text.index("\ntrain:") : text.index("\nresources:")] for text in texts.values()}
    assert len(spaces) == 1
    settings = {path.stem: [spec.values["setting"] for spec in load_sweep(path).imbalance] for path in PUBLIC}
    released = ["released/total_heavy_tail", "released/cross", "released/duality", "released/idg"]
    assert settings["pacs"] == settings["vlcs"] == released
    assert settings["officehome"] == released[:3]
    assert settings["domainnet"] == [released[0], released[2]]
    assert settings["terraincognita"] == ["natural", "total_heavy_tail"]


def test_ndcl_is_searched_in_the_widened_ranges() -> None:
    ndcl = next(study for study in plan_of(PUBLIC[0]).studies if study.key.algorithm == "ndcl")
    bounds = {
        key: (parameter.low, parameter.high)
        for key, parameter in ndcl.space.items()
        if isinstance(parameter, FloatParameter)
    }
    assert bounds["algorithm.alpha"] == bounds["algorithm.beta"] == (1e-3, 10)
    assert bounds["algorithm.margin_temperature"] == bounds["algorithm.alignment_temperature"] == (0.3, 3)
    assert bounds["algorithm.mixup"] == (0.1, 0.3)
    assert bounds["optimizer.learning_rate"] == (1e-5, 3.16e-4)
