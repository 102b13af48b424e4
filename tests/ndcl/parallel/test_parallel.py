"""W workers do together exactly what one does alone, and tests of it that fail when a part is broken on purpose."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from ndcl.batch import Share
from ndcl.errors import UserError
from ndcl.mixing import MODES
from ndcl.parallel import Group
from ndcl.training import Training
from tests.ndcl.parallel import parallel_cases
from tests.ndcl.parallel.parallel_cases import BROKEN, FETCHED, IN_PARTS, SHARDINGS, Result, unbroken

torch.set_num_threads(1)

TOLERANCE = 1e-10
NAMES = sorted(parallel_cases.cases(Path()))
SEVERAL = (2, 3)


class Outcome:
    """What each number of workers gave: [world_size][rank][case]."""

    def __init__(self, root: Path) -> None:
        data, checkpoint_folder = root / "data", root / "checkpoints"
        parallel_cases.make_data(data)
        self.of: dict[int, list[dict[str, Any]]] = {}
        for world_size in SEVERAL:
            out = root / str(world_size)
            out.mkdir()
            mp.spawn(parallel_cases.worker, (world_size, data, out, checkpoint_folder), nprocs=world_size)
            self.of[world_size] = [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(world_size)]
        with parallel_cases.float64():
            alone: dict[str, Any] = {
                name: parallel_cases.run(config) for name, config in parallel_cases.cases(data).items()
            }
            alone["resumed"] = {
                name: parallel_cases.resumed(data, checkpoint_folder / name, 4, name) for name in SHARDINGS
            }
            alone["undisturbed"] = parallel_cases.resumed(data, root / "undisturbed", 4, "none")
        alone |= parallel_cases.in_single_precision(data)
        self.of[1] = [alone]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Outcome(tmp_path_factory.mktemp("parallel"))


def difference(first: Result, second: Result) -> float:
    """Largest difference of two parameters, relative to the largest parameter."""
    return float((first["parameters"] - second["parameters"]).abs().max() / second["parameters"].abs().max())


def apart(first: Result, second: Result) -> float:
    """Root mean square of the parameters' differences, relative to that of the parameters."""
    return float((first["parameters"] - second["parameters"]).norm() / second["parameters"].norm())


def assert_same(evaluations: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """But for the time they took, and rounding in the losses and likelihoods."""
    for ours, theirs in zip(evaluations, expected, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=TOLERANCE)
        for key in OF_PROBABILITIES:
            assert numbers(ours[key]) == pytest.approx(numbers(theirs[key]), rel=1e-6)
        for key in ("diagnostics", "calibration"):
            looks = (ours.get("selected", {}).get(key), theirs.get("selected", {}).get(key))
            assert numbers(looks[0]) == pytest.approx(numbers(looks[1]), rel=1e-6)
        apart = dict.fromkeys(("losses", "seconds", "selected", *OF_PROBABILITIES))
        assert ours | apart == theirs | apart


OF_PROBABILITIES = ("calibration", "held_out_nll", "leave_one_domain_out_likelihood")
"""What an evaluation has of the logits themselves, which differ by rounding; the temperature is found to 1e-7."""


def numbers(value: Any) -> list[float]:
    """All of a nested value, in its order."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if isinstance(parts, (list, tuple)):
        return [number for part in parts for number in numbers(part)]
    return [] if parts is None else [float(parts)]


def test_the_cases_hold_every_algorithm_and_every_mode() -> None:
    assert set(IN_PARTS) <= set(NAMES)
    assert {f"ndcl, {mode}" for mode in MODES} <= set(NAMES)


@pytest.mark.parametrize("world_size", [1, *SEVERAL])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_one_worker_with_the_whole_batch(outcome: Outcome, name: str, world_size: int) -> None:
    alone = outcome.of[1][0][name.partition("/")[0]]
    for results in outcome.of[world_size]:
        assert difference(results[name], alone) < TOLERANCE
        assert results[name]["parameters"].isfinite().all()


@pytest.mark.parametrize("world_size", SEVERAL)
@pytest.mark.parametrize("name", FETCHED)
def test_inputs_that_are_fetched_when_needed_change_nothing(outcome: Outcome, name: str, world_size: int) -> None:
    for results in outcome.of[world_size]:
        assert torch.equal(results[f"{name}/fetched"]["parameters"], results[name]["parameters"])


@pytest.mark.parametrize("world_size", SEVERAL)
@pytest.mark.parametrize("name", NAMES)
def test_all_workers_hold_the_same_evaluations(outcome: Outcome, name: str, world_size: int) -> None:
    first, *others = (results[name]["evaluations"] for results in outcome.of[world_size])
    assert all(other == first for other in others)
    alone = outcome.of[1][0][name]["evaluations"]
    assert_same(first, alone)


def test_the_one_look_at_the_target_is_at_an_earlier_checkpoint(outcome: Outcome) -> None:
    last = outcome.of[1][0]["one look at the target"]["evaluations"][-1]
    assert last["selected"]["step"] < last["step"]


def test_a_worker_without_mixed_rows_is_among_the_cases(outcome: Outcome) -> None:
    evaluations = outcome.of[1][0]["fewer rows than workers"]["evaluations"]
    assert any(each["losses"]["mixup_weight"] > 0 for each in evaluations)  # 2 rows mixed by 3 workers


@pytest.mark.parametrize("world_size", SEVERAL)
@pytest.mark.parametrize("name", BROKEN)
def test_parameters_differ_if_a_part_is_broken(outcome: Outcome, name: str, world_size: int) -> None:
    alone = outcome.of[1][0][unbroken(name)]
    assert max(difference(results["broken"][name], alone) for results in outcome.of[world_size]) > 1e4 * TOLERANCE


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("world_size", [1, 3])
def test_a_checkpoint_of_two_workers_goes_on_with_any_number(outcome: Outcome, world_size: int, sharding: str) -> None:
    undisturbed = outcome.of[1][0]["undisturbed"]
    for resumed in (results["resumed"][sharding] for results in outcome.of[world_size]):
        assert [each["step"] for each in resumed["evaluations"]] == [4]
        for part in ("network", "best"):
            for key, value in undisturbed[part].items():
                torch.testing.assert_close(resumed[part][key], value, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("world_size", SEVERAL)
def test_a_cross_validation_is_saved_and_resumed(outcome: Outcome, world_size: int, sharding: str) -> None:
    alone = outcome.of[1][0]["cross-validation"]["evaluations"]
    for results in outcome.of[world_size]:
        assert_same(results["cross-validated"][sharding], alone)


@pytest.mark.parametrize("world_size", SEVERAL)
def test_bf16_is_as_close_as_its_rounding_and_sharding_adds_nothing(outcome: Outcome, world_size: int) -> None:
    alone = outcome.of[1][0]
    rounding = apart(alone["bf16, none"], alone["fp32, none"])
    assert rounding > 1e-2
    for results in outcome.of[world_size]:
        assert apart(results["bf16, none"], alone["bf16, none"]) < rounding
        assert apart(results["bf16, full"], results["bf16, none"]) < 1e-5


@pytest.mark.parametrize("world_size", SEVERAL)
def test_a_loss_that_is_not_finite_ends_all_workers_alike(outcome: Outcome, world_size: int) -> None:
    first, *others = (results["diverged"] for results in outcome.of[world_size])
    assert "NaN or infinite by step" in first
    assert all(other == first for other in others)


@pytest.mark.parametrize("total", [0, 1, 2, 5, 24, 25])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shares_are_all_rows_once_and_about_equal(total: int, world_size: int) -> None:
    shares = [Share(rank=rank, world_size=world_size).rows(total) for rank in range(world_size)]
    assert [row for share in shares for row in range(total)[share]] == list(range(total))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) == -(-total // world_size)
    assert max(sizes) - min(sizes) <= 1


def test_without_torch_distributed_a_process_is_alone() -> None:
    group = Group.current()
    assert not group.is_several
    assert group.is_first
    rows = torch.ones(3)
    assert group.gather(rows, 3) is rows


def test_batchnorm_that_is_not_frozen_is_refused_on_several_workers(tmp_path: Path) -> None:
    parallel_cases.make_data(tmp_path)
    model = {"backbone": "resnet18", "freeze_batchnorm": False}
    config = parallel_cases.config_of(tmp_path, "photos", {"name": "erm"}, model=model)
    with pytest.raises(UserError, match=r"model\.freeze_batchnorm: false works with one worker") as error:
        Training(config, group=Group(Share(rank=1, world_size=2)))
    assert "\n" not in str(error.value)
    Training(config)
    shutil.rmtree(tmp_path / "photos")
