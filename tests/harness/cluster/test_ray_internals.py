"""An upgrade of Ray or Optuna that moves what they keep to themselves fails here, and nowhere else first."""

import os
import re
from pathlib import Path

import optuna
import pytest
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from harness.cluster.ray_internals import (
    bootstrap_address,
    health_check_error,
    keep_credentials_out_of_logs,
    take_prestarted_workers,
    torch_backend,
    without_clusters,
)
from harness.search.optuna_internals import has_report, opened

ROOT = Path(__file__).parents[3]


def test_rays_backend_for_torch_is_the_one_of_its_config() -> None:
    assert issubclass(torch_backend(), Backend)
    assert TorchConfig().backend_cls is torch_backend()


def test_a_worker_that_has_died_has_an_error_of_its_own() -> None:
    assert issubclass(health_check_error(), Exception)


def test_without_clusters_the_loopback_is_chosen_and_only_then() -> None:
    from ray._private import ray_constants
    from ray._private.services import resolve_ip_for_localhost

    before = ray_constants.ENABLE_RAY_CLUSTER
    with without_clusters():
        assert resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    assert ray_constants.ENABLE_RAY_CLUSTER is before


def test_tunes_actors_ask_for_no_process_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.tune.execution import class_cache

    monkeypatch.setattr(class_cache, "DEFAULT_ENV_VARS", {"NAME": "value"})
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", set(class_cache.ENV_VARS_TO_PROPAGATE))
    for name in [name for name in os.environ if name.startswith(("RAY_", "TUNE_"))]:  # Tune passes them on
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    asked = []
    monkeypatch.setattr(ray, "remote", lambda **options: asked.append(options) or (lambda cls: cls))
    keep_credentials_out_of_logs()
    class_cache._ActorClassCache().get(type("Before", (), {}))
    take_prestarted_workers()
    class_cache._ActorClassCache().get(type("After", (), {}))
    before, after = (options["runtime_env"]["env_vars"] for options in asked)
    assert before
    assert "secret" not in before.values()
    assert after == {}


def test_the_address_of_a_cluster_is_found_by_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6380")
    assert bootstrap_address().endswith(":6380")


def test_an_open_trial_of_optuna_is_opened_again() -> None:
    study = optuna.create_study()
    study.ask().report(0.5, 1)
    trial = opened(study, study.get_trials()[0])
    assert has_report(trial, 1)
    assert not has_report(trial, 2)
    trial.report(0.7, 2)
    assert study.get_trials()[0].intermediate_values == {1: 0.5, 2: 0.7}


def test_nothing_else_uses_what_ray_and_optuna_keep_to_themselves() -> None:
    private = r"ray\.[a-z_.0-9]*\._[a-z]|from ray[a-z._0-9]* import _|\b_trial_id\b"
    files = [path for package in ("harness", "ndcl") for path in (ROOT / package).rglob("*.py")]
    found = {path.name for path in files if re.search(private, path.read_text())}
    assert found == {"ray_internals.py", "optuna_internals.py"}
