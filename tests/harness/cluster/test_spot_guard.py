"""The spot guard: what it reads in the autoscaler's log, what it makes of its config, and how it goes back."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import spot_guard
from harness.cluster.capacity import possible_nodes
from harness.cluster.spot_guard import (
    LaunchFailures,
    Patience,
    SpotGuard,
    as_written,
    held_back,
    held_until,
    is_guarded,
)

FAILED = (
    "2026-11-24 19:00:00,123\tINFO node_provider.py:492 -- Failed to launch 1 nodes of type {}: An error occurred ({}) "
    "when calling the RunInstances operation: no capacity\n"
)
LAUNCHED = "2026-11-24 19:00:00,123\tINFO node_provider.py:489 -- Launched 1 nodes of type {}.\n"
CONFIG: dict[str, Any] = {
    "cluster_name": "ndcl",
    "max_workers": 8,
    "head_node_type": "head",
    "metadata": {"results": "s3://bucket"},
    "available_node_types": {
        "head": {"max_workers": 0, "resources": {"CPU": 0}, "node_config": {}},
        "gpu_spot": {
            "min_workers": 1,
            "max_workers": 6,
            "resources": {"CPU": 4, "GPU": 1},
            "labels": {"ray.io/market-type": "spot"},
            "node_config": {},
        },
        "gpu_ondemand": {"min_workers": 0, "max_workers": 4, "resources": {"CPU": 8, "GPU": 1}, "node_config": {}},
    },
}


BLOCK = {"InstanceMarketOptions": {"MarketType": "capacity-block"}}
"""Machines that were reserved: they are given up by nobody, and there is no other market to take them from."""


class Stage:
    """A head's config and log, with a guard on them."""

    def __init__(self, folder: Path) -> None:
        self.config_file, self.log = folder / "config.yaml", folder / "monitor.log"
        self.config_file.write_text(json.dumps(CONFIG))
        self.config_file.chmod(0o600)
        self.log.write_text(FAILED.format("gpu_spot", "InsufficientInstanceCapacity") * 5)  # of an earlier life
        self.guard = self.another_guard()

    def another_guard(self) -> SpotGuard:
        patience = Patience(failures=3, cooldown_seconds=100)
        return SpotGuard(self.config_file, LaunchFailures(self.log), patience)

    def logged(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(lines))

    def fails(self, times: int, name: str = "gpu_spot", code: str = "InsufficientInstanceCapacity") -> None:
        self.logged(*[FAILED.format(name, code)] * times)

    @property
    def config(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.config_file.read_text())
        return values

    def limits(self, name: str = "gpu_spot") -> tuple[int, int]:
        node_type = self.config["available_node_types"][name]
        return node_type["min_workers"], node_type["max_workers"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_spot_type_without_capacity_is_held_back_and_allowed_again(stage: Stage) -> None:
    stage.guard.step(0, {})
    assert stage.config == CONFIG, "what was logged before the guard began was counted"
    stage.fails(2)
    stage.guard.step(1, {})
    assert stage.config == CONFIG
    stage.fails(1)
    stage.guard.step(2, {})
    assert stage.limits() == (0, 0)
    assert stage.limits("gpu_ondemand") == (0, 4)
    stage.guard.step(101.9, {})
    assert stage.limits() == (0, 0)
    stage.guard.step(102.1, {})
    assert stage.config == CONFIG
    assert stage.config_file.stat().st_mode & 0o777 == 0o600
    stage.fails(3)
    stage.guard.step(103, {})
    assert stage.limits() == (0, 0), "it is not held back a second time"


def test_nodes_that_run_are_left_alone(stage: Stage) -> None:
    stage.fails(3)
    stage.guard.step(0, {"gpu_spot": 2, "gpu_ondemand": 1})
    assert stage.limits() == (1, 2)
    stage.guard.step(1, {"gpu_spot": 1})
    assert stage.limits() == (1, 1)
    stage.guard.step(2, {})
    assert stage.limits() == (0, 0)
    stage.guard.step(200, {})
    assert stage.config == CONFIG


def test_a_launch_that_succeeds_ends_the_row_of_failures(stage: Stage) -> None:
    stage.fails(2)
    stage.logged(LAUNCHED.format("gpu_spot"))
    stage.fails(2)
    stage.guard.step(0, {})
    assert stage.config == CONFIG


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gpu_ondemand", "InsufficientInstanceCapacity"),  # there is nothing to fall back to
        ("gpu_spot", "UnauthorizedOperation"),  # on-demand would be refused, too
        ("no_such_type", "InsufficientInstanceCapacity"),
    ],
)
def test_other_failures_change_nothing(stage: Stage, name: str, code: str) -> None:
    stage.fails(9, name, code)
    stage.guard.step(0, {})
    assert stage.config == CONFIG


def test_a_block_that_was_reserved_is_not_taken_for_spot(stage: Stage) -> None:
    config = copy.deepcopy(CONFIG)
    config["available_node_types"]["gpu_spot"].update(labels={}, node_config=BLOCK)
    stage.config_file.write_text(json.dumps(config))
    stage.fails(9)
    stage.guard.step(0, {})
    assert stage.config == config


def test_each_kind_of_a_spot_group_is_held_back_for_itself(stage: Stage) -> None:
    config = copy.deepcopy(CONFIG)
    config["available_node_types"]["gpu_spot_l4"] = copy.deepcopy(config["available_node_types"]["gpu_spot"])
    stage.config_file.write_text(json.dumps(config))
    stage.fails(3)
    stage.guard.step(0, {})
    assert (stage.limits(), stage.limits("gpu_spot_l4")) == ((0, 0), (1, 6))
    stage.fails(3, "gpu_spot_l4")
    stage.guard.step(50, {"gpu_spot_l4": 2})
    assert (stage.limits(), stage.limits("gpu_spot_l4"), stage.limits("gpu_ondemand")) == ((0, 0), (1, 2), (0, 4))
    stage.guard.step(101, {})
    assert (stage.limits(), stage.limits("gpu_spot_l4")) == ((1, 6), (0, 0))
    stage.guard.step(151, {})
    assert stage.config == config


def test_a_half_written_line_is_read_once_it_is_whole(stage: Stage) -> None:
    line = FAILED.format("gpu_spot", "SpotMaxPriceTooLow")
    stage.logged(line, line, line[:90])
    stage.guard.step(0, {})
    assert stage.config == CONFIG
    stage.logged(line[90:])
    stage.guard.step(1, {})
    assert stage.limits() == (0, 0)


def test_a_new_log_is_read_from_its_beginning(stage: Stage) -> None:
    new = stage.log.with_suffix(".new")
    new.write_text(FAILED.format("gpu_spot", "InsufficientInstanceCapacity") * 3)
    new.replace(stage.log)
    stage.guard.step(0, {})
    assert stage.limits() == (0, 0)


def test_a_guard_that_was_started_anew_gives_back_what_the_earlier_one_took(stage: Stage) -> None:
    stage.fails(3)
    stage.guard.step(0, {})
    later = stage.another_guard()
    later.step(50, {})
    assert stage.limits() == (0, 0)
    later.step(101, {})
    assert stage.config == CONFIG


def test_a_new_ray_up_is_held_to_as_well_and_its_limits_are_given_back(stage: Stage) -> None:
    stage.fails(3)
    stage.guard.step(0, {})
    raised = json.loads(json.dumps(CONFIG))
    raised["available_node_types"]["gpu_spot"]["max_workers"] = 9
    stage.config_file.write_text(json.dumps(raised))
    stage.guard.step(1, {})
    assert stage.config == raised, "ray up begins anew: capacity may be had in the region that it names"


def test_what_is_changed_can_be_told_from_what_was_written() -> None:
    changed = held_back(CONFIG, {"gpu_spot": 5.0}, {"gpu_spot": 1})
    assert changed != CONFIG
    assert held_until(changed) == {"gpu_spot": 5.0}
    assert as_written(changed) == CONFIG
    assert held_back(changed, {}, {}) == CONFIG
    assert "spot_guard" not in CONFIG["metadata"], "the argument was changed"
    without = {key: value for key, value in CONFIG.items() if key != "metadata"}
    assert held_until(without) == {}


def test_one_guard_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot_guard, "LOCK_FILE", tmp_path / "lock")

    def rounds() -> Iterator[dict[str, int]]:
        assert is_guarded()
        yield {}
        raise KeyboardInterrupt

    running = rounds()
    monkeypatch.setattr(spot_guard, "running_nodes", lambda: next(running))
    monkeypatch.setattr("sys.argv", ["spot_guard", "--poll-seconds", "0"])
    assert not is_guarded()
    with pytest.raises(KeyboardInterrupt):
        spot_guard.main()
    assert not is_guarded()


def test_a_cluster_can_have_as_many_nodes_as_its_ceiling_allows() -> None:
    nodes = possible_nodes(CONFIG, [{"CPU": 0}])
    assert nodes[0] == {"CPU": 0}
    assert [node["CPU"] for node in nodes[1:]] == [8, 8, 8, 8, 4, 4, 4, 4]
    assert possible_nodes({**CONFIG, "max_workers": 2}, [])[1:] == [{"CPU": 8, "GPU": 1}] * 2


@pytest.mark.parametrize("config", [{}, {"available_node_types": {"machine": {"resources": {}}}, "head_node_type": ""}])
def test_without_an_autoscaler_a_cluster_has_the_nodes_that_are_there(config: dict[str, Any]) -> None:
    assert possible_nodes(config, [{"CPU": 2}, {"CPU": 1}]) == [{"CPU": 2}, {"CPU": 1}]
