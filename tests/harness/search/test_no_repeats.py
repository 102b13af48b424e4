"""A study has no values twice as long as there are others, whatever its sampler proposes."""

import dataclasses
from pathlib import Path

import optuna
import pytest

from harness.config.parameters import ChoiceParameter, IntParameter
from harness.config.space import grid
from harness.search.no_repeats import NoRepeatSampler
from harness.search.study_search import StudySearch, open_storage
from tests.made.made_records import RATE, record, study

SPACE = {
    "algorithm.mixup_mode": ChoiceParameter(type="choice", choices=("rev", "set")),
    "batch_size": IntParameter(type="int", low=4, high=12, step=4, when={"algorithm.mixup_mode": ("rev",)}),
    "model.mlp_depth": IntParameter(type="int", low=2, high=2),
}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random", "nsga2"])
def test_all_of_a_small_space_is_tried_before_anything_is_tried_again(tmp_path: Path, sampler: str) -> None:
    plan = study(sampler=sampler, space=SPACE, num_trials=5)
    search = StudySearch(plan, "made", open_storage(tmp_path / "optuna.db"))
    search.reconcile([])
    drawn = []
    for number in range(5):
        drawn.append(search.ask(record(number).name, number))
        search.tell(dataclasses.replace(record(number, accuracy=drawn[-1].get("batch_size", 0) / 12), values=drawn[-1]))
    combinations = list(grid(SPACE, plan.fixed))
    assert len(combinations) == 4
    assert all(values in drawn[:4] for values in combinations)
    assert drawn[4] in combinations


@pytest.mark.filterwarnings("ignore:PartialFixedSampler is experimental")
def test_a_sampler_that_insists_is_relieved_by_chance() -> None:
    space = study().space
    insisting = optuna.samplers.PartialFixedSampler({RATE: 1e-3}, optuna.samplers.RandomSampler(seed=0))
    runs = []
    for _ in range(2):
        made = optuna.create_study(sampler=NoRepeatSampler(insisting, space, {}, seed=0))
        runs.append([space[RATE].suggest(made.ask(), RATE) for _ in range(9)])
    assert runs[0] == runs[1]
    assert runs[0][0] == 1e-3
    assert len(set(runs[0])) == 9
    assert all(space[RATE].accepts(value) for value in runs[0])
    assert sum(value < 1e-3 for value in runs[0]) >= 2, "the logarithm is drawn evenly"
