"""Leave-one-domain-out: what each fold sees, that they advance as one, and that they continue as if never stopped."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.checkpoints import is_checkpoint
from ndcl.config import TrainConfig
from ndcl.data.problem import build_problem, without_domain
from ndcl.errors import UserError
from ndcl.training import CrossValidation, Training, build_training, train

BASE: dict[str, Any] = {
    "data": {"name": "digits", "target": "sign"},
    "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 3},
    "algorithm": {"name": "ndcl"},
    "num_steps": 4,
    "evaluate_every": 2,
    "batch_size": 4,
    "select_by": ["leave_one_domain_out_accuracy"],
}


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.from_dict(BASE | changes)


def built(**changes: Any) -> CrossValidation:
    training = build_training(config(**changes))
    assert isinstance(training, CrossValidation)
    return training


def test_the_left_out_domain_and_the_target_are_in_no_fold() -> None:
    whole = build_problem(config().data, config().imbalance)
    domain_of = whole.store.domain_ids
    for fold_name, fold in built().folds.items():
        problem, left_out = fold.problem, whole.store.domains.index(fold_name)
        seen = np.concatenate([*problem.train, *problem.validation])
        assert fold_name not in problem.source_domains
        assert not set(domain_of[seen]) & {left_out, whole.store.domains.index("sign")}
        assert set(domain_of[problem.target_test]) == {left_out}
        position = whole.source_domains.index(fold_name)
        labelled = [*whole.train[position], *whole.validation[position]]
        assert sorted(problem.target_test) == sorted(labelled), "what the user has labels for, and nothing else"
        assert len(problem.target_oracle) == 0
        assert problem.counts.shape[0] == len(problem.train) == len(problem.source_domains) == 2


def test_evaluations_are_means_over_folds_and_say_nothing_of_the_target() -> None:
    training = built()
    alone = {name: list(Training(fold.config, fold.problem).evaluations()) for name, fold in training.folds.items()}
    for position, evaluation in enumerate(training.evaluations()):
        parts = {name: evaluations[position] for name, evaluations in alone.items()}
        assert evaluation.held_out == {name: part.target for name, part in parts.items()}
        expected = np.mean([part.target.balanced for part in parts.values()])
        values = evaluation.to_dict()
        assert values["leave_one_domain_out_accuracy"] == pytest.approx(expected)
        assert evaluation.merit(("leave_one_domain_out_accuracy",)) == pytest.approx(expected)
        losses = [part.calibration.target.nll for part in parts.values()]
        assert values["leave_one_domain_out_likelihood"] == pytest.approx(np.exp(-np.mean(losses)))
        assert evaluation.merit(("leave_one_domain_out_likelihood",)) == values["leave_one_domain_out_likelihood"]
        of_scan = [parts[name].validation["scan"].overall for name in ("texture", "print")]
        assert evaluation.validation["scan"].overall == pytest.approx(np.mean(of_scan))
        assert evaluation.losses["total"] == pytest.approx(np.mean([p.losses["total"] for p in parts.values()]))
        assert evaluation.target.num_images == 0
        assert evaluation.target.overall is None
        assert values["oracle_accuracy"] is None


def test_it_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    undisturbed, first, second = built(), built(), built()
    for _ in undisturbed.evaluations():
        pass
    next(first.evaluations())
    first.save(tmp_path / "half")
    assert is_checkpoint(tmp_path / "half")
    second.load(tmp_path / "half")
    assert second.step == 2
    assert [evaluation.step for evaluation in second.evaluations()] == [4]
    for name, fold in undisturbed.folds.items():
        for key, value in fold.network.state_dict().items():
            assert torch.equal(value, second.folds[name].network.state_dict()[key]), key


def test_a_checkpoint_that_lacks_a_fold_is_none(tmp_path: Path) -> None:
    training = built()
    training.save(tmp_path / "half")
    (tmp_path / "half" / "fold-1" / "state.pt").unlink()
    assert not is_checkpoint(tmp_path / "half")


def test_train_cross_validates_where_the_config_asks_for_it(tmp_path: Path) -> None:
    steps = [evaluation.step for evaluation in train(config(), tmp_path)]
    assert steps == [2, 4]
    assert [evaluation.step for evaluation in train(config(num_steps=6), tmp_path)] == [6]


def test_a_single_source_domain_cannot_be_left_out() -> None:
    problem = build_problem(config().data, config().imbalance)
    alone = dataclasses.replace(
        problem, source_domains=problem.source_domains[:1], train=problem.train[:1], validation=problem.validation[:1]
    )
    with pytest.raises(UserError, match="leaving out 'scan', the only source domain"):
        without_domain(alone, "scan")


def test_the_oracle_has_to_be_allowed_as_well() -> None:
    with pytest.raises(UserError, match="set oracle: true as well"):
        config(select_by=["oracle_accuracy"])
    assert config(select_by=["oracle_accuracy"], oracle=True).oracle
    with pytest.raises(UserError, match="at least one criterion"):
        config(select_by=[])
    with pytest.raises(UserError, match="'target' is not valid; choose one of validation_accuracy"):
        config(select_by=["target"])


def test_the_best_checkpoint_is_kept_by_the_criterion_asked_for() -> None:
    """On the same run, each criterion keeps the weights of its own first maximum."""
    for criterion in ("validation_accuracy", "worst_domain_accuracy", "few_shot_accuracy", "last_step"):
        training = Training(config(select_by=[criterion], num_steps=12, batch_size=8))
        merits = {e.step: e.merit((criterion,)) for e in training.evaluations()}
        assert training.best is not None
        valued = {step: -1.0 if merit is None else merit for step, merit in merits.items()}
        assert training.best["step"] == max(valued, key=lambda step: (valued[step], -step))


def test_other_values_take_over_weights_and_moments_but_not_the_old_rate(tmp_path: Path) -> None:
    first = Training(config(select_by=["last_step"]))
    next(first.evaluations())
    first.save(tmp_path / "half")
    other = Training(config(select_by=["last_step"], optimizer={"learning_rate": 0.5, "weight_decay": 0.25}))
    with pytest.raises(UserError, match=r"optimizer\.learning_rate"):
        other.load(tmp_path / "half")
    other.load(tmp_path / "half", take_over=True)
    assert other.step == 2
    assert [(group["lr"], group["weight_decay"]) for group in other.optimizer.param_groups] == [(0.5, 0.25)]
    for mine, theirs in zip(other.network.parameters(), first.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        moments = [opt.optimizer.state[p]["exp_avg"] for opt, p in ((other, mine), (first, theirs))]
        assert torch.equal(*moments)
