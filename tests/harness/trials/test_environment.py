"""What a trial tells of where it runs, and of what it uses."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from harness.trials.environment import Usage, data_facts, environment
from harness.trials.messages import to_json
from ndcl.config import DataConfig, ImbalanceConfig
from ndcl.data.problem import Problem, build_problem

HOLD = "import sys; held = bytearray(200 * 2**20); print('held', flush=True); sys.stdin.read()"


def problem() -> Problem:
    return build_problem(DataConfig(name="digits", target="scan"), ImbalanceConfig(ratio=20, validation=2))


def test_the_data_set_is_told_with_what_is_trained_on() -> None:
    made = problem()
    facts = data_facts(made)
    assert (facts["name"], facts["target"], facts["digest"]) == ("digits", "scan", made.store.digest)
    assert facts["num_images"] == len(made.store)
    assert facts["classes"] == list(made.store.classes)
    assert sum(facts["training_images"]) == sum(map(len, made.train))
    means = np.array(facts["training_images"]) / 3
    assert [facts["groups"][k] for k in (means.argmax(), means.argmin())] == ["median", "few"]


def test_the_environment_has_versions_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    found = environment(problem())
    assert found["packages"]["torch"] == torch.__version__
    assert found["gpu"] is None or torch.cuda.is_available()
    assert "hunter2" not in to_json(found)


def test_usage_counts_this_process_and_its_children() -> None:
    usage = Usage()
    started = time.process_time()
    while time.process_time() - started < 0.3:
        pass
    busy = usage.since_last()
    assert 0 < busy["cpu_percent"] < 100 * (os.cpu_count() or 1) + 10
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with_child = usage.since_last()
        child.communicate()
    assert with_child["memory_mib"] > busy["memory_mib"] + 190
    assert usage.since_last()["memory_mib"] < with_child["memory_mib"] - 190
