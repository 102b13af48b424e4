"""Machines of the user's own, which join one after the other: a sweep waits for them, but not for ever."""

import time
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config

from harness.cluster import joined_ray
from harness.cluster.capacity import awaited_nodes
from tests.harness.cluster.made_clusters import filled_in


@pytest.mark.parametrize(("name", "number"), [("local", 3), ("aws", 0), ("gcp", 0)])
def test_own_machines_are_awaited_and_those_of_clouds_are_not(name: str, number: int, tmp_path: Path) -> None:
    written = yaml.safe_load(filled_in(name, tmp_path).read_text())
    assert awaited_nodes(prepare_config(written)) == number


def test_without_a_cluster_of_ones_own_nothing_is_awaited() -> None:
    assert awaited_nodes({}) == 0


def test_a_uri_of_data_goes_along_to_the_nodes_and_a_path_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDCL_DATA", "s3://bucket/data")
    assert joined_ray._data_place() == {"NDCL_DATA": "s3://bucket/data"}
    monkeypatch.setenv("NDCL_DATA", "/data")
    assert joined_ray._data_place() == {}
    monkeypatch.delenv("NDCL_DATA")
    assert joined_ray._data_place() == {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def nodes(*alive: bool) -> list[dict[str, Any]]:
    return [{"Resources": {"CPU": number}, "Alive": is_alive} for number, is_alive in enumerate(alive)]


def test_a_sweep_begins_once_all_have_joined(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    said: list[str] = []
    monkeypatch.setattr(ray, "nodes", lambda: nodes(True, clock[0] > 20, clock[0] > 40))
    assert joined_ray._nodes(3, said.append) == [{"CPU": 0}, {"CPU": 1}, {"CPU": 2}]
    assert said == ["1 of 3 machines have joined; waiting up to 180 s for the others"]


def test_a_machine_that_never_joins_is_done_without(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    said: list[str] = []
    monkeypatch.setattr(ray, "nodes", lambda: nodes(True, False, True))
    assert joined_ray._nodes(3, said.append) == [{"CPU": 0}, {"CPU": 2}]
    assert said[-1] == "continuing the 2 of 3 machines that have joined"
