"""The problem: what a training gets to see, and above all what it does not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ndcl.config import DataConfig, ImbalanceConfig
from ndcl.data.problem import Problem, build_problem
from ndcl.errors import UserError
from ndcl.imbalance import shot_groups
from tests.made.made_store import DOMAINS, make_store

COUNTS = np.array([[30, 41, 50], [33, 28, 60], [70, 26, 35]])
SETTINGS = [
    ImbalanceConfig(setting="natural"),
    ImbalanceConfig(ratio=7.5, seed=2),
    ImbalanceConfig(counts=(20, 3, 0), class_order="per_domain", validation=3),
    ImbalanceConfig(setting="total_heavy_tail"),
    ImbalanceConfig(setting="cross"),
    ImbalanceConfig(setting="duality", parameters={"middle_total": [10, 20]}),
    ImbalanceConfig(setting="imbalanced_domains"),
    ImbalanceConfig(setting="imbalanced_classes", parameters={"total": 20}),
]


def problem(folder: Path, imbalance: ImbalanceConfig, target: str = "photo", counts: np.ndarray = COUNTS) -> Problem:
    if not (folder / "made").exists():
        make_store(folder / "made", counts)
    return build_problem(DataConfig(name="made", target=target, folder=str(folder)), imbalance)


@pytest.mark.parametrize("target", DOMAINS)
@pytest.mark.parametrize("imbalance", SETTINGS, ids=lambda imbalance: imbalance.setting)
def test_nothing_leaks(tmp_path: Path, imbalance: ImbalanceConfig, target: str) -> None:
    made = problem(tmp_path, imbalance, target)
    store = made.store
    parts = [*made.train, *made.validation, made.target_test, made.target_oracle]
    together = np.concatenate(parts)
    assert len(set(together.tolist())) == len(together)
    of_target = set(np.flatnonzero(store.domain_ids == store.domains.index(target)).tolist())
    assert not of_target & set(np.concatenate([*made.train, *made.validation]).tolist())
    assert of_target == set(np.concatenate([made.target_test, made.target_oracle]).tolist())
    for e, domain in enumerate(made.source_domains):
        for part in (made.train[e], made.validation[e]):
            assert (store.domain_ids[part] == store.domains.index(domain)).all()


@pytest.mark.parametrize("imbalance", SETTINGS, ids=lambda imbalance: imbalance.setting)
def test_parts_have_the_sizes_that_the_setting_asks_for(tmp_path: Path, imbalance: ImbalanceConfig) -> None:
    made = problem(tmp_path, imbalance)
    labels = made.store.labels
    assert made.source_domains == ("art", "sketch")
    assert made.target_domain == "photo"
    assert np.array_equal([np.bincount(labels[part], minlength=3) for part in made.train], made.counts)
    held = imbalance.validation or 5
    assert [np.bincount(labels[part]).tolist() for part in made.validation] == [[held] * 3] * 2
    assert np.bincount(labels[made.target_oracle]).tolist() == [held] * 3
    assert np.array_equal(np.bincount(labels[made.target_test]), COUNTS[1] - held)
    assert np.array_equal(made.groups, shot_groups(made.counts, 100, 20))


def test_the_same_configs_give_the_same_problem_in_another_process(tmp_path: Path) -> None:
    made = problem(tmp_path, ImbalanceConfig(ratio=7.5, seed=2))
    code = (
        "import sys; from ndcl.config import *; from ndcl.data.problem import build_problem;"
        "data = DataConfig(name='made', target='photo', folder=sys.argv[1]);"
        "made = build_problem(data, ImbalanceConfig(ratio=7.5, seed=2));"
        "print([part.tolist() for part in (*made.train, *made.validation, made.target_test)])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    here = [part.tolist() for part in (*made.train, *made.validation, made.target_test)]
    assert run.stdout.strip() == str(here), run.stderr


def test_another_seed_chooses_other_images(tmp_path: Path) -> None:
    first, second = (problem(tmp_path, ImbalanceConfig(setting="cross", seed=seed)) for seed in (0, 1))
    assert np.array_equal(first.counts, second.counts)
    assert set(first.train[0].tolist()) != set(second.train[0].tolist())


def test_quirk_3_a_class_that_a_source_lacks_is_left_out_there(tmp_path: Path) -> None:
    counts = np.array([[30, 0, 50], [33, 28, 60], [70, 26, 35]])
    made = problem(tmp_path, ImbalanceConfig(setting="natural"), counts=counts)
    assert made.counts.tolist() == [[25, 0, 45], [65, 21, 30]]
    assert np.bincount(made.store.labels[made.validation[0]]).tolist() == [5, 0, 5]


def test_rare_target_classes_are_shared_between_test_and_oracle(tmp_path: Path) -> None:
    counts = np.array([[30, 20, 50], [33, 3, 0], [70, 26, 35]])
    made = problem(tmp_path, ImbalanceConfig(setting="natural"), counts=counts)
    assert np.bincount(made.store.labels[made.target_oracle], minlength=3).tolist() == [5, 1, 0]
    assert np.bincount(made.store.labels[made.target_test], minlength=3).tolist() == [28, 2, 0]


def test_an_unknown_target_lists_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown target domain of made: 'fhoto'.*Valid: art, photo, sketch"):
        problem(tmp_path, ImbalanceConfig(ratio=2), target="fhoto")


def test_too_many_images_are_refused_by_domain_class_and_numbers(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"asks for 26 training and 5 validation images of class 'bird' in domain 'art', "
    ):
        problem(tmp_path, ImbalanceConfig(counts=(26, 26, 26)))


def test_a_single_domain_is_refused(tmp_path: Path) -> None:
    make_store(tmp_path / "made", COUNTS[:1], domains=("art",))
    with pytest.raises(UserError, match="made has a single domain; a target and at least one source are needed"):
        problem(tmp_path, ImbalanceConfig(ratio=2), target="art")


def test_a_problem_is_known_without_torch(tmp_path: Path) -> None:
    """So that planning a sweep is quick."""
    problem(tmp_path, ImbalanceConfig(ratio=2))
    code = (
        "import sys; from ndcl.config import *; from ndcl.data.problem import build_problem;"
        "data = DataConfig(name='made', target='photo', folder=sys.argv[1]);"
        "build_problem(data, ImbalanceConfig(setting='natural'));"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr
