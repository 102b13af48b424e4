"""Processors as containers and jobs limit them."""

import os
from pathlib import Path

import pytest

from ndcl import processors
from ndcl.processors import num_processors


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 processors, without a limit."""
    monkeypatch.setattr(processors, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def test_without_a_limit_there_are_those_of_the_affinity() -> None:
    assert num_processors() == 8


@pytest.mark.parametrize(
    ("text", "number"),
    [("max 100000", 8), ("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("9900000 100000", 8)],
)
def test_a_quota_of_version_2(machine: Path, text: str, number: int) -> None:
    (machine / "cpu.max").write_text(f"{text}\n")
    assert num_processors() == number


@pytest.mark.parametrize(("quota", "number"), [(-1, 8), (300000, 3)])
def test_a_quota_of_version_1(machine: Path, quota: int, number: int) -> None:
    (machine / "cpu").mkdir()
    (machine / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (machine / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert num_processors() == number


def test_nothing_else_counts_processors() -> None:
    root = Path(__file__).parents[2]
    files = [path for package in ("ndcl", "harness") for path in (root / package).rglob("*.py")]
    found = {path.name for path in files if "cpu_count" in path.read_text() or "sched_getaffinity" in path.read_text()}
    assert found == {"processors.py"}
